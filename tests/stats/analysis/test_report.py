"""The whole report of a run directory, from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from ktstr.errors import HostError
from ktstr.record.sidecar import KvmStats, Sidecar, VerifierStats
from ktstr.results.sidecar import dump
from ktstr.stats.analysis.extras import read_extras
from ktstr.stats.analysis.report import analyse, to_json, to_text
from ktstr.stats.pool import load_run
from tests.results.cells import sidecar

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas/stats.schema.json").read_text())


def write(folder: Path, *wholes: Sidecar) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for at, whole in enumerate(wholes):
        (folder / f"{at}.ktstr.json").write_bytes(dump(whole))


def spread(percent: float, **changes: object) -> Sidecar:
    whole = sidecar()
    return replace(whole, stats=replace(whole.stats, worst_spread=percent), passed=True, inconclusive=False, **changes)


def test_a_run_without_sidecars_has_no_report(tmp_path: Path) -> None:
    assert to_text(analyse(load_run(tmp_path))) == ""


def test_the_report_has_its_parts_in_order_and_the_json_satisfies_the_schema(tmp_path: Path) -> None:
    kvm = KvmStats(per_vcpu=({"exits": 10},))
    odd = spread(90.0, test_name="odd", verifier_stats=(VerifierStats("p", 9),), kvm_stats=kvm, accel="kvm")
    write(tmp_path, *(spread(10.0, test_name=f"t{i}") for i in range(9)), odd)
    (tmp_path / "x.ktstr.json").write_text("{")
    pool = load_run(tmp_path)
    found = analyse(pool)
    text = to_text(found)
    parts = [
        "\n=== GAUNTLET ANALYSIS ===\n\nOutliers detected:\n  odd: spread 90.0 (overall avg 18.0, +",
        "\nBy scenario (worst first):\n  odd ",
        "\nBy topology:\n  1n2l2c1t ",
        "\n=== PHASES ===\n\n",
        "\n=== BPF VERIFIER STATS ===\n\n",
        "\n=== KVM STATS (avg across 1 VMs) ===\n\n",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert text.startswith(parts[0])
    body = json.loads(to_json("run", len(pool.skipped), found))
    Draft202012Validator(SCHEMA).validate(body)
    assert (body["sidecars"], body["unreadable"], body["kvm"]["exits"]) == (10, 1, 10)
    assert body["outliers"][0]["scenario"] == "odd"


def test_work_types_are_listed_only_when_there_are_several(tmp_path: Path) -> None:
    write(tmp_path / "one", spread(1.0), spread(2.0))
    write(tmp_path / "two", spread(1.0), spread(2.0, work_type="PipeIo+SpinWait"))
    assert "By work_type:" not in to_text(analyse(load_run(tmp_path / "one")))
    assert "\nBy work_type:\n  PipeIo+SpinWait " in to_text(analyse(load_run(tmp_path / "two")))


def test_phases_are_means_over_the_runs_that_passed(tmp_path: Path) -> None:
    failed = replace(spread(1.0), passed=False)
    write(tmp_path, spread(1.0), spread(1.0), failed)
    whole, *cgroups = analyse(load_run(tmp_path)).phases
    assert (whole.scenario, whole.cgroup, whole.runs, whole.label) == ("steady", "", 2, "Step[0]")
    phase = sidecar().stats.phases[0]
    assert whole.duration_ms == phase.end_ms - phase.start_ms
    assert whole.metrics == {name: pytest.approx(value) for name, value in phase.metrics.items()}
    assert {one.cgroup for one in cgroups} == set(phase.per_cgroup)


def test_a_file_that_vanished_meanwhile_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="gone: cannot be read any more"):
        read_extras([str(tmp_path / "gone")])
    (tmp_path / "a").write_text("{}")
    with pytest.raises(HostError, match="a: changed while it was read"):
        read_extras([str(tmp_path / "a")])
