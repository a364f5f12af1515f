"""Comparisons as values: what pairs with what, what is left out, and what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.record.metrics import METRICS
from ktstr.stats.compare.engine import Comparison, Options, compare
from ktstr.stats.compare.filters import Filters
from ktstr.stats.compare.gate import Change
from ktstr.stats.compare.policy import uniform
from ktstr.stats.compare.sides import contrast
from tests.stats.compare.pools import Row, pool, row

A, B = Filters(kernel=("6.1",)), Filters(kernel=("6.2",))


def a(metrics: Mapping[str, float] | None = None, /, **columns: Any) -> Row:
    return row(metrics, kernel_version="6.1", **columns)


def b(metrics: Mapping[str, float] | None = None, /, **columns: Any) -> Row:
    return row(metrics, kernel_version="6.2", **columns)


def compared(*rows: Row, **options: Any) -> Comparison:
    return compare(pool(*rows), A, B, Options(**options))


def changes(found: Comparison) -> list[tuple[str, str]]:
    return [(one.metric, one.change.name) for one in found.findings]


# -- sides


def test_dimensions_that_differ_slice_and_all_others_pair() -> None:
    found = contrast(Filters(kernel=("6.1",)), Filters(kernel=("6.2",), cpu_budget=("4",)))
    assert found.slicing_names == ("kernel", "cpu_budget")
    assert found.pairing_names == (
        "scenario", "scheduler", "topology", "work_type", "project_commit", "kernel_commit", "run_source",
        "resolve_source",
    )  # fmt: skip


def test_order_and_repeats_of_values_are_no_difference() -> None:
    with pytest.raises(InputError, match="identical runs") as caught:
        contrast(Filters(kernel=("a", "b", "a")), Filters(kernel=("b", "a")))
    assert "a_kernel=6.14 b_kernel=6.15" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        (Filters(kernel=("6.1",)), Filters(), ("6.1", "B")),
        (Filters(kernel=("6.2", "6.1", "6.2")), Filters(kernel=("c", "b", "a")), ("6.1|6.2", "a|b|c")),
        (Filters(kernel=("4", "3", "2", "1")), Filters(kernel=("1",)), ("A", "1")),
        (
            Filters(scheduler=("x",), kernel=("6.1",)),
            Filters(scheduler=("y", "z")),
            ("6.1:x", "B:y|z"),
        ),
    ],
)
def test_sides_are_called_by_their_values(one: Filters, other: Filters, labels: tuple[str, str]) -> None:
    found = contrast(one, other)
    assert (found.a, found.b) == labels


def test_more_than_one_slicing_dimension_is_a_warning() -> None:
    assert contrast(A, B).warning is None
    warning = contrast(Filters(kernel=("1",), scheduler=("x",)), Filters()).warning
    assert warning is not None
    assert warning.startswith("warning: slicing on 2 dimensions [kernel, scheduler]")
    assert "single A/B contrast" in warning


def test_an_empty_pool_is_an_error_that_names_the_place() -> None:
    with pytest.raises(InputError, match="no sidecar data under target/ktstr") as caught:
        compare(pool(), A, B, Options(place="target/ktstr"))
    assert caught.value.exit_code == 2


def test_identical_sides_come_before_an_empty_pool() -> None:
    with pytest.raises(InputError, match="identical runs"):
        compare(pool(), A, A)


def test_a_side_without_runs_is_named_a_first() -> None:
    rows = (row(kernel_version="6.3"), row(kernel_version="6.1"))
    with pytest.raises(InputError, match=r"A side filter matched 0 sidecars in pool \(1 pooled\)") as caught:
        compare(pool(rows[0]), A, B)
    assert "doit stats_list" in str(caught.value)
    with pytest.raises(InputError, match=r"B side filter matched 0 sidecars in pool \(2 pooled\)"):
        compare(pool(*rows), A, B)


def hints(filters: Filters, *rows: Row) -> str:
    with pytest.raises(InputError, match="A side filter matched 0") as caught:
        compare(pool(*rows), filters, Filters())
    return str(caught.value)


def test_a_commit_whose_tree_was_dirty_is_hinted_at() -> None:
    text = hints(Filters(project_commit=("abc1234",)), row(project_commit="abc1234-dirty"))
    assert "hint: did you mean project_commit=abc1234-dirty?" in text
    assert "hint: doit stats_list_values" in text
    text = hints(Filters(kernel_commit=("abc1234", "fff1234")), row(kernel_commit="abc1234-dirty"))
    assert "kernel_commit=abc1234-dirty?" in text and "fff1234-dirty" not in text


def test_a_commit_in_more_digits_is_hinted_at() -> None:
    text = hints(Filters(project_commit=("abc1234" + "0" * 33,)), row(project_commit="abc1234"))
    assert "did you mean project_commit=abc1234?" in text


def test_a_run_source_that_nobody_has_is_answered_with_those_there_are() -> None:
    text = hints(Filters(run_source=("Local",)), row(run_source="local"), row(run_source="ci"))
    assert "run_source=Local is not in the pool, which has: ci, local (case matters)" in text
    assert "stats_list_values" not in text
    assert "(none: no run has one)" in hints(Filters(run_source=("x",)), row())
    assert "cpu_budget=3 is not in the pool, which has: 1, 12" in hints(
        Filters(cpu_budget=("3",)), row(cpu_budget=1), row(cpu_budget=12)
    )
    assert "resolve_source=y" in hints(Filters(resolve_source=("y",)), row(resolve_source="path"))


# -- pairs


def test_ten_to_thirty_and_half_the_iterations_are_two_regressions() -> None:
    before, after = {"worst_spread": 10, "total_iterations": 1000}, {"worst_spread": 30, "total_iterations": 500}
    found = compared(a(before), b(after), policy=uniform(10))
    assert changes(found) == [("worst_spread", "REGRESSION"), ("total_iterations", "REGRESSION")]
    assert (found.regressions, found.improvements, found.unchanged) == (2, 0, 0)
    found = compared(a(after), b(before), policy=uniform(10))
    assert (found.regressions, found.improvements) == (0, 2)


def test_a_finding_says_what_and_where() -> None:
    found = compared(a({"worst_spread": 10}), b({"worst_spread": 30}))
    (one,) = found.findings
    assert one.key.components == ("t", "eevdf", "1n1l1c1t", "SpinWait", "", "", "", "", "1")
    assert one.key.label == "t/eevdf/1n1l1c1t/SpinWait/////1"
    assert (one.scenario, one.topology, one.work_type) == ("t", "1n1l1c1t", "SpinWait")
    assert (one.a, one.b, one.delta, one.relative, one.change) == (10, 30, 20, 2, Change.REGRESSION)


@pytest.mark.parametrize(
    "column",
    [
        *("test_name", "scheduler", "topology", "work_type", "project_commit", "kernel_commit", "run_source"),
        *("resolve_source", "throughput_denomination", "accel", "host_class"),
    ],
)
def test_runs_that_differ_in_any_other_dimension_are_no_pair(column: str) -> None:
    worse = {"worst_spread": 30.0}
    left, right = ("kvm", "tcg") if column == "accel" else ("x1", "x2")
    found = compared(a({"worst_spread": 10}, **{column: left}), b(worse, **{column: right}))
    assert (len(found.findings), len(found.new_in_b), len(found.removed_from_a)) == (0, 1, 1)
    found = compared(a({"worst_spread": 10}, **{column: left}), b(worse, **{column: left}))
    assert (len(found.findings), len(found.new_in_b), len(found.removed_from_a)) == (1, 0, 0)


def test_a_budget_pairs_and_a_skip_has_none() -> None:
    found = compared(a(cpu_budget=2), b(cpu_budget=4), b(cpu_budget=None, verdict="skip"))
    assert [key.components[-1] for key in found.new_in_b] == ["4", ""]


def test_a_dirty_tree_pairs_with_the_commit_it_is_of() -> None:
    found = compared(
        a({"worst_spread": 10}, project_commit="abc1234-dirty", kernel_commit="k"),
        b({"worst_spread": 30}, project_commit="abc1234", kernel_commit="k-dirty"),
    )
    assert found.regressions == 1
    assert found.findings[0].key.components[4:6] == ("abc1234", "k")


def test_hosts_are_never_compared_in_real_time_and_are_all_one_under_counted_instructions() -> None:
    before, after = {"worst_spread": 10.0}, {"worst_spread": 30.0}
    found = compared(a(before, accel="tcg", host_class="x"), b(after, accel="tcg", host_class="y"))
    assert found.findings == ()
    (near,) = found.mismatches
    assert (near.pin, near.keys, near.a, near.b) == ("host", 1, ("x",), ("y",))
    found = compared(a(before, accel="icount", host_class="x"), b(after, accel="icount", host_class="y"))
    assert (found.regressions, found.mismatches) == (1, ())


def test_clones_of_either_kind_pair_and_never_with_a_cold_boot() -> None:
    before, after = {"worst_spread": 10.0}, {"worst_spread": 30.0}
    assert compared(a(before, origin_kind="booted"), b(after, origin_kind="attached")).regressions == 1
    found = compared(a(before, origin_kind="cold"), b(after, origin_kind="attached"))
    assert [(near.pin, near.a, near.b) for near in found.mismatches] == [("snapshot", ("cold",), ("clone",))]


def test_near_misses_are_counted_by_what_keeps_them_apart() -> None:
    found = compared(
        a(accel="kvm", throughput_denomination="wall"), b(accel="icount", throughput_denomination="cpu_sec"),
        a(test_name="u", accel="kvm"), b(test_name="u", accel="icount"),
        a(test_name="gone"), b(test_name="new"),
    )  # fmt: skip
    assert [(near.pin, near.keys) for near in found.mismatches] == [("denomination", 1), ("accel", 2)]
    assert (len(found.new_in_b), len(found.removed_from_a)) == (3, 3)


def test_presets_of_one_topology_are_kept_apart_and_a_renamed_one_is_not() -> None:
    before, after = {"worst_spread": 10.0}, {"worst_spread": 30.0}
    assert compared(a(before, preset="old"), b(after, preset="new")).regressions == 1
    rows = (a(before, preset="p"), a(after, preset="q"), b(after, preset="p"), b(after, preset="q"))
    found = compared(*rows, average=False)
    assert [(one.key.pins["preset"], one.key.label[-4:]) for one in found.findings] == [("p", " [p]")]


def test_seeds_are_samples_of_one_cell() -> None:
    rows = [a({"worst_spread": value}, seed=seed) for seed, value in enumerate((10, 20, 30))]
    found = compared(*rows, b({"worst_spread": 40}, seed=9))
    (one,) = found.findings
    assert (one.a, one.b) == (20, 40)
    assert (found.a_runs, found.b_runs) == (3, 1)


def test_sums_over_unlike_numbers_of_runs_are_compared_by_run() -> None:
    metric = "total_schbench_loops"
    same = [a({metric: 100}) for _ in range(3)] + [b({metric: 100}) for _ in range(2)]
    found = compared(*same)
    assert (found.findings, found.unchanged) == ((), 1)
    worse = compared(a({metric: 100}), a({metric: 100}), b({metric: 50}), b({metric: 50}))
    assert [(one.a, one.b) for one in worse.findings] == [(200, 100)]


def test_several_runs_of_a_key_are_an_error_without_averaging() -> None:
    rows = (a({"worst_spread": 10}, seed=1), a({"worst_spread": 90}, seed=2), b())
    with pytest.raises(InputError, match=r"1 pairing key\(s\) of side A have several runs; t/eevdf/.* has 2") as caught:
        compared(*rows, average=False)
    assert "a_" in str(caught.value)


@pytest.mark.parametrize("columns", [{"verdict": "fail"}, {"verdict": "skip"}, {"verdict": "inconclusive"},
                                     {"expected_failure": True}])  # fmt: skip
@pytest.mark.parametrize(("side", "average"), [("a", True), ("b", True), ("b", False)])
def test_a_pair_that_did_not_pass_is_excluded_and_counted(columns: dict[str, Any], side: str, average: bool) -> None:
    left, right = ({}, columns) if side == "b" else (columns, {})
    found = compared(a({"worst_spread": 10}, **left), b({"worst_spread": 90}, **right), average=average)
    assert (found.findings, found.unchanged, found.excluded_pairs) == ((), 0, 1)


def test_an_overcommitted_run_is_compared() -> None:
    found = compared(a({"worst_spread": 10}, vcpus=4), b({"worst_spread": 90}, vcpus=4))
    assert found.regressions == 1


def test_what_one_side_alone_measured_is_a_difference_of_coverage() -> None:
    found = compared(a({"worst_spread": 0, "worst_gap_ms": 7}), b({"worst_spread": 0, "total_sched_count": 5}))
    assert [(one.metric, one.side, one.value) for one in found.coverage] == [
        ("worst_gap_ms", "a", 7),
        ("total_sched_count", "b", 5),
    ]
    assert (found.findings, found.unchanged) == ((), 0)


def test_components_and_what_is_of_phases_are_no_findings() -> None:
    hidden = [name for name, metric in METRICS.items() if not metric.rendered or not metric.gates_aggregate(False)]
    assert len(hidden) > 60
    for average in (True, False):
        found = compared(a(dict.fromkeys(hidden, 1.0)), b(dict.fromkeys(hidden, 1e6)), average=average)
        assert {one.metric for one in found.findings} <= {"iterations_per_cpu_sec"} | {
            name for name in METRICS if "per" in name or "fraction" in name or "rate" in name
        }
        assert not {one.metric for one in found.findings} & set(hidden)


def test_metrics_without_limits_are_named_and_not_judged() -> None:
    found = compared(a({"fio.iops": 1, "only_a": 1}), b({"fio.iops": 100}))
    assert (found.findings, found.coverage, found.unregistered) == ((), (), ("fio.iops",))


def test_the_substring_picks_each_sides_own_groups() -> None:
    rows = (
        a(test_name="x1"), b(test_name="x1"), a(test_name="y1"), b(test_name="y1"),
        a(test_name="xa"), a(test_name="ya"), b(test_name="xb"), b(test_name="yb"),
    )  # fmt: skip
    found = compared(*rows, substring="x")
    assert [key.components[0] for key in found.new_in_b] == ["xb"]
    assert [key.components[0] for key in found.removed_from_a] == ["xa"]
    assert len(found.groups) == 3
    assert (len(compared(*rows).groups), compared(*rows).a_runs) == (6, 4)


def test_a_group_of_a_is_not_removed_when_b_has_it_under_another_name() -> None:
    pooled = pool(row(scheduler="mine"), row(scheduler="theirs"))
    found = compare(pooled, Filters(scheduler=("mine",)), Filters(scheduler=("theirs",)), Options("mine"))
    assert (found.removed_from_a, found.new_in_b, found.groups) == ((), (), ())
    found = compare(pooled, Filters(scheduler=("mine",)), Filters(scheduler=("theirs",)), Options("theirs"))
    assert [group.excluded for group in found.groups] == [False]


def test_a_substring_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(InputError, match="filter=zzz: matched none of 1 and 1 groups"):
        compared(a(), b(), substring="zzz")


def test_runs_may_be_on_both_sides() -> None:
    found = compare(pool(a({"worst_spread": 10}), b({"worst_spread": 50})), A, Filters())
    assert [(one.a, one.b) for one in found.findings] == [(10, 30)]


def test_huge_numbers_do_not_become_infinities_or_findings_of_nothing() -> None:
    found = compared(a({"worst_spread": -1.7e308}), b({"worst_spread": 1.7e308}))
    assert found.regressions == 1
    found = compared(a({"worst_spread": 1.7e308}), a({"worst_spread": 1.7e308}), b({"worst_spread": 1}))
    assert [(one.metric, one.side) for one in found.coverage] == [("worst_spread", "b")]


# -- warnings


def test_dirty_builds_are_named_once_sorted_kernels_first() -> None:
    found = compared(
        a(kernel_commit="kb-dirty", project_commit="pa-dirty"), a(kernel_commit="ka-dirty", test_name="u"),
        b(kernel_commit="kb-dirty", project_commit="clean"),
    )  # fmt: skip
    assert found.warnings[0].splitlines()[:4] == [
        "warning: comparison includes dirty builds:",
        "  - kernel source: ka-dirty (working tree may have changed since this run)",
        "  - kernel source: kb-dirty (working tree may have changed since this run)",
        "  - project: pa-dirty (working tree may have changed since this run)",
    ]
    assert len(found.warnings[0].splitlines()) == 6


def test_clean_builds_are_no_warning() -> None:
    assert compared(a(project_commit="abc1234"), b(kernel_commit="x")).warnings == ()


def test_fewer_host_cpus_than_vcpus_are_a_warning_in_real_time() -> None:
    (warning,) = compared(a(cpu_budget=2, vcpus=4), b(cpu_budget=4, vcpus=4)).warnings
    assert "worst_iterations_per_cpu_sec" in warning
    assert warning.splitlines()[1:] == ["  6.1: 2/4", "  6.2: 4/4"]
    assert compared(a(cpu_budget=1, vcpus=4, accel="icount"), b(accel="icount")).warnings == ()
    assert compared(a(cpu_budget=4, vcpus=4), b(cpu_budget=None, vcpus=None)).warnings == ()


def test_unlike_budgets_in_one_pair_are_a_warning_where_budgets_do_not_pair() -> None:
    rows = (row(cpu_budget=2, vcpus=2), row(cpu_budget=4, vcpus=4))
    found = compare(pool(*rows), Filters(cpu_budget=("2",)), Filters(cpu_budget=("4",)))
    (warning,) = found.warnings
    assert "different numbers of host CPUs" in warning
    assert warning.splitlines()[1:] == ["  2: 2/2", "  4: 4/4"]


# -- all of it, against a slow and obvious one

RUN = st.fixed_dictionaries(
    {
        "test_name": st.sampled_from(["t", "u"]),
        "kernel_version": st.sampled_from(["6.1", "6.2", "6.1.7", None]),
        "project_commit": st.sampled_from(["c", "c-dirty", "d", None]),
        "accel": st.sampled_from(["kvm", "icount"]),
        "verdict": st.sampled_from(["pass", "pass", "pass", "fail", "skip"]),
        "metrics": st.dictionaries(st.sampled_from(["worst_spread", "worst_gap_ms"]), st.integers(0, 1200), max_size=2),
    }
)


def slow_compare(runs: list[dict[str, Any]]) -> dict[str, int]:
    """Counters of a comparison of 6.1 (a series) and 6.2, by loops."""
    sides: list[dict[tuple[Any, ...], list[dict[str, Any]]]] = [{}, {}]
    for run in runs:
        version = run["kernel_version"]
        key: tuple[Any, ...] = (run["test_name"], (run["project_commit"] or "").removesuffix("-dirty"), run["accel"])
        for at, series in enumerate(("6.1", "6.2")):
            if version is not None and (version == series or version.startswith(series + ".")):
                sides[at].setdefault(key, []).append(run)
    counted = dict.fromkeys(("regressions", "improvements", "unchanged", "excluded_pairs", "coverage"), 0)
    counted["new"] = len(sides[1].keys() - sides[0].keys())
    counted["removed"] = len(sides[0].keys() - sides[1].keys())
    for key in sides[0].keys() & sides[1].keys():
        groups = [side[key] for side in sides]
        # A skip beside passes leaves them be; a failure does not.
        worst = ["fail" if any(r["verdict"] == "fail" for r in g) else
                 "pass" if any(r["verdict"] == "pass" for r in g) else "skip" for g in groups]  # fmt: skip
        if worst != ["pass", "pass"]:
            counted["excluded_pairs"] += 1
            continue
        for name, absolute, relative in (("worst_spread", 5, 0.25), ("worst_gap_ms", 500, 0.5)):
            numbers = [
                [r["metrics"][name] for r in g if r["verdict"] == "pass" and name in r["metrics"]] for g in groups
            ]
            if not all(numbers):
                counted["coverage"] += any(numbers)
                continue
            left, right = (max(n) if name == "worst_gap_ms" else sum(n) / len(n) for n in numbers)
            if left == right == 0:
                continue
            if abs(right - left) < absolute or (left and abs((right - left) / left) < relative):
                counted["unchanged"] += 1
            else:
                counted["regressions" if right > left else "improvements"] += 1
    return counted


@settings(max_examples=40)
@given(st.lists(RUN, min_size=2, max_size=14))
def test_comparisons_are_the_specifications(runs: list[dict[str, Any]]) -> None:
    rows = [Row(run["metrics"], {name: run[name] for name in run if name != "metrics"}) for run in runs]
    versions = [run["kernel_version"] or "" for run in runs]
    if "6.2" not in versions or not any(version.startswith("6.1") for version in versions):
        return
    found = compared(*rows)
    assert {
        "regressions": found.regressions,
        "improvements": found.improvements,
        "unchanged": found.unchanged,
        "excluded_pairs": found.excluded_pairs,
        "coverage": len(found.coverage),
        "new": len(found.new_in_b),
        "removed": len(found.removed_from_a),
    } == slow_compare(runs)
