"""A published scheduler, as its users get it: built by this machine's cargo, loaded and run.

Cost: one guest of 4 vCPUs, about 20 s; where the cache has not built the crate yet, about 8 minutes of a CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ktstr.files import file_sha256
from ktstr.host.cache import cache_root
from tests.e2e.conftest import UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.network, pytest.mark.timeout(1800)]

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  bpfland: {crate: scx_bpfland@1.1.4}
  nobody: {crate: scx_bpfland@999.0.0}
tests:
  cgroup_steady:
    duration: 2s
    cgroups: [{name: left, workers: 4}, {name: right, workers: 4}]
    checks: {max_spread_pct: 20}
"""
WHERE = ("test=cgroup_steady", "preset=tiny-2llc")


def entries() -> dict[Path, int]:
    """When each entry of this crate was made, by its metadata."""
    found = cache_root(os.environ).glob("schedulers/*/metadata.json")
    ours = (path for path in found if json.loads(path.read_text()).get("version") == "1.1.4")
    return {path: path.stat().st_mtime_ns for path in ours if path.with_name("scx_bpfland").is_file()}


def test_a_published_scheduler_is_built_once_attaches_and_runs(project: UserProject) -> None:
    project.write(YAML)
    code, found = project.test(*WHERE, "scheduler=bpfland", timeout="1700")
    (cell,) = found["cells"]
    assert (code, cell["verdict"]) == (0, "pass"), cell["reasons"]
    sidecar = project.sidecar(cell)
    assert [event["kind"] for event in sidecar["sched_events"]] == ["started", "attached", "detached"]
    assert sidecar["resolve_source"] == "auto_built"
    assert 0 < sidecar["load_ns"] < 60_000_000_000

    made = entries()
    assert made
    for metadata in made:
        facts = json.loads(metadata.read_text())
        assert file_sha256(metadata.with_name("scx_bpfland")) == facts["binary_sha256"]
    again = project.doit("image", *WHERE, "scheduler=bpfland", "offline=1")
    assert (again.returncode, entries()) == (0, made), again.stderr


def test_a_version_that_nobody_published_is_an_error_of_its_own_cells(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("scheduler", *WHERE, "scheduler=bpfland,nobody")
    assert done.returncode == 2
    assert "ktstr.yaml:5:11: crate scx_bpfland@999.0.0: found no such crate or version:" in done.stderr
    assert "could not find `scx_bpfland`" in done.stderr and "Traceback" not in done.stderr
    assert "scx_bpfland@1.1.4" not in done.stderr.partition("error:")[2]
