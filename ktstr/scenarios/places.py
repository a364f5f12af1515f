"""Which CPUs are online, which cgroups there are and who is in them, at the moment of a scenario that is compiled.

The rules are the kernel's, as the agent has them: a cgroup without a cpuset has that of the nearest one above it; what
is written to ``cpuset.cpus`` has to be in effect as a whole; a cgroup whose children have controllers holds no tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ktstr import cpulist
from ktstr.config.scenario import Cgroup
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios import cpusets
from ktstr.scenarios.boot import leaves_cpu_0

Cpus = tuple[int, ...]
PARTITION = "cpuset.cpus.partition"


@dataclass
class Group:
    """A cgroup that is there. ``entry``: its place in the program's table. ``step``: the one that made it, 0 for the
    backdrop. ``cpus``: its own cpuset; ``judged``: the CPUs that isolation is judged by while it has that."""

    path: str
    entry: int
    step: int
    declared: Cgroup
    cpus: Cpus | None = None
    judged: Cpus | None = None
    mems: Cpus | None = None
    controls: dict[str, str] = field(default_factory=dict)
    frozen: bool = False

    @property
    def partition(self) -> str:
        return self.controls.get(PARTITION, "member")


@dataclass
class Crew:
    """The workers of one work that run. ``cgroup``: where they are now, None for the agent's own. ``busy``: how many of
    them never sleep. ``pins``: the CPUs that they pinned themselves to, all together; None for no pins."""

    work: int
    cgroup: str | None
    step: int
    busy: int
    pins: frozenset[int] | None = None


@dataclass
class Running:
    """A payload that was started. ``entry``: its place in the program's table. ``waited``: its end was waited for."""

    entry: int
    name: str
    cgroup: str | None
    step: int
    waited: bool = False


