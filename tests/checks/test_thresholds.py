from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ktstr.checks.thresholds import TABLE, merge, to_json, to_text
from ktstr.config.fields import CHECKS
from ktstr.errors import InputError

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/show_thresholds.schema.json").read_text())
ORDER = [
    "not_starved", "isolation", "max_gap_ms",
    "max_spread_pct", "max_throughput_cv", "min_work_rate",
    "max_p99_wake_latency_ns", "max_wake_latency_cv", "max_p99_request_latency_ns", "min_iteration_rate",
    "max_migration_ratio", "min_throughput", "min_utilisation_pct",
    "max_bandwidth_error_pct", "max_weight_error_pct", "max_throttled_pct",
    "max_imbalance_ratio", "max_local_dsq_depth",
    "fail_on_stall", "sustained_samples", "max_fallback_rate",
    "max_keep_last_rate", "max_wait_ms", "max_idle_wait_ms",
    "affinity", "one_queue", "vtime_forward",
    "min_cgroup_share", "max_dsq_growth", "max_callback_us",
    "no_kernel_warning", "min_page_locality", "max_cross_node_migration_ratio", "max_slow_tier_ratio",
]  # fmt: skip


def test_the_table_has_the_checks_in_order_and_agrees_with_the_declared_fields() -> None:
    assert list(TABLE) == ORDER
    assert list(CHECKS) == ORDER
    for name, check in TABLE.items():
        if check.default is not None:
            assert isinstance(check.default, bool) is (CHECKS[name].kind == "bool"), name


def test_the_last_layer_that_sets_a_value_wins() -> None:
    merged = merge({"max_gap_ms": 500, "isolation": True}, {"max_gap_ms": 300})
    assert merged.limit("max_gap_ms") == 300
    assert merged.settings["max_gap_ms"].source == "test"
    assert merged.on("isolation") and merged.settings["isolation"].source == "scheduler"
    assert merged.settings["max_imbalance_ratio"].source == "default"


def test_an_explicit_false_disables() -> None:
    assert merge({"isolation": True}, {"isolation": False}).on("isolation") is False
    assert merge({}, {"not_starved": False}).on("not_starved") is False


def test_built_in_gap_and_spread_hold_while_not_starved_is_on() -> None:
    on = merge({}, {})
    assert (on.limit("max_gap_ms"), on.limit("max_spread_pct")) == (3000, 35.0)
    off = merge({}, {"not_starved": False, "max_gap_ms": 7})
    assert (off.limit("max_gap_ms"), off.limit("max_spread_pct")) == (None, None)


def test_a_release_is_judged_by_stricter_limits_that_nobody_asked_for() -> None:
    release = merge({}, {}, release=True)
    assert (release.limit("max_gap_ms"), release.limit("max_spread_pct")) == (2000, 15.0)
    assert {name for name, setting in release.settings.items() if setting.source == "release"} == {
        "max_gap_ms", "max_spread_pct",
    }  # fmt: skip
    assert not release.is_asked_for("max_spread_pct")
    over = merge({"max_spread_pct": 20}, {"max_gap_ms": 9}, release=True)
    assert (over.limit("max_gap_ms"), over.limit("max_spread_pct")) == (9, 20)


def test_a_limit_in_words_has_its_unit_and_its_layer() -> None:
    limits = merge({"max_gap_ms": 500}, {"min_work_rate": 2.5}, release=True)
    assert limits.words("max_gap_ms") == "limit 500 ms (scheduler)"
    assert limits.words("max_spread_pct") == "limit 15 % (release)"
    assert limits.words("min_work_rate") == "limit 2.5 work units/CPU s (test)"
    assert limits.named("max_wait_ms") == "max_wait_ms, default"


def test_gates_of_samples_that_someone_set_are_known_where_there_are_no_samples() -> None:
    assert merge({}, {}).unmonitored() == ()
    set_ = {"max_imbalance_ratio": 3.0, "sustained_samples": 2, "fail_on_stall": False, "max_wait_ms": 5}
    assert merge({}, set_).unmonitored() == ("max_imbalance_ratio", "max_wait_ms")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_gap": 5}, "'max_gap': found an unknown name, nearest match 'max_gap_ms'"),
        ({"max_gap_ms": True}, "max_gap_ms: found True, expected a number"),
        ({"isolation": 1}, "isolation: found 1, expected true or false"),
    ],
)
def test_a_wrong_check_names_its_layer_and_what_was_expected(values: dict[str, int], said: str) -> None:
    with pytest.raises(InputError) as error:
        merge({}, values)
    assert said in str(error.value) and str(error.value).startswith("test's check")


def test_show_thresholds_has_a_row_per_check_padded_to_38_with_value_and_layer() -> None:
    lines = to_text("steady", "scx_ktstr", merge({"max_gap_ms": 500}, {"not_starved": True})).splitlines()
    assert lines[:4] == ["Test: steady", "Scheduler: scx_ktstr", "", "Resolved checks:"]
    rows = [line for line in lines[4:] if not line.startswith(" ")]  # a note may go on below its row
    assert [row.split()[0] for row in rows] == ORDER
    assert rows[0] == "not_starved".ljust(38) + "true".ljust(12) + "test"
    assert rows[1][38:].split() == ["none", "default"]
    assert rows[2][38:].split() == ["500", "ms", "scheduler"]
    assert rows[16][38:].split("default")[0].strip() == "4.0"
    assert max(map(len, lines)) <= 80


def test_show_thresholds_says_what_is_off_and_what_is_not_judged() -> None:
    text = to_text("t", "s", merge({}, {"not_starved": False, "min_page_locality": 0.5}))
    assert "off with not_starved" in text.splitlines()[6]
    assert " ".join(text.split()).count("max_bandwidth_error_pct 5.0 % default of cgroups with cpu.max") == 1
    assert " ".join(text.split()).count("fail_on_stall true default only of BPF schedulers") == 1


def test_json_carries_value_unit_layer_and_judge() -> None:
    found = json.loads(to_json("t", "s", merge({}, {"max_gap_ms": 9})))
    assert found["checks"]["max_gap_ms"] == {
        "value": 9, "unit": "ms", "source": "test", "judged_by": "workers", "meaning": CHECKS["max_gap_ms"].about,
        "note": None,
    }  # fmt: skip
    assert found["checks"]["isolation"]["value"] is None


def _shown() -> dict[str, Any]:
    layers = {"isolation": True, "max_fallback_rate": 10.5}, {"not_starved": False, "max_gap_ms": 9}
    found: dict[str, Any] = json.loads(to_json("t", "s", merge(*layers)))
    return found


def test_json_is_what_the_schema_says() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["checks"]["required"] == ORDER
    assert Draft202012Validator(SCHEMA).is_valid(_shown())


@pytest.mark.parametrize(
    ("key", "value"),
    [("value", "9"), ("source", "kernel"), ("judged_by", None), ("meaning", ""), ("note", ""), ("other", 1)],
)
def test_the_schema_refuses_what_no_report_holds(key: str, value: object) -> None:
    validator, found = Draft202012Validator(SCHEMA), _shown()
    assert not validator.is_valid({name: part for name, part in found.items() if name != "scheduler"})
    checks = found["checks"]
    assert not validator.is_valid({**found, "checks": {**checks, "max_gap": checks["max_gap_ms"]}})
    assert not validator.is_valid({**found, "checks": {**checks, "isolation": {**checks["isolation"], key: value}}})
