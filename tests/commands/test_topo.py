"""``doit topo``: topologies and this host."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ktstr.config.topology import PRESETS
from tests.commands.projects import command_project

YAML = """
presets: {mine: 1n2l1c1t}
tests:
  any: {cgroups: [{name: a}]}
  wide: {cgroups: [{name: a}], constraints: {min_llcs: 2}}
  shown: {cgroups: [{name: a}], demo: true}
"""


def test_each_topology_with_the_tests_that_it_is_for(tmp_path: Path) -> None:
    project = command_project(tmp_path)
    (tmp_path / "ktstr.yaml").write_text(YAML)
    done = project.doit("topo", "accel=tcg", "json=1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["topologies"]}
    assert set(rows) == {*PRESETS, "mine"}
    assert rows["tiny-1llc"]["tests"] == ["any"]
    assert rows["mine"]["tests"] == ["any", "wide"]
    assert rows["numa2-4llc"] | {"boot_s": 0} == {
        "name": "numa2-4llc", "label": "2n4l4c1t", "nodes": 2, "llcs": 4, "cpus": 16, "threads": 1, "accel": "tcg",
        "boot_s": 0, "skip": None, "tests": ["any", "wide"],
    }  # fmt: skip
    assert "no vCPU above 254" in rows["max-cpu"]["skip"]
    assert found["host"]["usable_cpus"] <= len(os.sched_getaffinity(0))


def test_the_text_fits_and_says_why_one_is_skipped(tmp_path: Path) -> None:
    project = command_project(tmp_path)
    done = project.doit("topo", "accel=tcg", "preset=max-cpu,tiny")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("This host: ")
    assert "Skipped here (no_skip=1 tries them):" in lines
    assert [line.split()[0] for line in lines if " 1n" in line and "skip" in line] == ["max-cpu"]


def test_this_host_alone(tmp_path: Path) -> None:
    done = command_project(tmp_path).doit("topo", "host=1", "json=1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"host"}
    cpus = sorted(cpu for llc in found["host"]["llcs"] for cpu in llc["cpus"])
    assert len(cpus) == found["host"]["cpus"] >= found["host"]["usable_cpus"]


def test_a_pattern_that_names_none_is_an_error(tmp_path: Path) -> None:
    done = command_project(tmp_path).doit("topo", "preset=smt9")
    assert done.returncode == 2
    assert "preset=smt9: found no preset of that name" in done.stderr
