from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import get_args

import pytest

from ktstr.record.metric import Distribution, Gauge, Metric, PlainKind, Polarity, Rate, WorstLowest
from ktstr.record.metric_table import ROWS
from ktstr.record.metrics import METRICS, higher_is_worse, polarity_of
from tests.results.cells import sidecar


def kind_name(metric: Metric) -> str:
    return metric.kind if isinstance(metric.kind, str) else type(metric.kind).__name__


def test_the_registry_has_each_of_its_172_metrics_once() -> None:
    assert len(ROWS) == len(METRICS) == 172
    assert list(METRICS) == [row.name for row in ROWS]
    assert (next(iter(METRICS)), list(METRICS)[-1]) == ("worst_spread", "total_cpu_time_ns")


def test_there_are_as_many_metrics_of_each_kind_and_polarity_as_in_the_reference() -> None:
    assert Counter(map(kind_name, ROWS)) == {
        "PerPhase": 48, "Counter": 42, "PerRunDistribution": 23, "Rate": 22, "Peak": 12, "Gauge": 9, "Distribution": 9,
        "WorstLowest": 3, "PerPhaseDeltaSum": 2, "WakeLatencyTailRatio": 1, "WorstCrossNodeRatio": 1,
    }  # fmt: skip
    assert Counter(row.polarity for row in ROWS) == {"LowerBetter": 92, "Informational": 41, "HigherBetter": 39}


@pytest.mark.parametrize(
    ("name", "polarity", "kind", "default_abs", "default_rel", "unit"),
    [
        ("worst_spread", "LowerBetter", Gauge("Last"), 5, 0.25, "%"),
        ("worst_gap_ms", "LowerBetter", "Peak", 500, 0.5, "ms"),
        ("total_migrations", "LowerBetter", "Counter", 2, 0.3, ""),
        ("total_iterations", "HigherBetter", "Counter", 2, 0.1, ""),
        ("hardirq_rate", "Informational", Rate("total_hardirqs", "total_phase_wall_sec"), 1, 0.3, "irq/s"),
        ("worst_p99_wake_latency_us", "LowerBetter", Distribution("WakeLatencyNs", "P99"), 50, 0.25, "\N{MICRO SIGN}s"),
        ("worst_run_delay_us", "LowerBetter", Distribution("RunDelayNs", "Worst"), 100, 0.5, "\N{MICRO SIGN}s"),
        (
            "worst_iterations_per_cpu_sec", "HigherBetter", WorstLowest("Iterations", "CpuTimeNs"), 10, 0.1,
            "iter/cpu-s",
        ),
        ("request_max_latency_us_whole", "LowerBetter", "PerRunDistribution", 50, 0.5, "\N{MICRO SIGN}s"),
        ("taobench_hit_ratio", "Informational", "PerPhase", 0.02, 0.05, ""),
        ("user_time_ns", "LowerBetter", "PerPhaseDeltaSum", 1000, 0.3, "ns"),
    ],
)  # fmt: skip
def test_rows_say_what_the_reference_says(
    name: str, polarity: Polarity, kind: object, default_abs: float, default_rel: float, unit: str
) -> None:
    row = METRICS[name]
    assert (row.polarity, row.kind, row.display_unit) == (polarity, kind, unit)
    assert (row.default_abs, row.default_rel) == (default_abs, default_rel)


def test_every_row_has_gates_a_floor_and_a_derivation_and_none_has_an_undecided_polarity() -> None:
    for row in ROWS:
        assert row.default_abs > 0 and 0 < row.default_rel < 1 and 0 < row.floor_rel <= row.default_rel, row.name
        assert row.derivation, row.name
        assert row.polarity in ("LowerBetter", "HigherBetter", "Informational"), row.name


def test_a_plain_kind_is_one_of_those_that_folds_know() -> None:
    assert {row.kind for row in ROWS if isinstance(row.kind, str)} <= set(get_args(PlainKind))


def test_counters_are_totals() -> None:
    others = [row.name for row in ROWS if row.kind == "Counter" and not row.name.startswith("total_")]
    assert others == ["stuck_count"]


