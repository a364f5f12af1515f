"""Two snapshots of a host's threads side by side: what each group of threads did in one and in the other.

Counters are since each thread's birth, and nothing is judged. A metric that neither snapshot has of a group is left
out; one that only one side has is a dash on the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from ktstr import cpulist
from ktstr.columns import printable
from ktstr.host.threads import METRICS, UNITS, CgroupCounters, HostState, Rule, Thread

MOST = 2**64 - 1  # sums stop there
_FROM_ZERO = 1e9  # rows whose baseline is 0 have no percentage: they are sorted as if |delta| had this weight
_ORDER = {name: at for at, name in enumerate(METRICS)}
NOTHING = "-"


@dataclass(frozen=True)
class Aggregate:
    """One value for a group of threads: as it is shown, and as a number, None when it is none."""

    shown: str
    number: float | None


@dataclass(frozen=True)
class Row:
    """One metric of one group on both sides; None where it was not measured."""

    group: str
    threads: tuple[int, int]
    metric: str
    old: Aggregate | None
    new: Aggregate | None

    @property
    def delta(self) -> float | None:
        if self.old is None or self.new is None or self.old.number is None or self.new.number is None:
            return None
        return self.new.number - self.old.number

    @property
    def share(self) -> float | None:
        """The change by the baseline; None from a baseline of 0."""
        return self.delta / self.old.number if self.old and self.old.number and self.delta is not None else None


@dataclass(frozen=True)
class Comparison:
    """The rows, largest change first; the cgroups of both sides; the groups that only one side has, sorted."""

    rows: tuple[Row, ...]
    cgroups: tuple[tuple[str, CgroupCounters, CgroupCounters], ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def compare(old: HostState, new: HostState, group_by: str = "pcomm", flatten: Sequence[str] = ()) -> Comparison:
    """Group both by a name: ``pcomm``, ``cgroup`` or ``comm``.

    ``flatten``: globs of cgroup paths, each of which makes one group.
    """
    key = partial(_key, group_by=group_by, flatten=flatten)
    sides = _grouped(old.threads, key), _grouped(new.threads, key)
    both = sorted(sides[0].keys() & sides[1].keys())
    rows = [row for group in both for row in _rows(group, sides[0][group], sides[1][group])]
    cgroups = _flattened(old.cgroup_stats, flatten), _flattened(new.cgroup_stats, flatten)
    shared = sorted(cgroups[0].keys() & cgroups[1].keys()) if group_by == "cgroup" else ()
    return Comparison(
        rows=tuple(sorted(rows, key=_largest_first)),
        cgroups=tuple((path, cgroups[0][path], cgroups[1][path]) for path in shared),
        only_old=tuple(sorted(sides[0].keys() - sides[1].keys())),
        only_new=tuple(sorted(sides[1].keys() - sides[0].keys())),
    )


def flattened(path: str, flatten: Sequence[str]) -> str:
    """The first glob that matches a cgroup's path, else the path."""
    return next((glob for glob in flatten if fnmatchcase(path, glob)), path)


def _key(thread: Thread, group_by: str, flatten: Sequence[str]) -> str:
    key: str = getattr(thread, group_by)
    return flattened(key, flatten) if group_by == "cgroup" else key


def _grouped(threads: Iterable[Thread], key: Callable[[Thread], str]) -> dict[str, list[Thread]]:
    groups: dict[str, list[Thread]] = {}
    for thread in threads:
        groups.setdefault(key(thread), []).append(thread)
    return groups


def _rows(group: str, old: Sequence[Thread], new: Sequence[Thread]) -> Iterable[Row]:
    for metric in METRICS:
        row = Row(group, (len(old), len(new)), metric, aggregate(metric, old), aggregate(metric, new))
        if row.old is not None or row.new is not None:
            yield row


def _largest_first(row: Row) -> tuple[float, str, int]:
    """By the size of the change in proportion; what has no number comes last."""
    if row.delta is None:
        return 1.0, row.group, _ORDER[row.metric]
    size = abs(row.delta) * _FROM_ZERO if row.share is None else abs(row.share)
    return -size, row.group, _ORDER[row.metric]


