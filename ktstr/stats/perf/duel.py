"""``compare: [mine, other]``: the first of two schedulers judged against the second, on the same kernel and topology.

Runs are compared within a scenario: one preset, kernel and accel, all of them clones or all of them boots of their
own, in real time on hosts of one class. Whatever is judged at once is one family: the rule's rate of false alarms is
that of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.record.metrics import METRICS
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.stats.inference import decide
from ktstr.stats.inference.samples import Sample
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Settings
from ktstr.stats.perf.result import Excluded, Finding, PerfDelta, SideName, Unevaluated, excluded
from ktstr.stats.perf.samples import CellRun, Question, better, measured, sample
from ktstr.stats.perf.text import shift_text

Verdict: TypeAlias = Literal["pass", "fail", "inconclusive", "not compared"]


@dataclass(frozen=True)
class Duel:
    """What one test compares: ``mine`` is judged against ``other``. Without gates every measured metric is."""

    test: str
    mine: str
    other: str
    gates: tuple[PerfDeltaAssertion, ...]
    runs: tuple[CellRun, ...]

    def of(self, scheduler: str) -> tuple[CellRun, ...]:
        return tuple(run for run in self.runs if run.scheduler == scheduler)


@dataclass(frozen=True)
class Comparison:
    """A judged duel. ``fail``: a declared gate regressed; ``inconclusive``: one could not be evaluated;
    ``not compared``: only one of the two schedulers was selected."""

    test: str
    verdict: Verdict
    result: PerfDelta


@dataclass(frozen=True)
class _Question:
    """One metric in one scenario, and what was measured of it."""

    test: str
    about: Question
    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def sample(self) -> Sample:
        return sample(self.about, self.a, self.b)


@dataclass(frozen=True)
class _Scenario:
    """The runs of both sides that may be compared: A is the other's, B is mine."""

    name: str
    a: tuple[CellRun, ...]
    b: tuple[CellRun, ...]


def compare(duels: Sequence[Duel]) -> list[Comparison]:
    """Every duel judged, in order."""
    scenarios = [_scenarios(duel) for duel in duels]
    questions = [
        [question for scenario in found for question in _questions(duel, scenario)]
        for duel, found in zip(duels, scenarios, strict=True)
    ]
    asked = [question for some in questions for question in some]
    verdicts = iter(decide([question.sample for question in asked], Rule.RANKS, Settings())) if asked else iter(())
    return [
        _judged(duel, found, [_finding(question, next(verdicts)) for question in some])
        for duel, found, some in zip(duels, scenarios, questions, strict=True)
    ]


def _scenarios(duel: Duel) -> list[_Scenario]:
    found: dict[tuple[str, str, str], tuple[list[CellRun], list[CellRun]]] = {}
    for run in duel.runs:
        if run.counts and run.scheduler in (duel.mine, duel.other):
            name = f"{duel.test}/{run.preset}/{run.kernel}/{run.accel}"
            sides = found.setdefault((name, run.start, run.host), ([], []))
            sides[run.scheduler == duel.mine].append(run)
    both = {kind: (tuple(a), tuple(b)) for kind, (a, b) in found.items() if a and b}
    return [_Scenario(_scenario_name(kind, list(both)), a, b) for kind, (a, b) in both.items()]


def _scenario_name(kind: tuple[str, str, str], kinds: Sequence[tuple[str, str, str]]) -> str:
    """The name, with what tells it from others of that name: how its runs began, the class of their host."""
    name, start, host = kind
    alike = [other for other in kinds if other[0] == name]
    told = [start] if len({start for _, start, _ in alike}) > 1 else []
    told += [f"host {host}"] if len({host for _, _, host in alike}) > 1 else []
    return f"{name} ({', '.join(told)})" if told else name


def _questions(duel: Duel, scenario: _Scenario) -> Iterator[_Question]:
    asked: Iterable[tuple[str, PerfDeltaAssertion | None]]
    asked = [(gate.metric, gate) for gate in duel.gates] or [(name, None) for name in _metrics_of(scenario)]
    for metric, gate in asked:
        phase = None if gate is None else gate.phase
        a, b = _values(scenario.a, metric, phase), _values(scenario.b, metric, phase)
        if a and b:
            emulated = any(run.accel == "icount" for run in scenario.a)
            yield _Question(duel.test, Question(scenario.name, metric, gate, emulated), a, b)


