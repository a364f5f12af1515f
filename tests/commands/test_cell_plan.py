"""``doit cell_plan``: the resolved plan of a cell as a timeline."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ktstr import resources
from tests.commands.projects import CommandProject, command_project

TESTS = """
tests:
  t: {duration: 1s, cgroups: [{name: a, workers: 1}]}
  wide: {cgroups: [a], constraints: {min_cpus: 300}}
  far: {cgroups: [{name: a, cpuset: {llc: 9}}]}
  steps:
    duration: 1s
    topology: 1n2l2c1t
    settle: 100ms
    offline: {exact: 3}
    isolcpus: {cpus: {exact: 2}, flags: [domain]}
    backdrop:
      cgroups: [{name: bg, workers: 1, cpuset: {exact: 0-1}, cpu.max: 25%}]
    steps:
      - name: narrow
        hold: 0.5
        ops: [{op: set_cpuset, cgroup: bg, cpuset: {exact: 1}}]
      - hold: {every: 100ms}
        ops: [{op: freeze, cgroup: bg}, {op: unfreeze, cgroup: bg}]
"""
PLAN = """\
Test: steps
Topology: 1n2l2c1t, 4 CPUs
Scheduler: eevdf
Seed: 0
Kernel arguments: isolcpus=domain,2
Offline before: CPUs 3

    Guest ms  What is done; the time is that of holds and delays
       0.000  read /sys/devices/system/cpu/cpu3/online [has to read 0]
       0.000  make cgroup bg, CPUs 0-1
       0.000  bg: cpu.max = 25000 100000
       0.000  spawn 1 SpinWait in bg
       0.000  release the backdrop's workers
       0.000  hold 100ms
     100.000  checkpoint: what workers did in phase 0
     100.000  step narrow
     100.000    cpuset of bg: CPUs 1
     100.000    read cpu.stat of bg [share of bg, begin]
     100.000    hold 500ms
     600.000    read cpu.stat of bg [share of bg, end]
     600.000    checkpoint: what workers did in phase 1
     600.000  step Step[1]
     600.000    again and again every 100ms, for 500ms
     600.000      bg: cgroup.freeze = 1
     600.000      read cgroup.events of bg
     600.000      bg: cgroup.freeze = 0
     600.000      read cgroup.events of bg
    1100.000    checkpoint: what workers did in phase 2
    1100.000  stop all workers, who report
    1100.000  remove all cgroups

Phases:
  0  BASELINE (ops 5 to 6)
  1  narrow (ops 7 to 12)
  2  Step[1] (ops 13 to 19)

Workers are judged by:
  1 SpinWait of bg: CPUs 0-1, memory on nodes 0
"""


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    made = command_project(tmp_path / "project")
    (made.path / "ktstr.yaml").write_text(TESTS)
    return made


def test_a_plan_says_when_what_is_done_within_80_columns(project: CommandProject) -> None:
    done = project.doit("cell_plan", "test=steps")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == PLAN
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_plan_as_json_is_as_its_schema_says(project: CommandProject) -> None:
    done = project.doit("cell_plan", "test=steps", "json=1", "seed=3")
    found = json.loads(done.stdout)
    jsonschema.validate(found, json.loads(resources.schema("cell_plan").read_text()))
    assert (found["topology"], found["seed"], found["offline"]) == ("1n2l2c1t", 3, [3])
    assert [phase["label"] for phase in found["phases"]] == ["BASELINE", "narrow", "Step[1]"]
    assert any(op["kind"] == "Delay" and op["what"].endswith("(seed 3)") for op in found["ops"])
    assert found["spans"][0]["quota"] == [25000, 100000]


def test_the_topology_is_a_preset_or_a_label(project: CommandProject) -> None:
    labels = ("preset=smt-2llc", "preset=1n1l3c1t")
    plans = [project.doit("cell_plan", "test=t", label).stdout.splitlines()[1] for label in labels]
    assert plans == ["Topology: 1n2l2c2t (smt-2llc), 8 CPUs", "Topology: 1n1l3c1t, 3 CPUs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "cell_plan: test=: found 0 names, expected one"),
        (("test=stepz",), "cell_plan: test=stepz: "),
        (("test=wide", "preset=1n1l2c1t"), "cell_plan: test=wide preset=1n1l2c1t: needs at least 300 CPUs"),
        (
            ("test=far", "preset=1n2l2c1t"),
            "cell_plan: ktstr.yaml:5:37 tests.far.cgroups[0].cpuset.llc: found LLC 9, expected 0 to 1",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_told(project: CommandProject, arguments: tuple[str, ...], message: str) -> None:
    done = project.doit("cell_plan", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
