from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from math import comb

import pytest

from ktstr.stats.perf.goals import Goal, goals, half_width
from tests.stats.perf.findings import gate
from tests.stats.perf.runs import run

RATES = (100.0, 104.0, 101.0, 103.0, 102.0, 110.0)


def test_a_goal_is_the_median_over_seeds_with_the_noise_of_a_median() -> None:
    runs = [run(seed, iteration_rate=rate) for seed, rate in enumerate(RATES)]
    assert goals(runs, [gate()]) == [
        Goal("pipe/iteration_rate", "tiny/7.2/mine/icount", None, "pass", 102.5, 5.0, 6, "iter/s", "higher", 102.5)
    ]


def test_where_lower_is_better_the_reward_is_negative() -> None:
    (goal,) = goals([run(0, worst_run_delay_us=40.0)], [gate("worst_run_delay_us")])
    assert (goal.value, goal.better, goal.reward, goal.noise, goal.n) == (40.0, "lower", -40.0, None, 1)


def test_a_declared_direction_wins() -> None:
    (goal,) = goals([run(0, iteration_rate=5.0)], [gate(direction="LowerBetter")])
    assert (goal.better, goal.reward) == ("lower", -5.0)


@pytest.mark.parametrize("verdict", ["fail", "error", "inconclusive", "not run", "skip"])
def test_a_cell_that_did_not_pass_costs_the_reward_and_its_own_number(verdict: str) -> None:
    runs = [run(0, iteration_rate=1.0), run(1, iteration_rate=3.0), run(2, verdict=verdict, iteration_rate=900.0)]
    (goal,) = goals(runs, [gate()])
    assert (goal.verdict, goal.value, goal.n, goal.reward) == (verdict, 2.0, 2, None)


def test_what_nobody_measured_is_null_and_says_so() -> None:
    (goal,) = goals([run(0, worst_run_delay_us=1.0)], [gate()])
    assert (goal.verdict, goal.value, goal.n, goal.reward) == ("unmeasured", None, 0, None)


def test_a_goal_of_a_phase_reads_that_phase() -> None:
    runs = [run(0, iteration_rate=7.0)]
    first, second = goals(runs, [gate(phase=1), gate(phase=2)])
    assert (first.phase, first.value) == (1, 7.0)
    assert (second.phase, second.value, second.verdict) == (2, None, "unmeasured")


def test_each_scenario_is_a_goal_of_its_own() -> None:
    runs = [
        run(0, iteration_rate=1.0),
        run(0, preset="big", iteration_rate=2.0),
        run(0, accel="tcg", iteration_rate=3.0),
    ]
    assert [(goal.scenario, goal.value) for goal in goals(runs, [gate()])] == [
        ("tiny/7.2/mine/icount", 1.0), ("big/7.2/mine/icount", 2.0), ("tiny/7.2/mine/tcg", 3.0),
    ]  # fmt: skip


def test_clones_and_boots_are_not_mixed() -> None:
    clones = [run(seed, iteration_rate=10.0) for seed in range(2)]
    runs = [run(9, origin="cold", iteration_rate=99.0), *clones]
    (goal,) = goals(runs, [gate()])
    assert (goal.value, goal.n) == (10.0, 2)


def test_in_real_time_hosts_of_two_classes_are_not_mixed() -> None:
    common = [run(seed, accel="kvm", iteration_rate=10.0) for seed in range(2)]
    (goal,) = goals([run(9, accel="kvm", cpu="y", iteration_rate=99.0), *common], [gate()])
    assert (goal.value, goal.n) == (10.0, 2)


def test_the_interval_of_a_median_leaves_at_most_a_fortieth_on_each_side() -> None:
    """Worked out anew from the binomial distribution: the published k are 1 for 6 to 8, 2 for 9 to 11, 6 for 20."""
    for n, k in ((5, 0), (6, 1), (8, 1), (9, 2), (11, 2), (20, 6)):
        values = [float(i) for i in range(1, n + 1)]
        if k == 0:
            assert half_width(values) is None
            continue
        assert sum(comb(n, i) for i in range(k)) / 2**n <= 0.025 < sum(comb(n, i) for i in range(k + 1)) / 2**n
        assert half_width(values) == ((n + 1 - k) - k) / 2
    assert half_width([]) is None


def test_numbers_of_a_failed_expectation_do_not_count() -> None:
    whole = run(0, iteration_rate=1.0)
    assert whole.sidecar is not None
    from msgspec.structs import replace as changed

    unexpected = replace(whole, sidecar=changed(whole.sidecar, expected_failure=True))
    (goal,) = goals([unexpected], [gate()])
    assert (goal.value, goal.n) == (None, 0)
    assert asdict(goal)["goal"] == "pipe/iteration_rate"


def test_goals_need_no_statistics_package() -> None:
    code = "import sys, ktstr.cells.goals; print(sorted({'scipy', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
