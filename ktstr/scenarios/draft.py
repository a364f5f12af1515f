"""A scenario while it is compiled: the tables of its program, what its numbers mean, and what there is at the moment.

Nothing in it depends on a seed but the CPUs of random affinities; what else a seed decides comes after (``seeding``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from ktstr import cpulist
from ktstr.checks.model import WorkGroup
from ktstr.checks.settings import Setting
from ktstr.config import scenario
from ktstr.config.model import PayloadDecl
from ktstr.config.topology import Topology
from ktstr.config.workdecl import group_size
from ktstr.errors import InputError
from ktstr.record.vocabulary import WORK_TYPES, SchedPolicy, WorkType
from ktstr.scenarios import affinity, memory
from ktstr.scenarios.affinity import Around, Pins
from ktstr.scenarios.payloads import Placement, check_custom, declared_payload, row
from ktstr.scenarios.places import PARTITION, Cpus, Crew, Group, Places, Running, resolved
from ktstr.scenarios.program import (
    OWN_CGROUP,
    AddCgroup,
    Cgroup,
    Controller,
    Deadline,
    Op,
    Payload,
    Read,
    ReadCgroup,
    Run,
    SetCpus,
    Spawn,
    Work,
    Worker,
    Write,
    WriteCgroup,
)
from ktstr.scenarios.setup import cpu_setting

_CONTROLLERS: tuple[Controller, ...] = ("memory", "io", "pids")
_NEVER_SLEEP = ("SpinWait", "YieldHeavy", "Mixed")


@dataclass(frozen=True)
class Surrounding:
    """What a scenario is compiled for.

    ``offline``: CPUs that the setup took offline; ``isolated``: those of isolcpus. ``pages``: whether workers tell
    where their memory is. ``home``: the folder of the guest that has the test's cgroups. ``seed``: for random
    affinities.
    """

    topology: Topology
    payloads: tuple[tuple[str, PayloadDecl], ...] = ()
    offline: Cpus = ()
    pages: bool = False
    home: str = "/sys/fs/cgroup/ktstr"
    isolated: Cpus = ()
    seed: int = 0


@dataclass(frozen=True)
class ReadBack:
    """The op that reads what was written; it is told from its like by its identity."""

    op: Op
    setting: Setting


@dataclass
class Life:
    """What isolation and locality are judged by, of all the life of one work's workers: ``cpus`` and ``nodes`` are None
    when they were ever free. ``most`` and ``fewest``: how many CPUs they can use at the most, and when they were
    fewest."""

    index: int
    cgroup: str
    step: int
    declared: scenario.Work
    params: tuple[int, ...]
    cpus: frozenset[int] | None
    nodes: frozenset[int] | None
    most: int
    fewest: int

    def group(self) -> WorkGroup:
        work = self.declared
        cpus, nodes = (None if known is None else tuple(sorted(known)) for known in (self.cpus, self.nodes))
        return WorkGroup(
            self.index, self.cgroup, work.work_type, work.workers, cpus, self.params, work.policy, work.priority,
            work.nice, self.step, nodes, self.fewest if self.fewest < len(cpus or range(self.most)) else None,
        )  # fmt: skip


@dataclass
class Draft:
    """The tables as they grow.

    ``bare``: cgroups that are made several times, and not alike: ops give each its CPUs. ``named``: those that ops
    name, which are in the table though only a cgroup below may be declared. ``settings``: what is read back, of which
    some ops may be left out later. ``step``: the one that is compiled, 0 for the backdrop; negative for what a pass of
    its loop makes.
    """

    around: Surrounding
    places: Places
    bare: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    names: dict[str, int] = field(default_factory=dict)
    cgroups: list[Cgroup] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    payloads: list[Payload] = field(default_factory=list)
    payload_names: list[str | None] = field(default_factory=list)
    controllers: set[Controller] = field(default_factory=set)
    settings: list[ReadBack] = field(default_factory=list)
    step: int = 0
    draws: int = 0
    _known: dict[object, int] = field(default_factory=dict)

    # Cgroups.

    def add_cgroup(self, declared: scenario.Cgroup) -> list[Op]:
        """Make a cgroup, without its workers, after those above that ops name and nobody declares.

        Raises InputError for one that does not fit where it is to be.
        """
        ops: list[Op] = []
        for outer in reversed(list(parents(declared.name))):
            if outer in self.named and outer not in self.places.groups:
                ops += self._add(scenario.Cgroup(outer, where=declared.where))
        return [*ops, *self._add(declared)]

    def _add(self, declared: scenario.Cgroup) -> list[Op]:
        cpus, expected = resolved(declared, self.around.topology)
        self._check_mems(declared)
        entry = self._entry(declared.name, cpus, declared.mems)
        judged = expected if expected is not None else cpus
        group = Group(declared.name, entry, self.step, declared, cpus, judged, declared.mems)
        self.places.add(group, declared.where)
        ops: list[Op] = [AddCgroup(entry)]
        if declared.name in self.bare:
            ops += [] if cpus is None else [SetCpus(entry, cpus)]
            mems = declared.mems
            ops += [] if mems is None else [WriteCgroup(entry, "cpuset.mems", cpulist.render(mems))]
        return [*ops, *self.control(group, declared.controls, declared.where)]

    def _entry(self, path: str, cpus: Cpus | None, mems: Cpus | None) -> int:
        """Its place in the table, in the order in which they are first made."""
        if path not in self.names:
            self.names[path] = len(self.cgroups)
            self.cgroups.append(Cgroup(path) if path in self.bare else Cgroup(path, cpus, mems))
        return self.names[path]

    def _check_mems(self, declared: scenario.Cgroup) -> None:
        """Raise InputError for nodes that the machine does not have, or that a cgroup above does not allow."""
        if declared.mems is None:
            return
        topology = self.around.topology
        outer = next((group for group in self.places.above(declared.name) if group.mems is not None), None)
        allowed = set(topology.memory_nodes) if outer is None or outer.mems is None else set(outer.mems)
        if not declared.mems or set(declared.mems) - allowed:
            whose = "the machine" if outer is None else outer.path
            raise InputError(
                f"{declared.where}.mems: found nodes {cpulist.render(declared.mems) or 'none'}, expected some of those"
                f" of {whose}, {cpulist.render(allowed)} (topology {topology.label})"
            )

    def control(self, group: Group, controls: scenario.Controls, where: str) -> list[Op]:
        """Write to files of a cgroup. A partition is read back: the kernel may take the word and make none."""
        ops: list[Op] = []
        for file, text in controls:
            group.controls[file] = text
            self.controllers.update(one for one in _CONTROLLERS if file.startswith(f"{one}."))
            if file == PARTITION:
                ops += self._partition(group, text, where)
            else:
                ops.append(WriteCgroup(group.entry, file, text))
        return ops

    def _partition(self, group: Group, text: str, where: str) -> list[Op]:
        """A partition below cgroups that are none is a remote one, whose CPUs have to be exclusive all the way down
        (Documentation/admin-guide/cgroup-v2.rst; from Linux 6.7 on)."""
        self.places.check_partitions(group, where)
        ops: list[Op] = []
        if text != "member" and group.cpus is not None:
            ops += self._exclusive(group, group.cpus)
        read = ReadCgroup(group.entry, PARTITION)
        self.settings.append(ReadBack(read, Setting(f"{group.path}/{PARTITION}", text)))
        return [*ops, WriteCgroup(group.entry, PARTITION, text), read]

    def _exclusive(self, group: Group, cpus: Cpus) -> list[Op]:
        owners = [g for g in self.places.groups.values() if g.partition != "member" and g.cpus is not None]
        every = sorted({cpu for owner in owners for cpu in owner.cpus or ()})
        ops: list[Op] = [Write(f"{self.around.home}/cpuset.cpus.exclusive", cpulist.render(every))]
        for outer in reversed(list(self.places.above(group.path))):
            inside = sorted({cpu for g in owners if g.path.startswith(f"{outer.path}/") for cpu in g.cpus or ()})
            ops.append(WriteCgroup(outer.entry, "cpuset.cpus.exclusive", cpulist.render(inside)))
        return [*ops, WriteCgroup(group.entry, "cpuset.cpus.exclusive", cpulist.render(cpus))]

    @property
    def needed_controllers(self) -> tuple[Controller, ...]:
        """Those whose files are written, beside cpuset and cpu."""
        return tuple(name for name in _CONTROLLERS if name in self.controllers)

    # Workers.

    def spawn(self, work: scenario.Work, cgroup: str | None, again: object = None) -> Op:
        """Fork workers, blocked. ``again``: what the passes of a loop know the declaration by.

        Raises InputError for what does not fit their cgroup, or the kernel would refuse.
        """
        places = self.places
        places.start_in(cgroup, work.where)
        work = self._counted(work, cgroup)
        params = _params(work)
        pins = self._pins(work, cgroup)
        made = self._work(work, cgroup, params, pins)
        index = self._row(again, made)
        busy = work.workers if work.work_type in _NEVER_SLEEP else 0
        crew = Crew(index, cgroup, self.step, busy, pins.together)
        places.crews.append(crew)
        if index == len(self.lives):
            self.lives.append(self._life(crew, work, params))
        return Spawn(index)

    def _counted(self, work: scenario.Work, cgroup: str | None) -> scenario.Work:
        """With as many workers as its cgroup's CPUs make it, in whole groups."""
        if work.count is None:
            return work
        size = group_size(work.work_type, _params(work) if work.payload is None else ())
        workers = work.count.of(len(self.places.pool(cgroup)))
        return replace(work, workers=-(-workers // size) * size)

    def _life(self, crew: Crew, work: scenario.Work, params: tuple[int, ...]) -> Life:
        places, cgroup = self.places, crew.cgroup
        nodes = memory.expected_nodes(work.mem_policy, places, cgroup)
        most, now = self.around.topology.cpus - len(self.around.offline), len(places.usable(crew))
        return Life(
            crew.work, cgroup or "", abs(self.step), work, params, _set(places.judged(cgroup)), _set(nodes), most, now
        )

    def _pins(self, work: scenario.Work, cgroup: str | None) -> Pins:
        if work.affinity is None:
            confined = self.places.confined(cgroup)
            gone = sorted(set(confined or ()) - self.places.online)
            if gone:
                raise InputError(
                    f"{work.where}: found workers for cgroup {cgroup} with CPUs {cpulist.render(confined or ())}, of"
                    f" which {cpulist.render(gone)} are offline, expected all of them online at this moment"
                )
            return Pins()
        return self.pins(work.affinity, work.workers, cgroup, work.where)

    def pins(self, declared: scenario.Affinity, workers: int, cgroup: str | None, where: str) -> Pins:
        """The CPUs of workers in a cgroup."""
        placed = declared if declared.where else replace(declared, where=f"{where}.affinity")
        draws = affinity.generator(self.around.seed, self.draws)
        self.draws += 1
        return affinity.pins(placed, workers, Around(self.places, cgroup), draws)

    def _work(self, work: scenario.Work, cgroup: str | None, params: tuple[int, ...], pins: Pins) -> Work:
        self._check_deadline(work, cgroup, pins)
        given = work.deadline
        rule = None if work.mem_policy is None else memory.policy(work.mem_policy, self.places, cgroup)
        workers = tuple(Worker(affinity=cpus) for cpus in pins.each) or (Worker(),) * work.workers
        return Work(
            cast(WorkType, work.work_type),
            OWN_CGROUP if cgroup is None else self.names[cgroup],
            workers,
            params,
            cast(SchedPolicy, work.policy),
            work.priority,
            work.nice,
            pins.common,
            None if given is None else Deadline(given.runtime_ns, given.deadline_ns, given.period_ns),
            rule,
            work.threads,
            work.comm,
            work.pcomm,
            self.around.pages or rule is not None,
            work.cgroup_namespace,
        )

    def _check_deadline(self, work: scenario.Work, cgroup: str | None, pins: Pins) -> None:
        """SCHED_DEADLINE is for tasks that may use all CPUs of their root domain (__sched_setscheduler)."""
        if work.policy != "deadline":
            return
        domain = frozenset(self.places.pool(None))
        owned = next((g for g in self.places.chain(cgroup) if g.partition != "member"), None)
        if owned is not None and owned.cpus is not None:
            domain = frozenset(owned.cpus)
        usable = {cpu for cpus in (pins.each or (pins.common or self.places.pool(cgroup),)) for cpu in cpus}
        narrow = any(not domain <= set(cpus) for cpus in pins.each)
        if narrow or not domain <= usable:
            raise InputError(
                f"{work.where}: found policy deadline on CPUs {cpulist.render(usable)}, expected all of"
                f" {cpulist.render(domain)}: the kernel admits no deadline task that may not use them all",
                fix="drop its cpuset and affinity",
            )

    def keep_lives(self) -> None:
        """What running workers can use now counts for the life of their work."""
        for crew in self.places.crews:
            life = self.lives[crew.work]
            judged = self.places.judged(crew.cgroup)
            life.cpus = None if life.cpus is None or judged is None else life.cpus | set(judged)
            nodes = memory.expected_nodes(life.declared.mem_policy, self.places, crew.cgroup)
            life.fewest = min(life.fewest, len(self.places.usable(crew)))
            life.nodes = None if life.nodes is None or nodes is None else life.nodes | set(nodes)

    # Payloads.

    def run(self, name: str, args: tuple[str, ...] | None, cgroup: str | None, where: str) -> Op:
        """Start a payload. Raises InputError for one that is not declared, or runs there already."""
        if any(one.name == name and one.cgroup == cgroup and not one.waited for one in self.places.running):
            place = f"in cgroup {cgroup}" if cgroup is not None else "outside of the test's cgroups"
            raise InputError(
                f"{where}: found payload {name}, which runs {place} already, expected its end before",
                fix="wait for it, or kill it",
            )
        placed = Placement(OWN_CGROUP if cgroup is None else self.places.group(cgroup, where).entry)
        return self._run(name, args, placed, cgroup, where)

    def run_custom(self, work: scenario.Work, cgroup: str | None) -> list[Op]:
        """Start the program that Custom workers are, once for each."""
        name = check_custom(work)
        work = self._counted(work, cgroup)
        pins = self._pins(work, cgroup)
        entry = OWN_CGROUP if cgroup is None else self.names[cgroup]
        each = pins.each or (pins.common,) * work.workers
        placed = [Placement(entry, cpus, work) for cpus in each]
        return [self._run(name, None, one, cgroup, work.where, custom=True) for one in placed]

    def _run(
        self, name: str, args: tuple[str, ...] | None, placed: Placement, cgroup: str | None, where: str,
        custom: bool = False,
    ) -> Op:  # fmt: skip
        self.places.start_in(cgroup, where)
        declared = declared_payload(dict(self.around.payloads), name, where)
        entry = row(declared, args, placed)
        taken = {one.entry for one in self.places.running}
        free = [
            i for i, (known, is_of) in enumerate(zip(self.payloads, self.payload_names, strict=True))
            if i not in taken and known == entry and is_of == name
        ]  # fmt: skip
        if not free:
            free = [len(self.payloads)]
            self.payloads.append(entry)
            self.payload_names.append(name)
        self.places.running.append(Running(free[0], name, cgroup, self.step, custom))
        return Run(free[0])

    # CPUs.

    def switch(self, cpus: Cpus, online: bool) -> list[Op]:
        """Take CPUs offline, or online again, until the scope ends; what the kernel made of it is read back."""
        ops: list[Op] = []
        for cpu in cpus:
            setting = cpu_setting(cpu, online)
            ops += [Write(setting.path, setting.value, restore=True), self.read_back(setting)]
        return ops

    def read_back(self, setting: Setting) -> Op:
        """Read a file that has to hold what was written to it."""
        read = Read(setting.path)
        self.settings.append(ReadBack(read, setting))
        return read

    def _row(self, again: object, work: Work) -> int:
        """Its place in the table: that of the same declaration in an earlier pass of a loop, else a new one."""
        key = (again, work)
        if again is None or key not in self._known:
            self._known[key] = len(self.works)
            self.works.append(work)
        return self._known[key]


def parents(path: str) -> Iterator[str]:
    """The paths above, the nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def _set(numbers: Cpus | None) -> frozenset[int] | None:
    return None if numbers is None else frozenset(numbers)


def _params(work: scenario.Work) -> tuple[int, ...]:
    """The work type's numbers in the agent's order; what was not declared has its default."""
    given = dict(work.params)
    return tuple(given.get(p.name, p.default) for p in WORK_TYPES[work.work_type].params)
