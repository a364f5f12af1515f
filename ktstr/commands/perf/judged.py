"""Judging both sides' runs by the user's rule and limits, as far as they ran."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.cells.goals import sidecar_of
from ktstr.cells.judge import gates
from ktstr.commands.declare.command import Invocation
from ktstr.commands.perf.options import Options
from ktstr.planning.pair import Couple
from ktstr.planning.points import CellPlan
from ktstr.record.sidecar import Sidecar
from ktstr.results.ledger import Ledger
from ktstr.stats.compare.gate import Gate, must_fail
from ktstr.stats.compare.policy import Policy, given_policy
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
    return given_policy(options.threshold, options.policy, invocation.project.stand)


def scenario_runs(ledger: Ledger, couples: Sequence[Couple]) -> list[ScenarioRuns]:
    """The runs of each scenario so far, in the order of ``couples``."""
    groups: dict[str, list[Couple]] = {}
    for couple in couples:
        groups.setdefault(couple.scenario, []).append(couple)
    return [_runs(ledger, name, group) for name, group in groups.items()]


def _runs(ledger: Ledger, name: str, couples: Sequence[Couple]) -> ScenarioRuns:
    differing = [couple for couple in couples if not couple.is_same]
    sides = (
        [_sidecar(ledger, cell) for cell in side] for side in zip(*((c.base, c.head) for c in differing), strict=True)
    )
    a, b = (tuple(run for run in side if run is not None) for side in sides) if differing else ((), ())
    test = couples[0].head.point.test
    return ScenarioRuns(test.name, name, a, b, gates(test), is_same=not differing)


def _sidecar(ledger: Ledger, cell: CellPlan) -> Sidecar | None:
    """What a cell measured; None when it did not run, or ended in an error."""
    outcome = ledger.outcomes.get(cell.name)
    return None if outcome is None else sidecar_of(outcome)


def judged_so_far(invocation: Invocation, options: Options, couples: Sequence[Couple], alpha: float) -> Judgement:
    """The judgement of these cells, as far as they ran."""
    return judge(scenario_runs(invocation.ledger, couples), judging(invocation, options, alpha))
