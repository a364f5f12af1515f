"""What cgroups used from one reading of their cpu.stat to the next (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ktstr.checks.formulas import MS
from ktstr.checks.model import CgroupSpan
from ktstr.record.guest import FileRead


@dataclass(frozen=True)
class Used:
    """A span that was read at both its ends, in the guest's ns.

    ``usage_ns``: CPU time of all below the cgroup. ``periods`` and ``throttled``: of cpu.max, None where the kernel
    does not count them.
    """

    span: CgroupSpan
    begin_ns: int
    end_ns: int
    usage_ns: int
    periods: int | None
    throttled: int | None

    @property
    def wall_ns(self) -> int:
        return self.end_ns - self.begin_ns

    @property
    def words(self) -> str:
        """Whose it is and of when, in a message."""
        phase = "BASELINE" if self.span.phase == 0 else f"Step[{self.span.phase - 1}]"
        return f"cgroup {self.span.cgroup} in {phase} ({self.begin_ns / MS:.0f} to {self.end_ns / MS:.0f} ms)"


def used(spans: Iterable[CgroupSpan], reads: Sequence[FileRead]) -> tuple[Used, ...]:
    """The spans that were read at both ends; of one that a Repeat read again and again, the first time."""
    by_op: dict[int, list[FileRead]] = {}
    for read in reads:
        by_op.setdefault(read.op, []).append(read)
    return tuple(found for span in spans if (found := _used(span, by_op)) is not None)


def _used(span: CgroupSpan, by_op: Mapping[int, Sequence[FileRead]]) -> Used | None:
    begin = next(iter(by_op.get(span.begin_op, ())), None)
    end = next((r for r in by_op.get(span.end_op, ()) if begin is not None and r.at_ns > begin.at_ns), None)
    if begin is None or end is None:
        return None
    before, after = _numbers(begin.text), _numbers(end.text)
    if "usage_usec" not in before or "usage_usec" not in after:
        return None
    grown = {name: after[name] - before[name] for name in before.keys() & after.keys()}
    usage_ns = 1000 * grown["usage_usec"]
    return Used(span, begin.at_ns, end.at_ns, usage_ns, grown.get("nr_periods"), grown.get("nr_throttled"))


def _numbers(text: str) -> dict[str, int]:
    """A flat keyed file: a name and a number on each line."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