def test_rates_are_called_what_they_are_and_made_of_registered_counters() -> None:
    endings = ("_rate", "_per_sec", "_per_cpu_sec", "_fraction", "_per_sched")
    rates = {row.name: row.kind for row in ROWS if isinstance(row.kind, Rate)}
    for name, kind in rates.items():
        assert name.endswith(endings), name
        assert METRICS[kind.numerator].kind == METRICS[kind.denominator].kind == "Counter", name
        assert METRICS[name].derivation == f"{kind.numerator} / {kind.denominator}"
    assert len(rates) == 22


def test_peaks_say_so_in_their_names() -> None:
    assert all(row.name.startswith(("max_", "worst_")) for row in ROWS if row.kind == "Peak")


def test_units_agree_with_names() -> None:
    for row in ROWS:
        name = row.name.removesuffix("_whole")
        for suffix, unit in {"_us": "\N{MICRO SIGN}s", "_ms": "ms", "_ns": "ns", "_pct": "%"}.items():
            assert not name.endswith(suffix) or row.display_unit == unit, row.name


def test_sixteen_components_are_never_findings() -> None:
    assert {row.name for row in ROWS if not row.rendered} == {
        "total_phase_iterations", "total_phase_duration_sec", "total_iterations_pooled", "total_cpu_time_sec",
        "total_taobench_ops", "total_taobench_fast_ops", "total_taobench_slow_ops", "total_taobench_wall_sec",
        "total_taobench_cpu_sec", "total_taobench_get_cmds", "total_taobench_get_hits",
        "total_schbench_msg_run_delay_ns", "total_schbench_worker_run_delay_ns", "total_schbench_msg_pcount",
        "total_schbench_worker_pcount", "total_schbench_worker_cpu_sec",
    }  # fmt: skip


def test_what_can_decide_about_whole_runs_depends_on_the_kind_and_on_how_they_are_compared() -> None:
    for row in ROWS:
        expected = {"PerPhase": (False, False), "PerRunDistribution": (False, True)}.get(kind_name(row), (True, True))
        assert (row.gates_aggregate(noise=False), row.gates_aggregate(noise=True)) == expected, row.name


@pytest.mark.parametrize(
    ("name", "polarity"),
    [
        ("total_iterations", "HigherBetter"),  # registered
        ("total_ttwu_local", "Informational"),
        ("jobs.0.read.iops", "HigherBetter"),
        ("jobs.0.read.latency", "LowerBetter"),
        ("read_iops_latency", "LowerBetter"),  # the first list wins
        ("net_throughput", "HigherBetter"),
        ("bandwidth", "HigherBetter"),
        ("warm_iterations", "HigherBetter"),
        ("ops_per_sec", "HigherBetter"),
        ("my_page_locality", "HigherBetter"),
        ("final_score", "HigherBetter"),
        ("goodput", "HigherBetter"),
        ("score", "Unknown"),
        ("wake_delay", "LowerBetter"),
        ("longest_gap", "LowerBetter"),
        ("stalls", "LowerBetter"),
        ("stuck_tasks", "LowerBetter"),
        ("my_cv", "LowerBetter"),
        ("errors", "LowerBetter"),
        ("failed", "LowerBetter"),
        ("dropped", "LowerBetter"),
        ("cpu_spread", "LowerBetter"),
        ("p99_us", "LowerBetter"),
        ("p99_ms", "LowerBetter"),
        ("p99_ns", "LowerBetter"),
        ("my_migration_ratio", "LowerBetter"),
        ("imbalance", "LowerBetter"),
        ("queue_depth", "LowerBetter"),
        ("dsq_len", "LowerBetter"),
        ("throughput_us", "LowerBetter"),
        ("bogo", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_a_metric_of_no_row_has_the_polarity_that_its_name_suggests(name: str, polarity: Polarity) -> None:
    assert polarity_of(name) == polarity


def test_more_is_worse_unless_it_is_better_or_says_nothing() -> None:
    expected = {"LowerBetter": True, "HigherBetter": False, "Unknown": True, "Informational": None}
    assert {polarity: higher_is_worse(polarity) for polarity in get_args(Polarity)} == expected


def test_every_metric_of_a_whole_run_is_registered() -> None:
    stats = sidecar().stats
    (phase,) = stats.phases
    assert len(stats.ext_metrics) == 14 and set(phase.metrics) < set(stats.ext_metrics) < set(METRICS)


def test_the_registry_is_light_to_import() -> None:
    heavy = "{'msgspec', 'numpy', 'pandas', 'yaml', 'jsonschema'}"
    code = f"import sys, ktstr.record.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
