"""Canned scenarios under the kernel's own scheduler: twelve of them in CI, for a short time; with slow=1 every one on
each topology of up to 16 CPUs that it allows.

Costs a guest of four vCPUs, twelve cells of 0.4 s, 40 s.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktstr.config import catalogue
from ktstr.config.topology import PRESETS, Topology
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.host.deb import unpack
from tests.e2e.conftest import UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

HEAD = "kernels: {default: 'deb:forky/cloud-amd64', other: 'deb:experimental/cloud-amd64'}\n"
WHOLE = HEAD + f"include: {catalogue.NAME}\n"
# One of each category, and one of each thing that the language learned for them.
SOME = (
    "cgroup_cpuset_cross_llc_steady", "cgroup_cpuset_overlap_steady", "cgroup_affinity_change", "sched_rr",
    "cgroup_pipe_io", "cgroup_add_midrun", "stall_detect", "nested_cgroup_task_move", "cgroup_per_cpu",
    "cgroup_no_ctrl_task_migration", "cache_yield_wake_affine", "mutex_contention_light",
)  # fmt: skip
SHORT = "400ms"
SMALL = [name for name, label in PRESETS.items() if Topology.parse(label).cpus <= 16]


def shortened(names: tuple[str, ...]) -> str:
    """The scenarios as a user would copy them, with another duration."""
    tests: dict[str, Any] = {}
    for name in names:
        tests |= yaml.safe_load(catalogue.entries()[name].text)
        tests[name] |= {"duration": SHORT, "settle": "50ms"} if "backdrop" in tests[name] else {"duration": SHORT}
    return HEAD + yaml.safe_dump({"tests": tests}, sort_keys=False)


def verdicts(cells: list[dict[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """Of those that neither passed nor were skipped for what the topology has."""
    return {
        cell["name"]: (cell["verdict"], cell["reasons"])
        for cell in cells
        if cell["verdict"] != "pass" and not (cell["verdict"] == "skip" and "needs at least" in cell["reasons"][0])
    }


def test_twelve_scenarios_pass(project: UserProject) -> None:
    project.write(shortened(SOME))
    code, report = project.test("test=*", "preset=tiny-2llc")
    assert not verdicts(report["cells"])
    assert (code, len(report["cells"])) == (0, len(SOME))


def test_the_list_and_one_entry_are_printed_for_a_project_that_does_not_include_them(project: UserProject) -> None:
    project.write(HEAD + "tests: {t: {cgroups: [a]}}\n")
    listed = project.doit("catalogue", "json=1")
    assert len(json.loads(listed.stdout)["scenarios"]) == len(catalogue.entries())
    shown = project.doit("catalogue", "show=sched_rr")
    assert yaml.safe_load(shown.stdout) == {"tests": yaml.safe_load(catalogue.entries()["sched_rr"].text)}
    refused = project.doit("test", "test=sched_rr")
    assert refused.returncode == 2
    assert "fix: include: ktstr:catalogue, at the top of ktstr.yaml" in refused.stderr


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kernel", ["default", "other"])
@pytest.mark.parametrize("preset", SMALL)
def test_every_scenario_passes_where_it_fits(preset: str, kernel: str, project: UserProject) -> None:
    project.write(WHOLE)
    code, report = project.test("test=*", f"preset={preset}", f"kernel={kernel}", timeout="7000")
    assert not verdicts(report["cells"])
    assert (code, len(report["cells"])) == (0, len(catalogue.entries()))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_seeds_agree(project: UserProject) -> None:
    project.write(WHOLE)
    code, report = project.test("test=*", "preset=tiny-2llc", "seeds=0..9", timeout="7000")
    assert not verdicts(report["cells"])
    assert (code, len(report["cells"])) == (0, 10 * len(catalogue.entries()))


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fio and stress-ng as the distribution has them, with all that they need."""
    apt, folder = Apt(Cache(cache_root(os.environ)).apt), tmp_path_factory.mktemp("installed")
    packages = apt.closure("bookworm", ["fio", "stress-ng"])
    (folder / "debs").mkdir()
    for deb in apt.download(packages, folder / "debs").values():
        unpack(deb, folder / "root")
    return folder / "root"


@pytest.mark.slow
@pytest.mark.network
def test_programs_of_the_distribution_measure_beside_workers(project: UserProject, installed: Path) -> None:
    project.write(
        HEAD
        + """
include: ktstr:payloads
presets: {pair: 1n1l2c1t}
tests:
  measured:
    duration: 3s
    memory_mib: 512
    cgroups: [{name: beside, work: Bursty, workers: 1, burst: 1ms, sleep: 20ms}]
    payloads:
      - {payload: stress-ng, args: [--switch, 1, --timeout, 1s, --metrics-brief]}
      - {payload: fio, args: [--name=rw, --rw=randrw, --size=1m, --bs=4k, --ioengine=psync, --directory=/tmp,
         --thread, --clocksource=clock_gettime, --time_based, --runtime=300ms, --output-format=json]}
"""
    )
    libraries = installed / "usr/lib/x86_64-linux-gnu"
    found = {
        "PATH": f"{installed}/usr/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{libraries}:{libraries}/ceph:{installed}/lib/x86_64-linux-gnu",
    }
    code, report = project.test("test=measured", "preset=pair", **found)
    assert not verdicts(report["cells"])
    printed = {one["name"]: one for one in project.sidecar(report["cells"][0])["metrics"]}
    metrics = {name: {m["name"]: m["value"] for m in one["metrics"]} for name, one in printed.items()}
    assert metrics["stress-ng"]["bogo_ops_per_s"] > 0
    assert metrics["fio"]["jobs.0.read.iops"] > 0
    assert code == 0
