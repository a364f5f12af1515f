"""What a test declares for comparisons: ``perf_delta:`` and ``compare:``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ktstr.config.load import parse
from ktstr.config.model import PerfGate, TestDecl
from ktstr.errors import InputError

HEAD = "kernels: {k: deb:forky/cloud-amd64}\nschedulers: {mine: {path: a}}\ntests:\n  t:\n    cgroups: [{name: a}]\n"
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/ktstr.schema.json").read_text())


def declared(line: str) -> TestDecl:
    return parse((HEAD + f"    {line}\n").encode(), Path("/p/ktstr.yaml")).tests["t"]


def errors(line: str) -> list[str]:
    with pytest.raises(InputError) as err:
        declared(line)
    return str(err.value).splitlines()


def test_a_limit_is_a_metric_or_a_metric_with_what_is_asked_of_it() -> None:
    line = (
        "perf_delta: [iteration_rate, {metric: total_migrations, direction: higher, max_regression_pct: 12.5}, "
        "{metric: total_migrations, min_abs: 3, phase: 1}, {metric: worst_spread, phase: 0}]"
    )
    assert declared(line).perf_delta == (
        PerfGate("iteration_rate"),
        PerfGate("total_migrations", "higher", 12.5),
        PerfGate("total_migrations", min_abs=3, phase=1),
        PerfGate("worst_spread", phase=0),
    )


def test_without_it_a_test_has_no_limits_and_compares_nothing() -> None:
    test = declared("duration: 1s")
    assert (test.perf_delta, test.compare) == ((), ())


REGISTRY = "a metric of the registry (doit stats_list_metrics)"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "perf_delta: [total_iteration]",
            f"ktstr.yaml:6:18 tests.t.perf_delta[0]: found 'total_iteration', expected {REGISTRY}, "
            "nearest match 'total_iterations'",
        ),
        (
            "perf_delta: [{metric: worst_sprad}]",
            f"ktstr.yaml:6:27 tests.t.perf_delta[0].metric: found 'worst_sprad', expected {REGISTRY}, "
            "nearest match 'worst_spread'",
        ),
        (
            "perf_delta: [{metric: worst_spread, direction: target}]",
            "ktstr.yaml:6:52 tests.t.perf_delta[0].direction: found 'target', expected one of higher, lower",
        ),
        (
            "perf_delta: [{metric: worst_spread, max_regression_pct: -1}]",
            "ktstr.yaml:6:61 tests.t.perf_delta[0].max_regression_pct: found -1, expected a number of at least 0",
        ),
        (
            "perf_delta: [{metric: worst_spread, min_abs: .nan}]",
            "ktstr.yaml:6:50 tests.t.perf_delta[0].min_abs: found .nan, expected a number of at least 0",
        ),
        (
            "perf_delta: [{metric: worst_spread, phase: 65536}]",
            "ktstr.yaml:6:48 tests.t.perf_delta[0].phase: found 65536, expected a whole number from 0 to 65535",
        ),
        (
            "perf_delta: [{metric: worst_spread, phase: BASELINE}]",
            "ktstr.yaml:6:48 tests.t.perf_delta[0].phase: found 'BASELINE', expected a whole number from 0 to 65535",
        ),
        (
            "perf_delta: [{direction: lower}]",
            "ktstr.yaml:6:18 tests.t.perf_delta[0].metric: found nothing, expected a metric of the registry; "
            "doit stats_list_metrics lists them",
        ),
        (
            "perf_delta: [worst_spread, {metric: worst_spread}]",
            "ktstr.yaml:6:41 tests.t.perf_delta[1]: found 'worst_spread', expected each metric once in a phase, and "
            "once of the whole run",
        ),
        (
            "perf_delta: [total_cpu_time_sec]",
            "ktstr.yaml:6:18 tests.t.perf_delta[0]: found 'total_cpu_time_sec', expected a metric that is judged: this "
            "one is a component that others are made of",
        ),
        (
            "perf_delta: [p99_wake_latency_us]",
            "ktstr.yaml:6:18 tests.t.perf_delta[0]: found 'p99_wake_latency_us', expected a phase beside it: this "
            "metric says nothing of a whole run",
        ),
        (
            "perf_delta: [total_pcount]",
            "ktstr.yaml:6:18 tests.t.perf_delta[0]: found 'total_pcount', expected a direction (higher or lower) "
            "beside it: the registry says of neither that it is better",
        ),
        (
            "perf_delta: []",
            "ktstr.yaml:6:17 tests.t.perf_delta: found an empty list, expected a list of metrics, such as "
            "[iteration_rate]",
        ),
        (
            "compare: [mine]",
            "ktstr.yaml:6:14 tests.t.compare: found a list of 1, expected two schedulers, such as [mine, eevdf]",
        ),
        (
            "compare: mine",
            "ktstr.yaml:6:14 tests.t.compare: found 'mine', expected two schedulers, such as [mine, eevdf]",
        ),
        (
            "compare: [mine, evdf]",
            "ktstr.yaml:6:21 tests.t.compare[1]: found 'evdf', expected one of the schedulers (mine, eevdf), nearest "
            "match 'eevdf'",
        ),
        (
            "compare: [mine, mine]",
            "ktstr.yaml:6:21 tests.t.compare[1]: found 'mine', expected another scheduler than the first",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(line: str, expected: str) -> None:
    assert errors(line) == [expected]


def test_a_metric_that_needs_a_phase_or_a_direction_is_taken_with_it() -> None:
    test = declared("perf_delta: [{metric: p99_wake_latency_us, phase: 1}, {metric: total_pcount, direction: lower}]")
    assert [gate.metric for gate in test.perf_delta] == ["p99_wake_latency_us", "total_pcount"]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"perf_delta": ["iteration_rate", {"metric": "worst_gap_ms", "phase": 1}]}, True),
        ({"perf_delta": ["iteration_rat"]}, False),
        ({"perf_delta": [{"metric": "worst_gap_ms", "max_regression_pct": -1}]}, False),
        ({"perf_delta": []}, False),
        ({"compare": ["a", "b"]}, True),
        ({"compare": ["a", "a"]}, False),
        ({"compare": ["a"]}, False),
    ],
)
def test_editors_are_told_the_same(value: dict[str, object], good: bool) -> None:
    document = {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}], **value}}}
    assert Draft202012Validator(SCHEMA).is_valid(document) is good
