"""Which cgroups are read for their share of the CPUs, around a hold, and what holds for each meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ktstr.checks.model import CgroupSpan
from ktstr.config import ops as declared
from ktstr.scenarios.places import Group, Places
from ktstr.scenarios.program import Op, ReadCgroup

STAT = "cpu.stat"
_WEIGHTS = ("cpu.weight", "cpu.weight.nice", "cpu.idle")
# sched_prio_to_weight of kernel/sched/core.c, from nice -20 to 19; 1024 is what cpu.weight calls 100.
_OF_NICE = (
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916,
    9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277,
    1024, 820, 655, 526, 423, 335, 272, 215, 172, 137,
    110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
)  # fmt: skip
_IDLE = 0  # what cpu.weight reads of a cgroup with cpu.idle, whose weight is 3 of 1024


@dataclass(frozen=True)
class Watched:
    """One cgroup over one hold: what is known of it, and the two reads, whose places are known when all is compiled."""

    begin: ReadCgroup
    end: ReadCgroup
    span: CgroupSpan

    def placed(self, place: Callable[[Op], int]) -> CgroupSpan:
        """With the places of the two."""
        return replace(self.span, begin_op=place(self.begin), end_op=place(self.end))


def watch(places: Places, phase: int, loop: Iterable[declared.Op] = ()) -> tuple[Watched, ...]:
    """Each cgroup with a limit or a weight in force, or beside one with a weight, that no op of ``loop`` changes."""
    changed = _changed(loop)
    return tuple(
        Watched(ReadCgroup(group.entry, STAT), ReadCgroup(group.entry, STAT), _span(places, group, phase))
        for group in places.groups.values()
        if _is_shared(places, group) and not places.frozen(group.path) and not _is_touched(group.path, changed)
    )


def _is_shared(places: Places, group: Group) -> bool:
    if _quota(group) is not None:
        return True
    beside = [other for other in places.groups.values() if _parent(other.path) == _parent(group.path)]
    return any(key in other.controls for other in beside for key in _WEIGHTS)


def _span(places: Places, group: Group, phase: int) -> CgroupSpan:
    quota = _quota(group)
    inside = [crew for crew in places.crews if crew.cgroup == group.path or _is_in(crew.cgroup, group.path)]
    return CgroupSpan(
        group.path, phase, 0, 0, len(places.balanced(places.pool(group.path), group.path)), quota, _weight(group),
        _limited_by(places, group, quota), sum(crew.busy for crew in inside if not places.frozen(crew.cgroup)),
    )  # fmt: skip


def _quota(group: Group) -> tuple[int, int] | None:
    """(us, period in us) of cpu.max, whose period is 100 ms unless it is given."""
    words = group.controls.get("cpu.max", "max").split()
    if words[0] == "max":
        return None
    return int(words[0]), int(words[1]) if len(words) > 1 else 100_000


def _weight(group: Group) -> int:
    """What cpu.weight reads: the last one written, unless the cgroup is idle."""
    if group.controls.get("cpu.idle", "0") != "0":
        return _IDLE
    written = [key for key in group.controls if key in ("cpu.weight", "cpu.weight.nice")]
    if not written:
        return 100
    value = int(group.controls[written[-1]])
    return value if written[-1] == "cpu.weight" else (_OF_NICE[value + 20] * 100 + 512) // 1024


def _limited_by(places: Places, group: Group, own: tuple[int, int] | None) -> str | None:
    """The cgroup above with the lowest limit, where that is below its own."""
    limits = [(quota[0] / quota[1], outer.path) for outer in places.above(group.path) if (quota := _quota(outer))]
    if not limits or (own is not None and min(limits)[0] >= own[0] / own[1]):
        return None
    return min(limits)[1]


def named_by(op: declared.Op) -> tuple[str, ...]:
    """The cgroups that an op acts on, other than one that it makes."""
    match op:
        case declared.Hotplug() | declared.AddCgroup():
            return ()
        case declared.SwapCpusets():
            return op.a, op.b
        case declared.MoveTasks():
            return op.source, op.target
    return () if op.cgroup is None else (op.cgroup,)


def _changed(loop: Iterable[declared.Op]) -> frozenset[str] | None:
    """The cgroups that ops change; None for all of them, where one takes CPUs or competes with all."""
    paths: set[str] = set()
    for op in loop:
        if isinstance(op, declared.WaitPayload):
            continue
        made = (op.cgroup.name,) if isinstance(op, declared.AddCgroup) else named_by(op)
        if not made:
            return None
        paths.update(made)
    return frozenset(paths)


def _is_touched(path: str, changed: frozenset[str] | None) -> bool:
    """Whether it is one of these, above or below one, or beside one that it shares with."""
    if changed is None:
        return True
    related = (other == path or _is_in(other, path) or _is_in(path, _parent(other) or other) for other in changed)
    return any(related) or any(_parent(other) == _parent(path) for other in changed)


def _is_in(path: str | None, outer: str) -> bool:
    return path is not None and path.startswith(f"{outer}/")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