class Places:
    """What there is now. ``isolated``: CPUs that no balancing puts a task on."""

    def __init__(self, topology: Topology, offline: Iterable[int], isolated: Iterable[int] = ()) -> None:
        self.topology = topology
        self.isolated = frozenset(isolated)
        self.online = frozenset(range(topology.cpus)) - frozenset(offline)
        self.groups: dict[str, Group] = {}
        self.crews: list[Crew] = []
        self.running: list[Running] = []

    # Looking.

    def group(self, path: str, where: str) -> Group:
        """The cgroup of this path. Raises InputError for one that is not there."""
        if path in self.groups:
            return self.groups[path]
        known = ", ".join(self.groups) or "none"
        raise InputError(f"{where}: found cgroup {path}, expected one that is there at this moment: {known}")

    def above(self, path: str) -> Iterator[Group]:
        """The declared cgroups that it is in, the nearest first."""
        while path := path.rpartition("/")[0]:
            if path in self.groups:
                yield self.groups[path]

    def below(self, path: str) -> list[Group]:
        """The cgroups in it, the deepest first."""
        inside = [group for group in self.groups.values() if group.path.startswith(f"{path}/")]
        return sorted(inside, key=lambda group: -group.path.count("/"))

    def confined(self, path: str | None) -> Cpus | None:
        """The cpuset that holds for it: its own, or that of the nearest above; None where there is none."""
        if path is None:
            return None
        own = self.groups[path].cpus
        return own if own is not None else self._from_above(path)

    def _from_above(self, path: str) -> Cpus | None:
        return next((group.cpus for group in self.above(path) if group.cpus is not None), None)

    def pool(self, path: str | None) -> Cpus:
        """The CPUs that its workers can use now: none that a partition beside it owns."""
        confined = self.confined(path)
        around = self.chain(path)
        owned = {
            cpu
            for group in self.groups.values()
            if group.partition != "member" and group not in around
            for cpu in group.cpus or ()
        }
        inside = self.online if confined is None else self.online & set(confined)
        return tuple(sorted(inside - owned or inside))

    def chain(self, path: str | None) -> list[Group]:
        """A cgroup and those above."""
        return [] if path is None else [self.groups[path], *self.above(path)]

    def usable(self, crew: Crew) -> frozenset[int]:
        """The CPUs that its workers get to now: a pin to none that the cpuset has is none (cpuset_cpus_allowed)."""
        pool = frozenset(self.pool(crew.cgroup))
        return self.balanced(pool if crew.pins is None else (pool & crew.pins) or pool, crew.cgroup)

    def balanced(self, cpus: Iterable[int], path: str | None) -> frozenset[int]:
        """Those that tasks of a cgroup are spread over; of isolated ones alone, the one that they are left on."""
        every = frozenset(cpus)
        is_isolated = any(group.partition == "isolated" for group in self.chain(path))
        return (frozenset() if is_isolated else every - self.isolated) or frozenset(sorted(every)[:1])

    def judged(self, path: str | None) -> Cpus | None:
        """The CPUs that isolation allows its workers now, None for all."""
        if path is None:
            return None
        own = self.groups[path].judged
        return own if own is not None else self.confined(path)

    def mems(self, path: str | None) -> Cpus | None:
        """The memory nodes that hold for it; None where nothing says so."""
        if path is None:
            return None
        return next((group.mems for group in self.chain(path) if group.mems is not None), None)

    def frozen(self, path: str | None) -> bool:
        """Whether it is frozen, or one above."""
        return path is not None and (self.groups[path].frozen or any(group.frozen for group in self.above(path)))

    def state(self) -> object:
        """All that decides what an op does next, to compare with."""
        groups = tuple(
            (g.path, g.entry, g.cpus, g.judged, g.mems, tuple(sorted(g.controls.items())), g.frozen)
            for g in self.groups.values()
        )
        crews = tuple((crew.work, crew.cgroup) for crew in self.crews)
        return self.online, groups, crews, tuple((r.entry, r.cgroup, r.waited) for r in self.running)

    # Changing.

    def add(self, group: Group, where: str) -> None:
        """A cgroup is made. Raises InputError for one that is there, or that its parent has no room for."""
        if group.path in self.groups:
            raise InputError(f"{where}.name: found {group.path}, which is there, expected each cgroup once")
        for outer in self.above(group.path):
            self._no_tasks(outer, f"{where}.name", f"found {group.path} in {outer.path}, which has workers")
        self.groups[group.path] = group
        if group.cpus is not None:
            place = group.declared.cpuset.where if group.declared.cpuset is not None else f"{where}.cpuset"
            self._check_cpus(group, group.cpus, place)

    def set_cpus(self, group: Group, cpus: Cpus | None, where: str) -> None:
        """It has this cpuset from now on, None for none. Raises InputError when it, its parent or a child cannot."""
        before = group.cpus, group.judged
        group.cpus, group.judged = cpus, None
        try:
            if cpus is not None:
                self._check_cpus(group, cpus, where)
            self.check_below(group, where)
        except InputError:
            group.cpus, group.judged = before
            raise

    def _check_cpus(self, group: Group, cpus: Cpus, where: str) -> None:
        gone = sorted(set(cpus) - self.online)
        if gone:
            raise InputError(
                f"{where}: found CPUs {cpulist.render(cpus)}, of which {cpulist.render(gone)} are offline, expected"
                f" CPUs that are online, {cpulist.render(self.online)} (topology {self.topology.label})"
            )
        for outer in self.above(group.path):
            if outer.cpus is not None:
                self._inside(group.path, cpus, outer, where)
                break
        self.check_partitions(group, where)

    def _inside(self, path: str, cpus: Cpus, outer: Group, where: str) -> None:
        if outer.cpus is not None and not set(cpus) <= set(outer.cpus):
            raise InputError(
                f"{where}: found CPUs {cpulist.render(cpus)} for cgroup {path}, expected some of those of {outer.path},"
                f" which it is in: {cpulist.render(outer.cpus)} (topology {self.topology.label})"
            )

    def check_below(self, group: Group, where: str) -> None:
        """Raise InputError unless every cpuset below it is within the nearest above."""
        for inner in self.below(group.path):
            if inner.cpus is None:
                continue
            outer = next((g for g in self.above(inner.path) if g.cpus is not None), None)
            if outer is not None:
                self._inside(inner.path, inner.cpus, outer, where)

    def check_partitions(self, group: Group, where: str) -> None:
        """Raise InputError unless each partition has CPUs, and CPUs of its own among its siblings."""
        parent = group.path.rpartition("/")[0]
        if group.partition != "member" and group.cpus is None:
            raise InputError(
                f"{where}: found {PARTITION} {group.partition} of cgroup {group.path} without a cpuset,"
                " expected one: a partition owns CPUs",
                fix="give it a cpuset",
            )
        for other in self.groups.values():
            if other is group or other.path.rpartition("/")[0] != parent:
                continue
            both = sorted(set(group.cpus or ()) & set(other.cpus or ()))
            if both and (group.partition != "member" or other.partition != "member"):
                owner = group if group.partition != "member" else other
                raise InputError(
                    f"{where}: found CPUs {cpulist.render(both)} in both {group.path} and {other.path}, expected them"
                    f" in {owner.path} alone, which is a partition ({owner.partition})"
                )

    def remove(self, group: Group) -> None:
        """It is gone, and so are those who were in it."""
        self.crews = [crew for crew in self.crews if crew.cgroup != group.path]
        self.running = [running for running in self.running if running.cgroup != group.path]
        del self.groups[group.path]

    def inhabit(self, path: str | None, where: str) -> None:
        """Something is to run in it. Raises InputError for a cgroup that has others in it, whose controllers forbid
        that (cgroup v2: no internal processes)."""
        if path is None or not (inside := self.below(path)):
            return
        raise InputError(
            f"{where}: found workers for cgroup {path}, which has {inside[-1].path} in it, expected them in the"
            " innermost only: the kernel lets no cgroup with others in it hold tasks",
            fix=f"make them a cgroup of their own, such as {path}/own",
        )

    def start_in(self, path: str | None, where: str) -> None:
        """Something is to start in it. Raises InputError as ``inhabit``, and for a cgroup that is frozen."""
        self.inhabit(path, where)
        if self.frozen(path):
            raise InputError(
                f"{where}: found workers for cgroup {path}, which is frozen at this moment, expected one that goes on:"
                " what starts in it would never begin"
            )

    def _no_tasks(self, group: Group, where: str, found: str) -> None:
        inside = [crew for crew in self.crews if crew.cgroup == group.path]
        inside_too = [running for running in self.running if running.cgroup == group.path]
        if inside or inside_too:
            raise InputError(
                f"{where}: {found}, expected workers in the innermost only: the kernel lets no cgroup with others in it"
                " hold tasks"
            )

    def hotplug(self, cpus: Cpus, online: bool, where: str) -> None:
        """CPUs go offline or come online. Raises InputError for CPU 0, for those that are so already, and when a
        cgroup would be left without any."""
        self._check_hotplug(cpus, online, where)
        self.online = self.online | set(cpus) if online else self.online - set(cpus)
        for group in self.groups.values():
            if group.cpus is not None and not self.online & set(group.cpus):
                raise InputError(
                    f"{where}: found CPUs {cpulist.render(cpus)}, expected one that is left online of those of cgroup"
                    f" {group.path}, {cpulist.render(group.cpus)}"
                )

    def _check_hotplug(self, cpus: Cpus, online: bool, where: str) -> None:
        if not online:
            leaves_cpu_0(cpus, where, self.topology)
        already = [cpu for cpu in cpus if (cpu in self.online) is online]
        if already:
            word, other = ("online", "offline") if online else ("offline", "online")
            raise InputError(
                f"{where}: found CPUs {cpulist.render(cpus)}, of which {cpulist.render(already)} are {word}, expected"
                f" CPUs that are {other} at this moment"
            )

    def end(self, made_here: Callable[[int], bool]) -> None:
        """Whatever steps of this kind made is gone."""
        self.crews = [crew for crew in self.crews if not made_here(crew.step)]
        self.running = [running for running in self.running if not made_here(running.step)]
        self.groups = {path: group for path, group in self.groups.items() if not made_here(group.step)}


def resolved(declared: Cgroup, topology: Topology) -> tuple[Cpus | None, Cpus | None]:
    """The CPUs of a cgroup's cpuset, and those that isolation is judged by; each None where nothing is declared."""
    cpus = None if declared.cpuset is None else cpusets.resolve(declared.cpuset, topology)
    expected = declared.expect_cpuset
    return cpus, None if expected is None else cpusets.resolve(expected, topology)
