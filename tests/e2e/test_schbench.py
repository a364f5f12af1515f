"""The work type Schbench beside schbench itself, with the same load in the same guest: their percentiles agree.

schbench (git.kernel.org/pub/scm/linux/kernel/git/mason/schbench.git) is not of this repository: build it with
``gcc -O2 -static``, and name the program in KTSTR_SCHBENCH. Slow: two cells of two vCPUs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

WORKERS, KIB, OPERATIONS, SECONDS = 2, 64, 2, 2
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
presets: {{two: 1n1l2c1t}}
payloads:
  schbench:
    path: ./schbench
    args: ["-m1", "-t{WORKERS}", "-F{KIB}", "-n{OPERATIONS}", "-r{SECONDS}", "-j-"]
    output: json
tests:
  theirs:
    duration: 100ms
    steps:
      - cgroups: [{{name: none, workers: 0}}]
        ops: [{{op: run, payload: schbench}}, {{op: wait, payload: schbench, timeout: 30s}}]
  ours:
    duration: {SECONDS}s
    checks: {{not_starved: false}}  # what is compared is not judged
    cgroups:
      - name: crew
        work: Schbench
        threads: true
        workers: {WORKERS + 1}
        worker_threads: {WORKERS}
        cache_footprint_kib: {KIB}
        operations: {OPERATIONS}
"""


@pytest.fixture
def schbench() -> Path:
    path = os.environ.get("KTSTR_SCHBENCH")
    if not path:
        pytest.fail("KTSTR_SCHBENCH names no schbench: build it with gcc -O2 -static, and set it to the program")
    return Path(path)


def printed(sidecar: dict[str, Any]) -> dict[str, float]:
    (found,) = sidecar["metrics"]
    assert found["exit_code"] == 0
    return {one["name"].removeprefix("int."): one["value"] for one in found["metrics"]}


def test_percentiles_are_those_of_schbench(project: UserProject, schbench: Path) -> None:
    shutil.copy(schbench, project.path / "schbench")
    project.write(YAML)
    code, found = project.test("test=theirs,ours", "preset=two", timeout="3000")
    assert code in (0, 1) and len(found["cells"]) == 2, found
    cells = {cell["name"].split("/")[0]: project.sidecar(cell) for cell in found["cells"]}
    theirs, ours = printed(cells["theirs"]), cells["ours"]["stats"]["ext_metrics"]
    pairs = {
        name: (ours[f"{mine}_whole"], theirs[f"{its}"])
        for mine, its, name in (
            ("request_p50_latency_us", "request_latency_pct50.0", "request p50"),
            ("request_p90_latency_us", "request_latency_pct90.0", "request p90"),
            ("request_p99_latency_us", "request_latency_pct99.0", "request p99"),
            ("wakeup_p99_latency_us", "wakeup_latency_pct99.0", "wakeup p99"),
        )
    }
    print(pairs)
    for name, within in (("request p50", 0.15), ("request p90", 0.15), ("request p99", 0.25)):
        mine, its = pairs[name]
        assert abs(mine / its - 1) < within, pairs
    # schbench also samples waits in which nobody slept.
    mine, its = pairs["wakeup p99"]
    assert mine < 2 * its + 50 and its < 2 * mine + 50, pairs  # us; whole ones in schbench
