"""Judging two sides' runs: what regressed, what did not, what could not be said, and whether the whole fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import comb

from ktstr.record.metrics import METRICS
from ktstr.record.sidecar import PerfDeltaAssertion, Sidecar
from ktstr.stats.compare.gate import Gate
from ktstr.stats.compare.policy import Policy
from ktstr.stats.inference.decide import decide
from ktstr.stats.inference.samples import Sample
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Settings, Word
from ktstr.stats.perf.result import Finding, Unevaluated
from ktstr.stats.perf.samples import better
from ktstr.stats.perf.scenarios import Place, ScenarioRuns, phase_samples, samples_of


@dataclass(frozen=True)
class Judging:
    """By which rule and with which limits. ``policy``: the user's relative limits, None for the registry's.
    ``phases``: whether single phases are judged too."""

    rule: Rule = Rule.RANKS
    settings: Settings = field(default_factory=Settings)
    policy: Policy | None = None
    gate: Gate = field(default_factory=Gate)
    phases: bool = True


@dataclass(frozen=True)
class Judgement:
    """``failures``: why the comparison fails, a sentence each; none when it does not."""

    findings: tuple[Finding, ...]
    unevaluated: tuple[Unevaluated, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_decided(self) -> bool:
        """Whether more runs would tell nothing."""
        return all(finding.word not in (Word.UNDECIDED, Word.NOISY) for finding in self.findings)


def judge(scenarios: Sequence[ScenarioRuns], how: Judging) -> Judgement:
    """The judgement of every metric of every scenario, all whole runs as one family, and of every phase."""
    findings = [*_whole_runs(scenarios, how), *(_phases(scenarios, how) if how.phases else ())]
    unevaluated = tuple(_unevaluated(scenarios, findings, how.phases))
    died = [text for runs in scenarios if (text := _more_failures(runs, how.settings.alpha)) is not None]
    failures = (*died, *failures_of(findings, how.gate))
    return Judgement(tuple(findings), unevaluated, failures, tuple(_one_sided(scenarios)))


def _relative(how: Judging, metric: str) -> float | None:
    """The user's own limit of a registered metric, as a fraction."""
    return None if how.policy is None or metric not in METRICS else how.policy.given(metric)


def _whole_runs(scenarios: Sequence[ScenarioRuns], how: Judging) -> Iterable[Finding]:
    compared = [(runs, sample) for runs in scenarios for sample in samples_of(runs, lambda name: _relative(how, name))]
    judged = _decided([sample for _, sample in compared], how)
    for runs, sample in compared:
        verdict = judged.get((sample.scenario, sample.metric))
        if verdict is not None:
            yield _finding(runs, sample, verdict, how)


def _phases(scenarios: Sequence[ScenarioRuns], how: Judging) -> Iterable[Finding]:
    """Each phase of a scenario as one of its own."""
    compared = [
        (runs, place, replace(sample, scenario=f"{sample.scenario} {place.step}"))
        for runs in scenarios
        for place, samples in _told_apart(phase_samples(runs, lambda name: _relative(how, name))).items()
        for sample in samples
    ]
    judged = _decided([sample for _, _, sample in compared], how)
    for runs, place, sample in compared:
        verdict = judged.get((sample.scenario, sample.metric))
        if verdict is not None:
            yield _finding(runs, sample, replace(verdict, scenario=runs.scenario), how, place)


def _told_apart(phases: dict[Place, list[Sample]]) -> dict[Place, list[Sample]]:
    """The phases of a run that has several; of one that has one alone what its test declares: the rest is the run's."""
    if len(phases) > 1:
        return phases
    return {place: [sample for sample in samples if sample.declared] for place, samples in phases.items()}


def _decided(samples: Sequence[Sample], how: Judging) -> dict[tuple[str, str], MetricVerdict]:
    """By scenario and metric; a rule may leave out what it cannot compare."""
    if not samples:
        return {}
    return {(verdict.scenario, verdict.metric): verdict for verdict in decide(samples, how.rule, how.settings)}


def _finding(
    runs: ScenarioRuns, sample: Sample, verdict: MetricVerdict, how: Judging, phase: Place | None = None
) -> Finding:
    index = None if phase is None else phase.step
    gate = next((gate for gate in runs.gates if (gate.metric, gate.phase) == (sample.metric, index)), None)
    return Finding(
        test=runs.test,
        verdict=verdict,
        unit=_unit(sample.metric, runs),
        better=better(sample.metric, gate, runs.printed.get(sample.metric)),
        phase=index,
        phase_label="" if phase is None else phase.label,
        gate=gate,
        must_fail=phase is None and sample.metric in how.gate.must_fail,
    )


