"""What a comparison says: as text, and as a JSON document that its schema describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ktstr import resources
from ktstr.stats.compare.document import to_json
from ktstr.stats.compare.engine import Comparison, Options, compare
from ktstr.stats.compare.filters import Filters
from ktstr.stats.compare.text import render
from tests.stats.compare.pools import Row, pool, row

SCHEMA = Draft202012Validator(json.loads(resources.schema("stats_compare").read_text()))
A, B = Filters(kernel=("6.1",)), Filters(kernel=("6.2",))


def a(metrics: Mapping[str, float] | None = None, /, **columns: Any) -> Row:
    return row(metrics, kernel_version="6.1", **columns)


def b(metrics: Mapping[str, float] | None = None, /, **columns: Any) -> Row:
    return row(metrics, kernel_version="6.2", **columns)


def compared(*rows: Row, **options: Any) -> Comparison:
    return compare(pool(*rows), A, B, Options(**options))


def document(found: Comparison) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(to_json(found), parse_constant=lambda name: pytest.fail(name))
    SCHEMA.validate(whole)
    return whole


def test_the_whole_report() -> None:
    found = compared(
        a({"worst_spread": 10, "total_iterations": 1000, "total_run_delay": 5000, "worst_gap_ms": 3}),
        b({"worst_spread": 30, "total_iterations": 2000, "total_run_delay": 9000, "worst_gap_ms": 3}),
        a(test_name="u", verdict="fail"), a(test_name="u"), b(test_name="u", verdict="skip"),
        a(test_name="v"), b(test_name="w"), b(test_name="w", verdict="inconclusive"),
    )  # fmt: skip
    assert render(found) == (
        "slicing dimensions: kernel\n"
        "pairing on: scenario, scheduler, topology, work_type, project_commit, kernel_commit, run_source, "
        "resolve_source, cpu_budget\n"
        "averaged across 4 runs (6.1) and 4 runs (6.2)\n"
        "\n"
        "TEST                             METRIC                6.1      6.2       DELTA  VERDICT\n"
        "t/eevdf/1n1l1c1t/SpinWait/////1  worst_spread        10.00    30.00     +20.00%  REGRESSION\n"
        "t/eevdf/1n1l1c1t/SpinWait/////1  total_run_delay   5000.00  9000.00  +4000.00ns  informational\n"
        "t/eevdf/1n1l1c1t/SpinWait/////1  total_iterations  1000.00  2000.00    +1000.00  improvement\n"
        "\n"
        "summary: 1 regressions, 1 improvements, 1 informational, 1 unchanged\n"
        "  1 pair(s) excluded: a side failed, was inconclusive or skipped, or failed as expected\n"
        "\n"
        "per-group pass counts (passed/total):\n"
        "  t/1n1l1c1t/SpinWait: A=1/1 B=1/1\n"
        "  u/1n1l1c1t/SpinWait: A=1/2 (0 skip, 0 inc, 1 fail) B=0/1 (1 skip, 0 inc, 0 fail)\n"
        "  v/1n1l1c1t/SpinWait: A=1/1 B=-\n"
        "  w/1n1l1c1t/SpinWait: A=- B=1/2 (0 skip, 1 inc, 0 fail)\n"
        "  1 row(s) new in '6.2' (no matching key in '6.1')\n"
        "  1 row(s) removed from '6.1' (no matching key in '6.2')\n"
    )
    assert document(found)["summary"] == {
        "regressions": 1, "improvements": 1, "informational": 1, "unchanged": 1, "compared_pairs": 1,
        "excluded_pairs": 1, "new_in_b": 1, "removed_from_a": 1,
    }  # fmt: skip


def test_the_averages_header_counts_sidecars_and_is_absent_without() -> None:
    found = compared(a(), a(), a(), b())
    assert "averaged across 3 runs (6.1) and 1 runs (6.2)" in render(found).splitlines()
    assert "averaged" not in render(compared(a(), b(), average=False))


def test_nothing_to_tell_is_no_table() -> None:
    lines = render(compared(a({"worst_spread": 10}), b({"worst_spread": 10}))).splitlines()
    assert lines[3:5] == ["", "summary: 0 regressions, 0 improvements, 0 informational, 1 unchanged"]


def test_that_nothing_was_compared_is_said_aloud() -> None:
    for rows in ((a(), b(verdict="fail")), (a(test_name="u"), b())):
        found = compared(*rows)
        assert "  NOTHING WAS COMPARED: no key has comparable runs on both sides" in render(found).splitlines()
        assert document(found)["summary"]["compared_pairs"] == 0
    assert "NOTHING" not in render(compared(a(), b()))


def test_verdicts_are_coloured_on_a_terminal_and_nothing_else() -> None:
    found = compared(a({"worst_spread": 10}), b({"worst_spread": 30}))
    plain, coloured = render(found), render(found, colour=True)
    assert "\x1b[31mREGRESSION\x1b[0m" in coloured
    assert "\x1b" not in plain
    assert coloured.replace("\x1b[31m", "").replace("\x1b[0m", "") == plain


def test_coverage_near_misses_and_metrics_without_limits_are_said() -> None:
    found = compared(
        a({"worst_gap_ms": 1, "x": 1}), b({"x": 2}), a({"worst_gap_ms": 1}, test_name="u"), b(test_name="u"),
        a(test_name="v", accel="icount"), b(test_name="v", accel="kvm"),
    )  # fmt: skip
    lines = render(found).splitlines()
    assert "  worst_gap_ms: measured in '6.1' only, in 2 pair(s)" in lines
    assert "  1 key(s) not paired: the accel differs (icount and kvm)" in lines
    assert "  not compared, since the registry has no limits for them: x" in lines
    whole = document(found)
    assert whole["mismatches"] == [{"pin": "accel", "keys": 1, "a": ["icount"], "b": ["kvm"]}]
    assert [one["side"] for one in whole["coverage"]] == ["a", "a"]


def test_groups_that_would_be_called_the_same_have_their_whole_key() -> None:
    found = compared(a(scheduler="x"), a(scheduler="y"), b(scheduler="x"))
    assert "  t/x/1n1l1c1t/SpinWait/////1: A=1/1 B=1/1" in render(found).splitlines()


def test_groups_are_by_scenario_topology_and_work_type() -> None:
    rows = [a(test_name=t, topology=p, work_type=w) for t in "ba" for p in ("2n", "1n") for w in ("Y", "X")]
    lines = render(compared(*rows, b(test_name="b", topology="1n", work_type="X"))).splitlines()
    block = [line.strip() for line in lines[lines.index("per-group pass counts (passed/total):") + 1 :] if "A=" in line]
    assert [line.split(":")[0] for line in block] == [f"{t}/{p}/{w}" for t in "ab" for p in ("1n", "2n") for w in "XY"]


def host(**facts: Any) -> str:
    return json.dumps(facts)


def last(found: Comparison) -> list[str]:
    return [line for line in render(found).splitlines() if line.startswith("host") or "\N{RIGHTWARDS ARROW}" in line]


def test_hosts_that_are_the_same_are_said_to_be() -> None:
    same = host(cpu_model="X")
    assert last(compared(a(host=same), b(host=same))) == ["host: identical between '6.1' and '6.2'"]
    same = host(cpu_model="X", arch="x86_64")
    assert last(compared(a(host=same), b(host=same))) == ["host: identical between '6.1' and '6.2' (arch: x86_64)"]


def test_what_differs_between_hosts_is_listed_with_a_real_arrow() -> None:
    found = compared(a(host=host(cpu_model="X", arch="x86_64")), b(host=host(cpu_model="Y", arch="x86_64")))
    assert last(found) == ["host delta ('6.1' \u2192 '6.2'):", "  cpu_model: X \u2192 Y"]
    found = compared(a(host=host(arch="x86_64")), b(host=host(arch="aarch64")))
    assert last(found) == ["host delta ('6.1' \u2192 '6.2'):", "  arch: x86_64 \u2192 aarch64"]


@pytest.mark.parametrize(("left", "right", "label"), [("{}", None, "6.1"), (None, "{}", "6.2")])
def test_a_host_of_one_side_alone_is_said(left: str | None, right: str | None, label: str) -> None:
    assert last(compared(a(host=left), b(host=right))) == [f"host: captured in '{label}' only, delta unavailable"]


def test_without_hosts_nothing_is_said_of_them() -> None:
    assert last(compared(a(), b())) == []


def test_the_first_run_with_a_host_speaks_for_its_side_and_heaps_are_no_difference() -> None:
    heap = {"active_bytes": 1, "allocated_bytes": 1, "resident_bytes": 1, "mapped_bytes": 1, "narenas": 1}
    found = compared(a(), a(host=host(cpu_model="X")), a(host=host(cpu_model="Z")),
                     b(host=host(cpu_model="X", heap_state=heap)))  # fmt: skip
    assert last(found) == ["host: identical between '6.1' and '6.2'"]


def test_what_strangers_wrote_cannot_move_the_cursor() -> None:
    evil = "t\x1b[2J\n"
    found = compared(a({"worst_spread": 1}, test_name=evil), b({"worst_spread": 90}, test_name=evil))
    assert "t?[2J?/eevdf" in render(found)
    assert "\x1b" not in render(found)
    assert document(found)["groups"][0]["scenario"] == evil


def test_a_change_beyond_all_numbers_is_null_in_json() -> None:
    found = compared(a({"worst_spread": -1.7e308}), b({"worst_spread": 1.7e308}))
    (one,) = document(found)["findings"]
    assert (one["delta"], one["relative"]) == (None, None)


def test_a_baseline_of_nothing_has_no_relative_change() -> None:
    (one,) = document(compared(a({"worst_spread": 0}), b({"worst_spread": 7})))["findings"]
    assert (one["delta"], one["relative"], one["kind"], one["unit"]) == (7, None, "regression", "%")


def test_the_document_has_everything() -> None:
    found = compared(
        a({"worst_spread": 10}, host=host(arch="x86_64"), project_commit="abc1234-dirty"),
        a({"worst_spread": 10}, project_commit="abc1234"), b({"worst_spread": 40}, project_commit="abc1234"),
    )  # fmt: skip
    whole = document(found)
    assert whole["a"] == {"label": "6.1", "runs": 2, "host": {"arch": "x86_64"}}
    assert whole["slicing"] == ["kernel"] and whole["pairing"][:2] == ["scenario", "scheduler"]
    (group,) = whole["groups"]
    assert group["a"]["project_commit"] == "abc1234+mixed" and group["a"]["passes"] == 2
    assert group["key"]["components"]["project_commit"] == "abc1234"
    assert group["key"]["pins"]["accel"] == "kvm"
    assert whole["findings"][0]["relative"] == 3
    assert whole["warnings"][0].startswith("warning: comparison includes dirty builds:")


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