def aggregate(metric: str, threads: Iterable[Thread]) -> Aggregate | None:
    """One value of a metric for these threads; None when none of them has it."""
    values: list[Any] = [value for thread in threads if (value := getattr(thread, metric)) not in (None, "", ())]
    return _BY_RULE[METRICS[metric]](values) if values else None


def _sum(values: Sequence[int]) -> Aggregate:
    total = min(sum(values), MOST)
    return Aggregate(str(total), total)


def _ordinal_range(values: Sequence[int]) -> Aggregate:
    low, high = min(values), max(values)
    return Aggregate(str(low) if low == high else f"{low}..{high}", (low + high) / 2)


def _mode(values: Sequence[str]) -> Aggregate:
    counts = Counter(values)
    name, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return Aggregate(name if count == len(values) else f"{name} ({count}/{len(values)})", None)


def _affinity(values: Sequence[tuple[int, ...]]) -> Aggregate:
    sizes = [len(cpus) for cpus in values]
    low, high = min(sizes), max(sizes)
    inside = cpulist.render(values[0]) if len(set(values)) == 1 else "mixed"
    return Aggregate(f"{low} cpus ({inside})" if low == high else f"{low}-{high} cpus ({inside})", (low + high) / 2)


_BY_RULE: Mapping[Rule, Callable[[Any], Aggregate]] = {
    Rule.SUM: _sum,
    Rule.ORDINAL_RANGE: _ordinal_range,
    Rule.MODE: _mode,
    Rule.AFFINITY: _affinity,
}


def _flattened(stats: Mapping[str, CgroupCounters], flatten: Sequence[str]) -> dict[str, CgroupCounters]:
    """Counters of the cgroups of one glob summed; of their memory the largest."""
    groups: dict[str, list[CgroupCounters]] = {}
    for path, counters in stats.items():
        groups.setdefault(flattened(path, flatten), []).append(counters)
    return {path: _merged(counters) for path, counters in groups.items()}


def _merged(counters: Sequence[CgroupCounters]) -> CgroupCounters:
    def over(name: str, fold: Callable[[list[int]], int]) -> int | None:
        values = [value for one in counters if (value := getattr(one, name)) is not None]
        return min(fold(values), MOST) if values else None

    folds = {name: max if name == "memory_current" else sum for name in CgroupCounters.__struct_fields__}
    return CgroupCounters(**{name: over(name, fold) for name, fold in folds.items()})


def to_text(found: Comparison) -> str:
    """The table of groups, that of cgroups when they are the groups, and the groups of one side."""
    header = ("group", "threads", "metric", "baseline", "candidate", "delta", "%")
    lines = _aligned(header, [_cells(row) for row in found.rows]) if found.rows else ["found no group that is in both"]
    if found.cgroups:
        names = CgroupCounters.__struct_fields__
        rows = [(path, *(_change(getattr(a, n), getattr(b, n)) for n in names)) for path, a, b in found.cgroups]
        lines += ["", *_aligned(("cgroup", *names), rows)]
    for side, groups in (("baseline", found.only_old), ("candidate", found.only_new)):
        if groups:
            lines += ["", f"only in {side}:", *(f"  {group or NOTHING}" for group in groups)]
    return "\n".join(map(printable, lines)) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    a, b = row.threads
    shown = [NOTHING if side is None else side.shown for side in (row.old, row.new)]
    share = NOTHING if row.share is None else f"{row.share * 100 + 0.0:+.1f}%"  # 0 by -5 is -0.0
    return (row.group or NOTHING, str(a) if a == b else f"{a}→{b}", row.metric, *shown, _delta(row), share)


def _delta(row: Row) -> str:
    if row.delta is not None:
        return f"{row.delta:+.3f}{UNITS.get(row.metric, '')}"
    if row.old is None or row.new is None:
        return NOTHING
    return "same" if row.old.shown == row.new.shown else "differs"


def _change(a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return NOTHING if a is b else f"{NOTHING if a is None else a} → {NOTHING if b is None else b}"
    return f"{a} → {b} ({b - a:+d})"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell: thousands of rows, for a pager, of which none may be broken."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
