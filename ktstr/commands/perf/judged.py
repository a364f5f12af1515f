"""Judging both sides' runs by the user's rule and limits, as far as they ran."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.cells.judge import assertion
from ktstr.commands.declare.command import Invocation
from ktstr.commands.perf.options import Options
from ktstr.planning.pair import Couple
from ktstr.planning.points import CellPlan
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import Ledger
from ktstr.stats.compare.gate import Gate, must_fail
from ktstr.stats.compare.policy import Policy, load_policy, uniform
from ktstr.stats.inference.verdicts import Rule, Settings
from ktstr.stats.perf.judge import Judgement, Judging, judge
from ktstr.stats.perf.scenarios import ScenarioRuns

ALPHA = 0.05  # the rate of false alarms of a whole comparison
RANKS_FAIL, WELCH_FAIL = 1, 5  # at how many regressions a comparison fails by each rule


def judging(invocation: Invocation, options: Options, alpha: float) -> Judging:
    """The user's rule and limits. ``alpha``: the level that is spent on this look. Raises InputError."""
    rule = Rule(options.rule)
    default = RANKS_FAIL if rule is Rule.RANKS else WELCH_FAIL
    return Judging(
        rule=rule,
        settings=Settings(alpha=alpha, spread_pct=options.noise_spread_threshold),
        policy=policy_of(invocation, options),
        gate=Gate(
            default if options.fail_threshold is None else options.fail_threshold,
            must_fail(options.must_fail, noise=options.noise_adjust is not None),
        ),
        phases=not options.phases.no_phases,
    )


def policy_of(invocation: Invocation, options: Options) -> Policy | None:
    """The limits that ``threshold=`` or ``policy=`` give. Raises InputError."""
    if options.threshold is not None:
        return uniform(options.threshold)
    return None if options.policy is None else load_policy(invocation.project.stand / options.policy)


def sidecar_of(ledger: Ledger, cell: CellPlan) -> Sidecar | None:
    """What a cell measured; None when it did not run, or ended in an error."""
    outcome = ledger.outcomes.get(cell.name)
    if outcome is None:
        return None
    return outcome.standing.build() if outcome.standing is not None else outcome.sidecar


def scenario_runs(ledger: Ledger, couples: Sequence[Couple]) -> list[ScenarioRuns]:
    """The runs of each scenario so far, in the order of ``couples``."""
    groups: dict[str, list[Couple]] = {}
    for couple in couples:
        groups.setdefault(couple.scenario, []).append(couple)
    return [_runs(ledger, name, group) for name, group in groups.items()]


def _runs(ledger: Ledger, name: str, couples: Sequence[Couple]) -> ScenarioRuns:
    differing = [couple for couple in couples if not couple.is_same]
    sides = (
        [sidecar_of(ledger, cell) for cell in side] for side in zip(*((c.base, c.head) for c in differing), strict=True)
    )
    a, b = (tuple(run for run in side if run is not None) for side in sides) if differing else ((), ())
    test = couples[0].head.point.test
    return ScenarioRuns(test.name, name, a, b, tuple(map(assertion, test.perf_delta)), is_same=not differing)


def judged_so_far(invocation: Invocation, options: Options, couples: Sequence[Couple], alpha: float) -> Judgement:
    """The judgement of these cells, as far as they ran."""
    return judge(scenario_runs(invocation.ledger, couples), judging(invocation, options, alpha))
