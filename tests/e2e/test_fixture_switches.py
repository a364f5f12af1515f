"""The fixture scx_ktstr keeps cpu.weight and cpu.max and lives through hotplug; with each switch that breaks one of
these, its check finds it.

Cost: five machines of 3 vCPUs and eight clones, about 25 s.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SOURCE = ROOT / "schedulers" / "scx_ktstr"
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
presets: {{three: 1n1l3c1t}}
schedulers:
  fair: {{source: {SOURCE}}}
  unfair: {{source: {SOURCE}, args: [--unfair-weights]}}
  unlimited: {{source: {SOURCE}, args: [--ignore-cpu-max]}}
  shuns: {{source: {SOURCE}, args: [--ignore-online]}}
  clings: {{source: {SOURCE}, args: [--use-offline, --timeout-ms, 500]}}
tests:
  weights:
    duration: 1s
    cgroups:
      - {{name: one, workers: 3, cpu.weight: 100}}
      - {{name: two, workers: 3, cpu.weight: 200}}
      - {{name: four, workers: 3, cpu.weight: 400}}
    checks: {{max_weight_error_pct: 10}}
  limits: # 80 % of a CPU for both, of which the second has three quarters
    duration: 2s
    cgroups:
      - {{name: all, workers: 0, cpu.max: 80%}}
      - {{name: all/less, workers: 3, cpu.weight: 100}}
      - {{name: all/more, workers: 3, cpu.weight: 300}}
    checks: {{max_bandwidth_error_pct: 5, max_weight_error_pct: 10}}
  comes:
    duration: 1s
    backdrop: {{cgroups: [{{name: spin, workers: 5}}]}}
    steps: [{{ops: [{{op: offline, cpus: {{exact: 1}}}}, {{op: online, cpus: {{exact: 1}}}}]}}]
  goes:
    duration: 2s
    backdrop: {{cgroups: [{{name: spin, workers: 6}}]}}
    steps: [{{ops: [{{op: offline, cpus: {{exact: 1}}}}]}}]
matrices:
  all:
    tests: [weights, limits, comes, goes]
    presets: three
    schedulers: fair
    include:
      - {{test: weights, scheduler: unfair}}
      - {{test: limits, scheduler: unlimited}}
      - {{test: comes, scheduler: shuns}}
      - {{test: goes, scheduler: clings}}
"""
# By test: the switch's scheduler, the kind of the first reason, and words of it.
CAUGHT = {
    "weights": ("unfair", "Bandwidth", "its cpu.weight of 100 among 700 is 14.29 %"),
    "limits": ("unlimited", "Bandwidth", "its cpu.max of 80000 us in 100000 us"),
    "comes": ("shuns", "Invariant", "work conservation: CPU 1 was idle from "),
    "goes": ("clings", "Evicted", "the kernel's watchdog evicted the scheduler (runnable task stall)"),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, lock: str) -> tuple[UserProject, dict[tuple[str, str], Any]]:
    """The project, and its cells by test and scheduler."""
    project = make_project(tmp_path_factory.mktemp("switches"), lock)
    project.write(YAML)
    _, found = project.test("accel=icount", timeout="800")
    return project, {tuple(cell["name"].split("/")[0:4:3]): cell for cell in found["cells"]}


@pytest.mark.parametrize("test", CAUGHT)
def test_without_a_switch_nothing_is_found(ran: tuple[UserProject, dict[tuple[str, str], Any]], test: str) -> None:
    _, cells = ran
    assert cells[test, "fair"]["verdict"] == "pass", cells[test, "fair"]["reasons"]


@pytest.mark.parametrize("test", CAUGHT)
def test_a_switch_is_caught_and_named(ran: tuple[UserProject, dict[tuple[str, str], Any]], test: str) -> None:
    project, cells = ran
    scheduler, kind, words = CAUGHT[test]
    cell = cells[test, scheduler]
    assert cell["verdict"] == "fail", cell
    reasons = [reason["message"] for reason in project.sidecar(cell)["reasons"] if reason["kind"] == kind]
    assert reasons and words in reasons[0], cell["reasons"]