def _metrics_of(scenario: _Scenario) -> list[str]:
    """The metrics of the registry that are judged over whole runs and were measured on both sides."""
    a, b = ({name for run in side for name in _all(run)} for side in (scenario.a, scenario.b))
    return [name for name, row in METRICS.items() if row.rendered and row.gates_aggregate(True) and name in a & b]


def _all(run: CellRun) -> Iterable[str]:
    return () if run.sidecar is None else measured(run.sidecar)


def _values(runs: Sequence[CellRun], metric: str, phase: int | None) -> tuple[float, ...]:
    return tuple(value for run in runs if (value := run.value(metric, phase)) is not None)


def _finding(question: _Question, verdict: MetricVerdict) -> Finding:
    metric, gate = question.about.metric, question.about.gate
    return Finding(
        test=question.test,
        verdict=verdict,
        unit=METRICS[metric].display_unit,
        better=better(metric, gate),
        phase=None if gate is None else gate.phase,
        gate=gate,
    )


def _judged(duel: Duel, scenarios: Sequence[_Scenario], findings: Sequence[Finding]) -> Comparison:
    a, b = duel.of(duel.other), duel.of(duel.mine)
    missing = [name for name, runs in ((duel.mine, b), (duel.other, a)) if not runs]
    unevaluated = tuple(_left(duel, scenarios, findings, missing))
    failed = [finding for finding in findings if finding.fails]
    result = PerfDelta(
        baseline=duel.other,
        head=duel.mine,
        chosen=f"the other scheduler of {duel.test}",
        rule=Rule.RANKS,
        runs=max((len(side) for scenario in scenarios for side in (scenario.a, scenario.b)), default=0),
        scenarios=len(scenarios),
        findings=tuple(findings),
        excluded=tuple(_excluded(side, runs) for side, runs in _sides(a, b)),
        unevaluated=unevaluated,
        failures=tuple(f"{f.verdict.scenario}: {f.verdict.metric} regressed, {shift_text(f)}" for f in failed),
        notes=tuple(f"no cell of {name} was selected: nothing to compare with" for name in missing),
        title=f"compare {duel.test}",
    )
    return Comparison(duel.test, _verdict(result, missing), result)


def _sides(a: tuple[CellRun, ...], b: tuple[CellRun, ...]) -> Iterator[tuple[SideName, tuple[CellRun, ...]]]:
    yield "a", a
    yield "b", b


def _verdict(result: PerfDelta, missing: Sequence[str]) -> Verdict:
    if missing:
        return "not compared"
    if result.failed:
        return "fail"
    return "inconclusive" if result.unevaluated or not result.scenarios else "pass"


def _left(
    duel: Duel, scenarios: Sequence[_Scenario], findings: Sequence[Finding], missing: Sequence[str]
) -> Iterator[Unevaluated]:
    """The gates that were judged in no scenario, and why."""
    judged = {(finding.verdict.metric, finding.phase) for finding in findings}
    for gate in duel.gates:
        if (gate.metric, gate.phase) not in judged:
            yield Unevaluated(duel.test, gate, _why(duel, scenarios, gate, missing))


def _why(duel: Duel, scenarios: Sequence[_Scenario], gate: PerfDeltaAssertion, missing: Sequence[str]) -> str:
    if missing:
        return f"no cell of {missing[0]} was selected"
    if not scenarios:
        return "no runs of both that passed and can be compared"
    where = "" if gate.phase is None else f" in phase {gate.phase}"
    for name in (duel.other, duel.mine):
        if not _values([run for run in duel.of(name) if run.counts], gate.metric, gate.phase):
            return f"not measured under {name}{where}"
    return f"measured on both sides{where}, but in no scenario of both"


def _excluded(side: SideName, runs: Sequence[CellRun]) -> Excluded:
    """How many runs say nothing. Cells in error and those that did not run have no sidecar, and are no runs."""
    ran = [(run.verdict, run.sidecar.expected_failure) for run in runs if run.sidecar is not None]
    return excluded(side, ran)
