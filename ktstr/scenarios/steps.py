"""The order of a scenario: the backdrop, then step after step; or, of a test in the short form, all at once.

Of a step: its ops, its cgroups with their workers, its payloads, the hold, and a checkpoint that ends its phase. Of one
whose hold is a loop, the ops come after the rest, in each pass. What a step made is taken down at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ktstr.checks.model import PhaseSpan
from ktstr.config import ops as declared
from ktstr.config.model import Backdrop, Step, TestDecl
from ktstr.config.scenario import Cgroup, Hold
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios import program
from ktstr.scenarios.copies import fitted, is_there
from ktstr.scenarios.deadlines import STOP_WORKERS_NS
from ktstr.scenarios.draft import Draft, Surrounding
from ktstr.scenarios.loops import Loop, compile_loop
from ktstr.scenarios.opcompile import compile_op, stopped_with, thaw
from ktstr.scenarios.payloads import is_custom
from ktstr.scenarios.places import Places, resolved
from ktstr.scenarios.program import Op, Payload, Selector
from ktstr.scenarios.scheduler_ops import Moment, SchedulerLife, hold_with
from ktstr.scenarios.spans import Watched, named_by, watch

BASELINE = "BASELINE"


@dataclass(frozen=True)
class Scenario:
    """All of a test that its ops follow from, but topology and seed; compared as a whole.

    ``moments``: what is done to the scheduler within its duration, ``loaders``: the payloads that those start.
    ``is_short``: cgroups and no steps.
    """

    steps: tuple[Step, ...]
    backdrop: Backdrop
    settle_ns: int
    duration_ns: int
    is_short: bool
    moments: tuple[Moment, ...] = ()
    loaders: tuple[Payload, ...] = ()
    where: str = field(default="", compare=False)

    @classmethod
    def of(cls, test: TestDecl, life: SchedulerLife | None) -> Scenario:
        """That of a test, under a scheduler that this is done to."""
        made = cls(test.all_steps, test.backdrop, test.settle_ns, test.duration_ns, is_short=not test.steps)
        moments, loaders = ((), ()) if life is None else (life.moments, life.payloads)
        return replace(made, moments=moments, loaders=loaders, where=f"{test.where} tests.{test.name}")

    def on(self, topology: Topology) -> Scenario:
        """That of one machine, which may have fewer copies of a cgroup than there can be."""
        parts: tuple[Backdrop | Step, ...] = (self.backdrop, *self.steps)
        absent = {c.name for part in parts for c in part.cgroups if not is_there(c, topology)}
        if not absent:
            return self
        steps = tuple(fitted(step, absent, topology) for step in self.steps)
        return replace(self, backdrop=fitted(self.backdrop, absent, topology), steps=steps)


@dataclass(frozen=True)
class Phase:
    """A phase, by the ops that begin and end it."""

    index: int
    label: str
    begin: Op
    end: Op

    def span(self, place: Callable[[Op], int]) -> PhaseSpan:
        return PhaseSpan(self.index, self.label, place(self.begin), place(self.end))


@dataclass
class Drafted:
    """A scenario as compiled for every seed: its tables, its ops, and what is read for the checks."""

    draft: Draft
    ops: list[Op] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)


def draft_of(scenario: Scenario, around: Surrounding) -> Drafted:
    """The scenario on one topology. Raises InputError, with its place, for what does not fit."""
    scenario = scenario.on(around.topology)
    places = Places(around.topology, around.offline, around.isolated)
    made = Drafted(Draft(around, places, _bare(scenario, around), _named(scenario)))
    made.draft.payloads += scenario.loaders
    made.draft.payload_names += [None] * len(scenario.loaders)
    if scenario.is_short:
        _short(made, scenario)
        return made
    _backdrop(made, scenario)
    begin_ns = 0
    for index, step in enumerate(scenario.steps, 1):
        made.draft.step = index
        lasts_ns = _lasts(step, scenario, begin_ns)
        _step(made, scenario, _Now(index, step, begin_ns, lasts_ns))
        begin_ns += lasts_ns
    _check_moments(scenario)
    made.ops += _ending(made.draft)
    return made


def _bare(scenario: Scenario, around: Surrounding) -> frozenset[str]:
    """The cgroups that are made several times with different CPUs or nodes."""
    found: dict[str, set[object]] = {}
    parts: tuple[Backdrop | Step, ...] = (scenario.backdrop, *scenario.steps)
    for part in parts:
        made = [*part.cgroups, *(op.cgroup for op in part.ops if isinstance(op, declared.AddCgroup))]
        for cgroup in made:
            found.setdefault(cgroup.name, set()).add((resolved(cgroup, around.topology)[0], cgroup.mems))
    return frozenset(path for path, kinds in found.items() if len(kinds) > 1)


def _named(scenario: Scenario) -> frozenset[str]:
    """The cgroups that ops name without making them."""
    parts: tuple[Backdrop | Step, ...] = (scenario.backdrop, *scenario.steps)
    does = [op for part in parts for op in (*part.ops, *part.payloads)]
    return frozenset(path for op in does for path in named_by(op))


# Parts of steps.


@dataclass
class Populated:
    """Cgroups and their workers: the ops that make cgroups, that spawn, and that run Custom workers."""

    cgroups: list[Op] = field(default_factory=list)
    spawns: list[Op] = field(default_factory=list)
    customs: list[Op] = field(default_factory=list)


def _populate(draft: Draft, cgroups: Sequence[Cgroup]) -> Populated:
    made = Populated()
    for cgroup in sorted(cgroups, key=lambda cgroup: cgroup.name.count("/")):  # a parent may stand after its child
        made.cgroups += draft.add_cgroup(cgroup)
    for cgroup in cgroups:
        for work in cgroup.works:
            if is_custom(work):
                made.customs += draft.run_custom(work, cgroup.name)
            else:
                made.spawns.append(draft.spawn(work, cgroup.name))
    draft.keep_lives()
    return made


def _start(draft: Draft, cgroups: Sequence[Cgroup], release: Selector) -> list[Op]:
    """Make cgroups, and let their workers begin."""
    made = _populate(draft, cgroups)
    released = [program.Release(release)] if made.spawns else []
    return [*made.cgroups, *made.spawns, *released, *made.customs]


def _compiled(draft: Draft, does: Sequence[declared.Op]) -> list[Op]:
    return [op for index, one in enumerate(does) for op in compile_op(draft, one, (draft.step, index))]


def _ending(draft: Draft) -> list[Op]:
    """What is left is stopped and reports, and all cgroups go."""
    ops = thaw(list(draft.places.groups.values()))
    ops += [program.Kill(running.entry) for running in draft.places.running]
    return [*ops, program.StopWorkers(timeout_ns=STOP_WORKERS_NS), program.RemoveCgroups()]


def _short(made: Drafted, scenario: Scenario) -> None:
    (step,) = scenario.steps
    draft = made.draft
    populated = _populate(draft, step.cgroups)
    made.ops += [*populated.cgroups, *populated.spawns, program.Release(), *populated.customs]
    made.ops += _compiled(draft, step.payloads)
    made.watched += watch(draft.places, 1)
    made.ops += _around(made.watched, hold_with(scenario.moments, 0, scenario.duration_ns))
    made.ops += _ending(draft)


def _around(watched: Sequence[Watched], held: Sequence[Op]) -> list[Op]:
    return [*(one.begin for one in watched), *held, *(one.end for one in watched)]


def _backdrop(made: Drafted, scenario: Scenario) -> None:
    draft, backdrop = made.draft, scenario.backdrop
    made.ops += _start(draft, backdrop.cgroups, Selector("backdrop"))
    made.ops += _compiled(draft, backdrop.ops)
    made.ops += _compiled(draft, backdrop.payloads)
    if scenario.settle_ns:
        settle, ends = program.Hold(scenario.settle_ns), program.Checkpoint(0)
        made.ops += [settle, ends]
        made.phases.append(Phase(0, BASELINE, settle, ends))


@dataclass(frozen=True)
class _Now:
    """The step that is compiled: its number, and the part of the scenario's time that it has."""

    index: int
    step: Step
    begin_ns: int
    lasts_ns: int

    @property
    def label(self) -> str:
        return self.step.name or f"Step[{self.index - 1}]"


