"""What came of both sides' runs, as the result that is written out."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ktstr.commands.declare.command import Invocation
from ktstr.commands.perf.judged import judging, scenario_runs
from ktstr.commands.perf.options import Options
from ktstr.commands.perf.sides import Paired
from ktstr.errors import KtstrError
from ktstr.planning.pair import Pair
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import Ledger
from ktstr.results.store import CellStore
from ktstr.stats.compare.gate import NOTHING
from ktstr.stats.inference.verdicts import Rule, Word
from ktstr.stats.perf.divergence import first_divergence
from ktstr.stats.perf.judge import Judgement, judge
from ktstr.stats.perf.result import Divergence, Excluded, Finding, PerfDelta, SideName
from ktstr.stats.perf.scenarios import ScenarioRuns

EMULATED = (
    "times are virtual (icount): compare schedules, latencies and the instructions that work took,"
    " not the speed of a machine"
)
INTERRUPTED = "interrupted: not all runs were made"
SIDES: tuple[SideName, ...] = ("a", "b")


def result_of(invocation: Invocation, options: Options, paired: Paired) -> PerfDelta:
    """Everything that was found, as a value."""
    assert options.noise_adjust is not None
    pair, ledger = paired.pair, invocation.ledger
    look = paired.look_made()
    how = judging(invocation, options, look.alpha)
    scenarios = scenario_runs(ledger, pair.couples)
    judgement = judge(scenarios, how)
    excluded = [side for runs in scenarios for side in runs.excluded()]
    return PerfDelta(
        baseline=paired.sides.base.label,
        head=paired.sides.head.label,
        chosen=paired.sides.how,
        rule=Rule(options.rule),
        runs=options.noise_adjust,
        scenarios=sum(bool(runs.is_same or (runs.compared.a and runs.compared.b)) for runs in scenarios),
        findings=_shown(judgement.findings, options),
        same_cells=tuple(couple.head.name.partition("/")[2] for couple in pair.couples if couple.is_same),
        excluded=tuple(_summed(excluded)),
        unevaluated=judgement.unevaluated,
        divergences=tuple(_divergences(invocation, pair, judgement)),
        failures=judgement.failures,
        notes=(*_about_all(invocation, scenarios), *judgement.notes, *_notes(ledger, pair)),
        cutoff=how.gate.fail_threshold,
        noise_spread_threshold_pct=options.noise_spread_threshold,
        stopped_after=look.runs if look.runs < options.noise_adjust else None,
    )


def _shown(findings: Iterable[Finding], options: Options) -> tuple[Finding, ...]:
    """Without what the variables about phases hide. What a test declares of a phase is always there."""
    phases = options.phases

    def hidden(finding: Finding) -> bool:
        if finding.phase is None:
            return phases.phases_only
        if finding.gate is not None:
            return False
        small = phases.phase_threshold is not None and _change(finding) < phases.phase_threshold
        return small or (phases.steps_only and finding.phase == 0) or phases.phase not in (None, finding.phase)

    return tuple(finding for finding in findings if not hidden(finding))


def _change(finding: Finding) -> float:
    """|B - A| in percent of |A|; infinite against a baseline of nothing."""
    a, b = finding.verdict.center_a, finding.verdict.center_b
    if a is None or b is None:
        return 0.0
    return abs(b - a) / abs(a) * 100 if abs(a) > NOTHING else math.inf


def _summed(sides: Iterable[Excluded]) -> Iterable[Excluded]:
    """One for each side, over all scenarios."""
    every = tuple(sides)
    for name in SIDES:
        members = [side for side in every if side.side == name]
        yield Excluded(
            name,
            sum(side.runs for side in members),
            skipped=sum(side.skipped for side in members),
            failed=sum(side.failed for side in members),
            inconclusive=sum(side.inconclusive for side in members),
            expected_failure=sum(side.expected_failure for side in members),
        )


def _about_all(invocation: Invocation, scenarios: Iterable[ScenarioRuns]) -> Iterable[str]:
    """What holds for the whole comparison."""
    if invocation.cancel.signal:
        yield INTERRUPTED
    if any(runs.is_emulated for runs in scenarios):
        yield EMULATED


def _notes(ledger: Ledger, pair: Pair) -> Iterable[str]:
    """What is only on one side, and what could not be run."""
    yield from (f"{name}: new at HEAD, nothing to compare with" for name in pair.new)
    yield from (f"{name}: only at the baseline" for name in pair.removed)
    for couple in pair.differing:
        for cell in (couple.base, couple.head):
            outcome = ledger.outcomes.get(cell.name)
            if outcome is not None and outcome.verdict == Outcome.ERROR:
                yield f"{cell.name}: {'; '.join(outcome.reasons)}"


def _divergences(invocation: Invocation, pair: Pair, judgement: Judgement) -> Iterable[Divergence]:
    """Of each scenario in which something changed: where the lowest seed's runs part."""
    changed = {f.verdict.scenario for f in judgement.findings if f.word in (Word.REGRESSED, Word.IMPROVED)}
    store = CellStore(invocation.project.cells)
    for couple in sorted(pair.differing, key=lambda couple: couple.head.key.seed):
        if couple.scenario not in changed or couple.head.point.accel != "icount":
            continue
        try:
            a, b = store.read(couple.base.input_digest), store.read(couple.head.input_digest)
        except KtstrError:
            continue
        found = (
            None if a is None or b is None else first_divergence(couple.head.name.partition("/")[2], a.guest, b.guest)
        )
        if found is not None:
            changed.discard(couple.scenario)
            yield found
