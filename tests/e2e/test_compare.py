"""Two schedulers compared in one test, and the goals that an optimiser climbs on."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.conftest import DODO, ROOT, UserProject

pytestmark = pytest.mark.e2e

YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  long: {{source: {ROOT / "schedulers/scx_ktstr"}, args: [--slice-us, 40000]}}
  short: {{source: {ROOT / "schedulers/scx_ktstr"}, args: [--slice-us, 4000]}}
tests:
  duel:
    duration: 400ms
    cgroups: [{{name: spin, workers: 3}}]
    checks: {{max_spread_pct: 100}}
    compare: [long, short]
    perf_delta: [{{metric: worst_gap_ms, max_regression_pct: 20, min_abs: 5}}, worst_page_locality]
presets: {{one: 1n1l1c1t}}
"""
CELLS = ("test=duel", "preset=one", "seeds=1..4")
GUIDE = ROOT / "docs/optimise.md"


def project_in(folder: Path, yaml: str) -> UserProject:
    folder.mkdir()
    (folder / "dodo.py").write_text(DODO)
    project = UserProject(folder)
    project.write(yaml)
    return project


@pytest.fixture(scope="module")
def duel(tmp_path_factory: pytest.TempPathFactory) -> UserProject:
    return project_in(tmp_path_factory.mktemp("compare") / "project", YAML)


