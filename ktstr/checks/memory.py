"""Where the memory of workers is: on the nodes that their works declare, on nodes without CPUs, and how much moved.

Pages are those of each worker's process when its work ended (numa_maps), summed over a group; threads of one process
tell the same pages each, which changes no share. Migrated pages are counted by the kernel for the whole machine
(numa_pages_migrated of /proc/vmstat), since a worker's release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ktstr.checks.breach import Breach, Run, unknown, where
from ktstr.checks.model import Group
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.guest import GuestRecord
from ktstr.record.outcome import ReasonKind

LOCALITY, MIGRATED, SLOW = "min_page_locality", "max_cross_node_migration_ratio", "max_slow_tier_ratio"


@dataclass(frozen=True)
class Pages:
    """Of one group. ``by_node``: None where they were not read. ``migrated``: in the machine, meanwhile."""

    by_node: tuple[int, ...] | None
    migrated: int | None

    @property
    def total(self) -> int:
        return sum(self.by_node or ())

    def on(self, nodes: Iterable[int]) -> int:
        """The pages on some nodes."""
        return sum(self.by_node[node] for node in set(nodes) if node < len(self.by_node)) if self.by_node else 0


def pages_of(group: Group) -> Pages:
    """The pages of a group's workers."""
    told = [report.numa_pages for report in group.reports if report.numa_pages is not None]
    moved = [report.numa_pages_migrated for report in group.reports if report.numa_pages_migrated is not None]
    width = max(map(len, told), default=0)
    sums = tuple(sum(pages[node] for pages in told if node < len(pages)) for node in range(width))
    return Pages(sums if told and len(told) == len(group.reports) else None, max(moved, default=None))


def locality(group: Group) -> float | None:
    """The share of its pages that are on its declared nodes; None where that is not known."""
    pages = pages_of(group)
    return None if group.nodes is None or not pages.total else pages.on(group.nodes) / pages.total


def migration_ratio(group: Group) -> float | None:
    """Migrated pages of the machine over the group's pages; None where that is not known."""
    pages = pages_of(group)
    return None if pages.migrated is None or not pages.total else pages.migrated / pages.total


def judge_memory(groups: Iterable[Group], guest: GuestRecord, run: Run) -> list[Detail]:
    """The three checks, each only where a layer asks for it; what cannot be told is Inconclusive."""
    listed = [group for group in groups if group.reports]
    memory_only = _memory_only(guest)
    checks: tuple[Callable[[Group], list[Detail]], ...] = (
        lambda group: _locality(group, run),
        lambda group: _migrated(group, run),
        lambda group: _slow_tier(group, memory_only, run),
    )
    details = [detail for group in listed for check in checks for detail in check(group)]
    floor = run.limits.limit(LOCALITY)
    if floor is not None and listed and not any(group.nodes for group in listed):
        what = f"{LOCALITY} was set but not evaluated: no work declares on which nodes its memory is to be"
        details.append(Detail(Verdict.INCONCLUSIVE, "PageLocality", what, limit=floor))
    return details


def _memory_only(guest: GuestRecord) -> frozenset[int]:
    """The nodes of the guest on which none of its CPUs is."""
    return frozenset(range(len(guest.node_distances))) - {cpu.node for cpu in guest.cpus}


def _unread(kind: ReasonKind, group: Group, name: str, run: Run) -> Detail | None:
    """Why nothing can be said of a group's pages; None when something can."""
    pages, limit = pages_of(group), run.limits.limit(name)
    if pages.by_node is None:
        return unknown(kind, group, f"{name} unknown: page placement was not read", limit)
    if not pages.total:
        return unknown(kind, group, f"{name} unknown: its workers had no page on any node", limit)
    return None


def _locality(group: Group, run: Run) -> list[Detail]:
    floor = run.limits.limit(LOCALITY)
    if floor is None or not group.nodes:
        return []
    unread = _unread("PageLocality", group, LOCALITY, run)
    if unread is not None:
        return [unread]
    pages = pages_of(group)
    value = pages.on(group.nodes) / pages.total
    if value >= floor:
        return []
    nodes = ", ".join(map(str, group.nodes))
    what = (
        f"{where(run, group)} ({group.work_type}): {pages.on(group.nodes)} of {pages.total} pages were on node {nodes}"
        f" ({_spread(pages)}): {value:.4f} < {run.limits.words(LOCALITY)}"
    )
    return [Breach("PageLocality", group, what, value, floor).judged(None)]


def _spread(pages: Pages) -> str:
    return ", ".join(f"N{node}={count}" for node, count in enumerate(pages.by_node or ()))


def _migrated(group: Group, run: Run) -> list[Detail]:
    limit = run.limits.limit(MIGRATED)
    if limit is None:
        return []
    unread = _unread("CrossNodeMigration", group, MIGRATED, run)
    if unread is not None:
        return [unread]
    pages = pages_of(group)
    if pages.migrated is None:
        return [unknown("CrossNodeMigration", group, f"{MIGRATED} unknown: migrated pages were not counted", limit)]
    value = pages.migrated / pages.total
    if value <= limit:
        return []
    what = (
        f"{where(run, group)} ({group.work_type}): {pages.migrated} pages moved between nodes of the machine while they"
        f" ran, {value:.4f} of their {pages.total} > {run.limits.words(MIGRATED)}"
    )
    return [Breach("CrossNodeMigration", group, what, value, limit).judged(None)]


def _slow_tier(group: Group, memory_only: frozenset[int], run: Run) -> list[Detail]:
    limit = run.limits.limit(SLOW)
    if limit is None:
        return []
    unread = _unread("SlowTier", group, SLOW, run)
    if unread is not None:
        return [unread]
    if not memory_only:
        return [unknown("SlowTier", group, f"{SLOW} unknown: this machine has no node without CPUs", limit)]
    pages = pages_of(group)
    value = pages.on(memory_only) / pages.total
    if value <= limit:
        return []
    what = (
        f"{where(run, group)} ({group.work_type}): {pages.on(memory_only)} of {pages.total} pages were on nodes without"
        f" CPUs ({_spread(pages)}): {value:.4f} > {run.limits.words(SLOW)}"
    )
    return [Breach("SlowTier", group, what, value, limit).judged(None)]
