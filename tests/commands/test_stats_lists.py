"""What there is to compare by: metrics, and values of dimensions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ktstr import resources
from tests.commands.projects import CommandProject, command_project
from tests.results.cells import sidecar
from tests.stats.pools import put
from tests.stats.test_pool import skip

EVERYTHING = [
    "kernel:", "  unknown", "  7.2.0-cloud", "", "commit:", "  abc1234", "", "kernel_commit:", "  unknown", "",
    "source:", "  local", "", "resolve_source:", "  unknown", "  auto_built", "", "cpu_budget:", "  2", "  16", "",
    "scheduler:", "  eevdf?[31m", "  scx_ktstr", "", "topology:", "  1n2l2c1t", "", "work_type:", "  PipeIo", "",
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    return command_project(tmp_path / "project")


def parsed(text: str, name: str) -> Any:
    found = json.loads(text)
    jsonschema.validate(found, json.loads(resources.schema(name).read_text()))
    return found


def fill(root: Path) -> None:
    put(root, "r/a", sidecar(cpu_budget=16))
    put(root, "r/icount-s1/b", sidecar(cpu_budget=2, scheduler="eevdf\x1b[31m"))
    put(root, "s/c", skip())


def test_metrics_are_listed_in_the_registrys_order_as_a_table_and_as_json(project: CommandProject) -> None:
    text = project.doit("stats_list_metrics")
    assert (text.returncode, text.stderr) == (0, "")
    lines = [line.split() for line in text.stdout.splitlines()]
    assert lines[0] == ["NAME", "POLARITY", "DEFAULT_ABS", "DEFAULT_REL", "UNIT"]
    assert lines[1:4] == [
        ["worst_spread", "lower", "5", "0.25", "%"],
        ["worst_gap_ms", "lower", "500", "0.5", "ms"],
        ["total_migrations", "lower", "2", "0.3"],
    ]
    assert len(lines) == 173 and text.stdout.endswith("\n")
    done = project.doit("stats_list_metrics", "json=1")
    rows = parsed(done.stdout, "stats_list_metrics")
    assert [row["name"] for row in rows] == [line[0] for line in lines[1:]]
    assert list(rows[0]) == ["name", "polarity", "kind", "default_abs", "default_rel", "display_unit"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["worst_spread"]["kind"] == {"Gauge": "Last"}
    assert by_name["total_migrations"]["kind"] == "Counter"
    assert by_name["iteration_rate"]["kind"] == {
        "Rate": {"numerator": "total_phase_iterations", "denominator": "total_phase_duration_sec"}
    }
    assert by_name["worst_p99_wake_latency_us"]["kind"] == {
        "Distribution": {"source": "WakeLatencyNs", "reduction": "P99"}
    }
    assert by_name["worst_p99_wake_latency_us"]["display_unit"] == "\N{MICRO SIGN}s"


def test_values_are_distinct_and_sorted_with_what_nobody_knows_first(project: CommandProject) -> None:
    fill(project.runs)
    text = project.doit("stats_list_values")
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines() == EVERYTHING


def test_values_as_json_have_null_for_what_nobody_knows(project: CommandProject) -> None:
    fill(project.runs)
    found = parsed(project.doit("stats_list_values", "json=1").stdout, "stats_list_values")
    assert list(found) == sorted(found)
    assert found["resolve_source"] == [None, "auto_built"] and found["cpu_budget"] == [2, 16]
    assert found["source"] == ["local"] and found["kernel_commit"] == [None]


def test_another_folder_is_an_archive_and_is_left_as_it_is(project: CommandProject, tmp_path: Path) -> None:
    fill(tmp_path / "project/below/old")
    done = project.doit("stats_list_values", "json=1", "dir=below/old")
    assert parsed(done.stdout, "stats_list_values")["source"] == ["archive"]
    assert not (tmp_path / "project/below/old/.state").exists()


def test_without_results_there_is_a_note_and_no_value(project: CommandProject) -> None:
    done = project.doit("stats_list_values")
    assert done.returncode == 0 and "no sidecar data found" in done.stderr
    assert done.stdout.splitlines().count("  (no sidecars in pool)") == 9
    found = parsed(project.doit("stats_list_values", "json=1").stdout, "stats_list_values")
    assert set(map(len, found.values())) == {0}


def test_where_all_was_skipped_there_is_no_budget(project: CommandProject) -> None:
    put(project.runs, "s/c", skip())
    done = project.doit("stats_list_values")
    assert "cpu_budget:\n  (all runs skipped: no CPU budget)\n" in done.stdout


def test_what_cannot_be_read_is_counted_on_standard_error(project: CommandProject) -> None:
    fill(project.runs)
    put(project.runs, "s/old", b"{}")
    put(project.runs, "s/torn", b'{"test_name"')
    done = project.doit("stats_list_values", "json=1")
    assert done.returncode == 0 and parsed(done.stdout, "stats_list_values")["cpu_budget"] == [2, 16]
    assert done.stderr == (
        f"skipped 2 stale sidecar(s) under {project.runs} "
        "(older schema: measure again; stats_explain_sidecar shows detail)\n"
    )