@pytest.fixture(scope="module")
def first(duel: UserProject) -> dict[str, Any]:
    """The report of the first run, which measures everything."""
    done = duel.doit("test", *CELLS, "json=1", "junit=junit.xml")
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_first_scheduler_is_judged_against_the_second(first: dict[str, Any]) -> None:
    schema = json.loads((ROOT / "schemas/test_output.schema.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(first)] == []
    assert first["counts"]["pass"] == 8
    (found,) = first["comparisons"]
    assert (found["test"], found["verdict"], found["head"], found["baseline"]) == ("duel", "fail", "long", "short")
    (gap,) = found["findings"]
    assert (gap["metric"], gap["verdict"], gap["a"]["n"], gap["b"]["n"]) == ("worst_gap_ms", "regressed", 4, 4)
    assert gap["a"]["center"] < 20 < 60 < gap["b"]["center"]  # two turns of 4 ms, and two of 40 ms
    assert gap["shift_low"] <= gap["shift"] <= gap["shift_high"]
    assert [(left["gate"]["metric"], left["why"]) for left in found["unevaluated"]] == [
        ("worst_page_locality", "not measured under short")
    ]


def test_its_goals_are_those_of_both_schedulers(first: dict[str, Any]) -> None:
    goals = {(goal["goal"], goal["scenario"]): goal for goal in first["goals"]}
    long, short = (goals["duel/worst_gap_ms", f"one/default/{name}/icount"] for name in ("long", "short"))
    assert (long["verdict"], long["n"], long["better"], long["noise"]) == ("pass", 4, "lower", None)
    assert long["reward"] == -long["value"] < short["reward"] == -short["value"]
    unmeasured = goals["duel/worst_page_locality", "one/default/long/icount"]
    assert (unmeasured["verdict"], unmeasured["value"], unmeasured["reward"]) == ("unmeasured", None, None)


def test_junit_has_the_limits(duel: UserProject, first: dict[str, Any]) -> None:
    cases = {
        (case.get("classname"), case.get("name")): [child.tag for child in case]
        for case in ET.parse(duel.path / "junit.xml").getroot().iter("testcase")
        if case.get("classname") != "duel" or "icount" not in str(case.get("name"))
    }
    assert cases == {
        ("duel/one/default/icount", "worst_gap_ms"): ["failure"],
        ("duel", "worst_page_locality"): ["skipped"],
        ("compare duel", "long against short"): ["failure"],
    }


def test_with_nothing_to_run_it_says_the_same_as_text(duel: UserProject, first: dict[str, Any]) -> None:
    done = duel.doit("test", *CELLS)
    assert done.returncode == 1, done.stderr
    assert "8 cells: 8 passed (0 ran, 8 up to date)" in done.stdout
    table = done.stdout.partition("compare duel: B vs A, 4 runs a side\n")[2]
    assert re.search(r"^  worst_gap_ms \(ms\) .* 4  REGRESSED \((noisy spread, )?declared gate\)$", table, re.MULTILINE)
    assert "worst_page_locality  aggregate  registry defaults  not measured under short" in table
    assert table.endswith("\ncomparison: FAIL\n")


def test_a_part_of_it_is_not_compared(duel: UserProject, first: dict[str, Any]) -> None:
    done = duel.doit("test", *CELLS, "scheduler=long")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\ncomparison: NOT COMPARED\n")
    done = duel.doit("test", *CELLS, "shard=1/2")
    assert done.returncode == 0, done.stderr
    why = "shard=1/2 selects a part of their cells; doit merge judges them"
    assert done.stdout.endswith(f"\ncompare: duel not judged: {why}\n")


def test_parts_are_compared_once_they_are_merged(duel: UserProject, first: dict[str, Any]) -> None:
    for shard in ("1/2", "2/2"):
        assert duel.doit("test", *CELLS, f"shard={shard}").returncode == 0
    done = duel.doit("merge", "dir=target/ktstr", "json=1")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert (report["comparisons"], report["goals"]) == (first["comparisons"], first["goals"])


def test_without_what_statistics_need_the_cells_run_and_the_comparison_is_missed(
    duel: UserProject, first: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['scipy'] = None\n")  # as if not installed
    done = duel.doit("test", *CELLS, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 3, done.stderr
    assert "8 cells: 8 passed" in done.stdout
    assert "scipy" in done.stderr and "pip install 'ktstr[reports]'" in done.stderr


def test_the_sidecar_carries_the_limits(duel: UserProject, first: dict[str, Any]) -> None:
    sidecar = json.loads((duel.path / first["cells"][0]["sidecar"]).read_text())
    assert sidecar["perf_delta_assertions"] == [
        {"metric": "worst_gap_ms", "direction": None, "max_regression_pct": 20, "min_abs": 5, "phase": None},
        {
            "metric": "worst_page_locality",
            "direction": None,
            "max_regression_pct": None,
            "min_abs": None,
            "phase": None,
        },
    ]


def test_limits_are_inert_without_a_comparison_and_cost_no_statistics(duel: UserProject, first: dict[str, Any]) -> None:
    """A limit that is changed measures nothing again, fails nothing, and imports nothing of comparisons."""
    duel.write(re.sub(r"    compare: .*\n", "", YAML).replace("min_abs: 5", "min_abs: 0"))
    done = duel.doit("test", *CELLS, "scheduler=long", PYTHONPROFILEIMPORTTIME="1")
    duel.write(YAML)
    assert done.returncode == 0, done.stderr
    assert "4 cells: 4 passed (0 ran, 4 up to date)" in done.stdout
    assert "ktstr.commands.test" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert not {name for name in imported if name.startswith(("scipy", "numpy", "pandas", "ktstr.stats"))}


def test_the_loop_of_the_guide_climbs(tmp_path: Path) -> None:
    """One step on real cells: shorter turns leave shorter gaps, and the file ends with the best one."""
    guide = GUIDE.read_text()
    (yaml,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (loop,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    head = 'kernels: {default: "deb:forky/cloud-amd64"}\npresets: {one: 1n1l1c1t}\n'
    source = yaml.replace("source: scx_mine", f"source: {ROOT / 'schedulers/scx_ktstr'}")
    project = project_in(tmp_path / "project", head + source)
    (project.path / "climb.py").write_text(loop)
    doit = tmp_path / "bin/doit"
    doit.parent.mkdir()
    doit.write_text(f'#!/bin/sh\nexec {shlex.join(project.command())} "$@"\n')
    doit.chmod(0o755)
    path = f"{doit.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "climb.py", "1", "test=wake", "seeds=1..2", "preset=one"], cwd=project.path,
        env=project.environment(PATH=path), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tried = [int(line.split()[1].rstrip(":")) for line in done.stdout.splitlines()]
    rewards = [float(re.search(r"reward (\S+),", line)[1]) for line in done.stdout.splitlines()]  # type: ignore[index]
    assert tried == [10000, 5000, 5000]
    assert rewards[2] == rewards[1] > rewards[0]
    assert f"--slice-us, {tried[-1]}" in (project.path / "ktstr.yaml").read_text()
