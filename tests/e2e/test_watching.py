"""Cells are watched: what is seen is the same in each run, and what is wrong with a scheduler is named.

Cost: 13 clones of machines with 4 vCPUs, about 60 s.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject

pytestmark = pytest.mark.e2e

SOURCE = ROOT / "schedulers" / "scx_ktstr"
FAULTS = {
    "stalls": ["--stall-after", "0"],
    "starves": ["--starve", "right"],
    "loses": ["--lose-wakeups", "3"],
    "floods": ["--flood-local"],
}
TIMEOUT = ["--timeout-ms", "20000"]  # so long that the kernel does not end it first
BROKEN = "".join(
    f"  {name}: {{source: {SOURCE}, args: {json.dumps(args + TIMEOUT)}}}\n" for name, args in FAULTS.items()
)
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  good: {{source: {SOURCE}}}
{BROKEN}
presets: {{quad: 1n1l4c1t}}
tests:
  even: # more workers than CPUs
    duration: 1500ms
    cgroups: [{{name: left, workers: 4}}, {{name: right, workers: 4}}]
    checks: {{max_spread_pct: 40}}
    captures: 5
    temporal: [never local_dsq > 20, eventually idle_cpus == 0 within 500ms, stays imbalance <= 3 after 500ms]
  sleepers: # fewer than CPUs: whoever wakes finds one that idles
    duration: 1500ms
    cgroups: [{{name: left, work: Bursty, workers: 3, burst: 5ms, sleep: 20ms}}]
    checks: {{not_starved: false}}
"""


def cell(project: UserProject, scheduler: str, test: str = "even", *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cell as it was told, and its record."""
    project.write(YAML)
    _code, told = project.test(f"test={test}", f"scheduler={scheduler}", "preset=quad", *more)
    (found,) = told["cells"]
    folder = project.path / "target/ktstr/.cells" / project.sidecar(found)["input_digest"][:16]
    record: dict[str, Any] = json.loads((folder / "record.json").read_text())["record"]
    return found, record


@pytest.mark.parametrize("scheduler", ["eevdf", "good"])
def test_samples_are_the_same_in_each_run_and_a_good_scheduler_breaks_nothing(
    project: UserProject, scheduler: str
) -> None:
    runs = [cell(project, scheduler, "even", "rerun=1") for _ in range(3)]
    monitors = [{**record["monitor"], "cost_s": None} for _, record in runs]
    assert monitors[0] == monitors[1] == monitors[2]
    assert [record["guest"] for _, record in runs] == [runs[0][1]["guest"]] * 3
    found, record = runs[0]
    assert (found["verdict"], found["reasons"]) == ("pass", [])
    samples, begin = record["monitor"]["samples"], record["monitor"]["begin_ns"]
    assert [s["at_ns"] % 100_000_000 for s in samples[2:]] == [0] * len(samples[2:])
    assert samples[0]["at_ns"] < begin < samples[2]["at_ns"]
    sidecar = project.sidecar(found)
    assert 14 <= sidecar["monitor"]["total_samples"] <= 16
    assert (sidecar["periodic_fired"], sidecar["periodic_target"]) == (5, 5)
    (phase,) = sidecar["stats"]["phases"]
    assert phase["sample_count"] == sidecar["monitor"]["total_samples"]
    assert ("event_deltas" in sidecar["monitor"]) == (scheduler == "good")
    names = {task["cgroup"] for task in record["monitor"]["tasks"]}
    assert {"/ktstr/left", "/ktstr/right"} <= names


NAMED = {
    "stalls": ("even", ["work conservation: ", "bounded wait: "]),
    "starves": ("even", ["bounded wait: worker/", "cgroup share: cgroup /ktstr/right got "]),
    "loses": ("sleepers", ["work conservation: ", " in DSQ 0x2: "]),
    "floods": ("even", ["work conservation: ", "in CPU 0's local DSQ", "imbalance "]),
}


@pytest.mark.parametrize("scheduler", sorted(FAULTS))
def test_what_is_wrong_with_a_scheduler_is_named(project: UserProject, scheduler: str) -> None:
    test, names = NAMED[scheduler]
    found, _ = cell(project, scheduler, test)
    text = "\n".join(found["reasons"])
    assert found["verdict"] == "fail"
    for name in names:
        assert name in text, text


def test_a_starved_worker_is_told_with_where_it_waited_and_who_ran(project: UserProject) -> None:
    found, _ = cell(project, "starves")
    (told, *_) = [reason for reason in found["reasons"] if "stuck on CPU" in reason and "samples:" in reason]
    assert "in DSQ 0x1" in told and "meanwhile its CPUs 0-3 ran worker/" in told and "of /ktstr/left" in told