def _lasts(step: Step, scenario: Scenario, begin_ns: int) -> int:
    """How long its hold is. Raises InputError for a loop that has no time left."""
    hold: Hold = step.hold
    if hold.kind == "fixed":
        return hold.ns
    if hold.kind == "fraction":
        return max(1, round(hold.fraction * scenario.duration_ns))
    left = scenario.duration_ns - begin_ns
    if left <= 0:
        raise InputError(
            f"{step.where}.hold: found a loop after holds of {begin_ns / 1e9:g}s, expected time left for it of the"
            f" test's duration, {scenario.duration_ns / 1e9:g}s",
            fix="shorten the holds before it, or make the test longer",
        )
    return left


def _step(made: Drafted, scenario: Scenario, now: _Now) -> None:
    draft, step = made.draft, now.step
    online = draft.places.online
    is_loop = step.hold.kind == "loop"
    body: list[Op] = [] if is_loop else _compiled(draft, step.ops)
    body += _start(draft, step.cgroups, Selector("step"))
    body += _compiled(draft, step.payloads)
    watched = watch(draft.places, now.index, step.ops if is_loop else ())
    if is_loop:
        held = compile_loop(draft, Loop(step.ops, step.hold.ns, now.lasts_ns, step.where))
    else:
        end_ns = now.begin_ns + now.lasts_ns
        cuts = [moment for moment in scenario.moments if now.begin_ns <= moment.at_ns < end_ns]
        held = list(hold_with(cuts, now.begin_ns, now.lasts_ns))
    checkpoint = program.Checkpoint(now.index)
    body += [*_around(watched, held), checkpoint, *thaw(stopped_with(draft.places, now.index))]
    scope = program.Scope(tuple(body), STOP_WORKERS_NS, step=True)
    made.ops.append(scope)
    made.phases.append(Phase(now.index, now.label, scope, checkpoint))
    made.watched += watched
    draft.places.end(lambda step_of: step_of == now.index)
    draft.places.online = online


def _check_moments(scenario: Scenario) -> None:
    """Raise InputError unless each falls into the hold of a step that is no loop."""
    holds: list[tuple[int, int]] = []
    begin_ns = 0
    for step in scenario.steps:
        lasts_ns = _lasts(step, scenario, begin_ns)
        if step.hold.kind != "loop":
            holds.append((begin_ns, begin_ns + lasts_ns))
        begin_ns += lasts_ns
    expected = ", ".join(f"{begin / 1e9:g}s to {end / 1e9:g}s" for begin, end in holds) or "none, all steps are loops"
    for index, moment in enumerate(scenario.moments):
        if not any(begin <= moment.at_ns < end for begin, end in holds):
            raise InputError(
                f"{scenario.where}.scheduler_ops[{index}].at: found {moment.at_ns / 1e9:g}s, expected a moment within"
                f" the hold of a step that is no loop: {expected}"
            )
