"""Cells of all topologies: those a host cannot have, and those there is time for. Costs no boot: a few seconds.

Slow: every topology that this host can have boots with a thread per vCPU, up to 240 of them: half an hour on two cores.
"""

from __future__ import annotations

import json

import pytest

from ktstr.config.topology import PRESETS
from tests.e2e.conftest import UserProject

pytestmark = pytest.mark.e2e

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
tests:
  spin: {duration: 100ms, cgroups: [{name: one, workers: 1}], checks: {not_starved: false}}
  pipe: {duration: 1s, cgroups: [{name: one, workers: 2, work: PipeIo}], constraints: {min_llcs: 2}}
matrices:
  all: {tests: "*", presets: [tiny-1llc, tiny-2llc], seeds: 1..3}
"""


def rows(project: UserProject, *args: str) -> tuple[dict[str, str], str]:
    """Of a preview: why each cell would run, by test and preset, and what was said beside it."""
    project.write(YAML)
    done = project.doit("test", "dry_run=1", "json=1", "seed=0", *args)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    return {"/".join(row["name"].split("/")[:2]): row["why"] for row in cells}, done.stderr


def test_the_gauntlet_skips_what_no_constraint_or_host_allows(project: UserProject) -> None:
    found, _said = rows(project, "gauntlet=1", "accel=tcg")
    assert set(found) == {f"{test}/{preset}" for test in ("spin", "pipe") for preset in PRESETS}
    assert found["pipe/tiny-1llc"] == "skip: needs at least 2 LLCs, 1n1l4c1t has 1"
    assert found["spin/max-cpu"].startswith("skip: 1n14l9c2t has APIC ids up to 433")
    assert found["spin/max-cpu"].endswith("; no_skip=1 tries it")
    assert found["spin/tiny-1llc"].startswith("run: ")
    tried, _said = rows(project, "gauntlet=1", "accel=tcg", "no_skip=1", "preset=max-cpu", "test=spin")
    assert tried["spin/max-cpu"].startswith("run: ")
    hurried, _said = rows(project, "gauntlet=1", "accel=tcg", "timeout=5s", "preset=medium-8llc", "test=spin")
    assert "and timeout= is 5 s" in hurried["spin/medium-8llc"]


def test_a_budget_chooses_the_same_cells_each_time(project: UserProject) -> None:
    words = ("gauntlet=1", "accel=tcg", "budget_secs=30", "preset=tiny-*,smt-*,odd-*")
    found, said = rows(project, *words)
    assert 2 <= len([why for why in found.values() if why.startswith("run")]) < 13
    assert {name.split("/")[0] for name in found} == {"spin", "pipe"}
    line = next(line for line in said.splitlines() if "budget: " in line)
    assert " of 13 cells, " in line and " of 30 s, " in line and line.endswith(" features covered")
    assert rows(project, *words)[0] == found


def test_a_budget_for_no_cell_names_the_shortest(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("test", "budget_secs=0.1", "dry_run=1", "accel=tcg")
    assert done.returncode == 2
    assert "budget_secs=0.1: the shortest of 9 cells is expected to take" in done.stderr


def test_a_run_in_which_the_host_can_have_nothing_says_so(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("test", "test=spin", "preset=max-cpu", "accel=tcg", "seed=0")
    assert done.returncode == 0, done.stderr
    assert "EVERY CELL WAS SKIPPED (1): nothing was tested" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_every_topology_boots_with_a_thread_per_vcpu_or_is_skipped(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit(
        "test", "test=spin", "gauntlet=1", "accel=tcg", "seed=0", "jobs=1", "timeout=1800", "json=1", timeout=5400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {cell["name"].split("/")[1]: cell["verdict"] for cell in json.loads(done.stdout)["cells"]}
    assert set(verdicts) == set(PRESETS)
    assert {name for name, verdict in verdicts.items() if verdict == "skip"} == {"max-cpu", "max-cpu-nosmt"}
    assert set(verdicts.values()) == {"pass", "skip"}