def _unit(metric: str, runs: ScenarioRuns) -> str:
    if metric in METRICS:
        return METRICS[metric].display_unit
    return runs.printed[metric].unit if metric in runs.printed else ""


def _unevaluated(scenarios: Sequence[ScenarioRuns], findings: Sequence[Finding], phases: bool) -> Iterable[Unevaluated]:
    """The declared gates that nothing was decided by, once each."""
    judged = {(finding.verdict.scenario, finding.gate): finding for finding in findings if finding.gate is not None}
    for runs in scenarios:
        for gate in runs.gates:
            why = _why_not(runs, gate, judged.get((runs.scenario, gate)), phases)
            if why is not None:
                yield Unevaluated(runs.test, gate, f"{runs.scenario}: {why}")


def _why_not(runs: ScenarioRuns, gate: PerfDeltaAssertion, finding: Finding | None, phases: bool) -> str | None:
    if runs.is_same:
        return None  # the same inputs: nothing can have changed
    if finding is not None:
        if finding.word in (Word.UNDECIDED, Word.NOISY):
            more = finding.verdict.more
            return "undecided" + ("" if more is None else f", about {more} more runs of each side")
        return None
    if gate.phase is not None and not phases:
        return "phases are not compared (no_phases=1)"
    compared = runs.compared
    if not compared.a or not compared.b:
        return f"no run that can be compared {'at the baseline' if not compared.a else 'at HEAD'}"
    return "not measured on both sides"


def failures_of(findings: Sequence[Finding], gate: Gate) -> Iterable[str]:
    """Why the comparison fails by its metrics: their number first, then what each must not do."""
    regressed = [finding for finding in findings if finding.word is Word.REGRESSED]
    counted = [finding for finding in regressed if finding.phase is None]
    if gate.counts_out(len(counted)):
        yield f"{len(counted)} regressed (fail_threshold={gate.fail_threshold})"
    for finding in regressed:
        if finding.gate is not None:
            yield f"{finding.verdict.scenario}: {finding.verdict.metric} regressed, and its test declares it"
        elif finding.must_fail:
            yield f"{finding.verdict.scenario}: {finding.verdict.metric} regressed (must_fail=)"


def _more_failures(runs: ScenarioRuns, alpha: float) -> str | None:
    """That the scheduler fails its test now where it did not: Fisher's exact test, one-sided, or all against none."""
    a, b = _tally(runs.a), _tally(runs.b)
    if not a.runs or not b.failed:
        return None
    all_against_none = a.failed == 0 and b.failed == b.runs and b.runs >= 2
    if not all_against_none and fisher(a, b) > alpha:
        return None
    return f"{runs.scenario}: fails its checks in {b.failed} of {b.runs} runs at HEAD, in {a.failed} of {a.runs} before"


@dataclass(frozen=True)
class Tally:
    """How many of a side's runs failed, of those with a verdict."""

    failed: int
    runs: int


def _tally(side: Sequence[Sidecar]) -> Tally:
    judged = [run for run in side if not run.skipped and not run.inconclusive]
    return Tally(sum(not run.passed for run in judged), len(judged))


def fisher(a: Tally, b: Tally) -> float:
    """The probability that at least as many of all failures fall on B if sides mean nothing (Fisher 1935)."""
    failed = a.failed + b.failed
    ways = sum(comb(b.runs, k) * comb(a.runs, failed - k) for k in range(b.failed, min(failed, b.runs) + 1))
    return ways / comb(a.runs + b.runs, failed)


def _one_sided(scenarios: Sequence[ScenarioRuns]) -> Iterable[str]:
    """Scenarios of which one side has nothing to compare."""
    for runs in scenarios:
        compared = runs.compared
        if not runs.is_same and (runs.a or runs.b) and not (compared.a and compared.b):
            missing = "baseline" if not compared.a else "HEAD"
            a, b = runs.excluded()
            yield (
                f"{runs.scenario}: no run of the {missing} can be compared"
                f" (A: {a.comparable} of {a.runs}, B: {b.comparable} of {b.runs} passed)"
            )
