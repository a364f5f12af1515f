"""Programs of a user's run beside workers, and what they print is judged and kept.

Costs a guest of one vCPU, four cells, 15 s.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
presets: {single: 1n1l1c1t}
payloads:
  bench:
    path: ./bench
    args: [bench, data/number]
    env: {GREETING: hello}
    files: [data]
    output: json
    metrics:
      run.number: {polarity: higher, unit: 1/s}
    checks:
      exists: [started.2]
      min: {run.number: 42}
      max: {greeting: 5}
      range: {run.included: [6.5, 7.5]}
  leaves: {path: ./leaves, args: [exit, "3"], checks: {exit_code: 3}}
tests:
  good:
    duration: 300ms
    include_files: [extra]
    cgroups: [{name: left, workers: 1}]
    payloads: [bench, {payload: leaves, cgroup: left}]
  wrong:
    duration: 300ms
    include_files: [extra]
    cgroups: [{name: left, workers: 1}]
    payloads: [{payload: bench, cgroup: left, args: [bench, data/number, "7"]}, leaves]
  custom:
    duration: 300ms
    include_files: [extra]
    steps:
      - cgroups:
          - name: left
            works:
              - {work: Custom, workers: 2, payload: bench, policy: batch, nice: 5}
              - {work: SpinWait, workers: 1}
        ops: [{op: run, payload: leaves}, {op: wait, payload: leaves, timeout: 5s}]
  late:
    duration: 300ms
    include_files: [extra]
    steps:
      - cgroups: [{name: left, workers: 1}]
        ops:
          - {op: run, payload: bench, args: [sleep, "60000"]}
          - {op: run, payload: leaves}
          - {op: wait, payload: bench, timeout: 50ms}
"""


@pytest.fixture
def programs(project: UserProject) -> None:
    """One that is dynamically linked, and a static one."""
    for folder, number in (("data", "42.25"), ("extra", "7")):
        (project.path / folder).mkdir()
        (project.path / folder / "number").write_text(number)
    source = str(ROOT / "tests/e2e/payload.c")
    for name, flags in (("bench", ()), ("leaves", ("-static",))):
        command = ["gcc", "-O1", "-Wall", "-Werror", *flags, "-o", str(project.path / name), source]
        subprocess.run(command, check=True)
    project.write(YAML)


def metrics(sidecar: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """What each run of a payload by this name left."""
    return [found for found in sidecar["metrics"] if found["name"] == name]


@pytest.mark.usefixtures("programs")
def test_what_a_payload_prints_and_how_it_ends_is_judged_and_kept(project: UserProject) -> None:
    code, found = project.test("preset=single", "test=good,wrong,custom,late")
    cells = {cell["name"].split("/")[0]: cell for cell in found["cells"]}
    reasons = {name: cell["reasons"] for name, cell in cells.items()}
    assert {name: cell["verdict"] for name, cell in cells.items()} == {
        "good": "pass", "wrong": "fail", "custom": "pass", "late": "fail",
    }, reasons  # fmt: skip
    assert code == 1
    (reason,) = cells["wrong"]["reasons"]
    assert reason == (
        "payload bench: exited with 7, expected exit code 0; it said: bench: reading data/number | "
        "bench: done, leaving with 7"
    )

    assert cells["late"]["reasons"][0] == "payload bench: still ran when the wait for its end was over"
    (late,) = metrics(project.sidecar(cells["late"]), "bench")
    assert (late["exit_code"], late["metrics"]) == (None, [])
    (log,) = [project.path / file for file in cells["wrong"]["files"] if file.endswith("payloads.log")]
    assert "==> bench (0), standard error <==\nbench: reading data/number\n" in log.read_text()

    sidecar = project.sidecar(cells["good"])
    assert sidecar["payload"] == "bench+leaves"
    (bench,), (leaves,) = metrics(sidecar, "bench"), metrics(sidecar, "leaves")
    assert (bench["exit_code"], leaves["exit_code"], leaves["metrics"]) == (0, 3, [])
    values = {one["name"]: one["value"] for one in bench["metrics"]}
    assert values == {
        "run.number": 42.25, "run.included": 7, "greeting": 5, "started.0": 0, "started.1": 0, "started.2": 1,
    }  # fmt: skip
    kept = {"name": "run.number", "value": 42.25, "source": "Json", "stream": "Stdout"}
    assert bench["metrics"][0] == {**kept, "polarity": "HigherBetter", "unit": "1/s"}

    for bench in metrics(project.sidecar(cells["custom"]), "bench"):  # SCHED_BATCH is 3
        values = {one["name"]: one["value"] for one in bench["metrics"]}
        assert (values["started.0"], values["started.1"], bench["exit_code"]) == (3, 5, 0)
    assert len(metrics(project.sidecar(cells["custom"]), "bench")) == 2

    assert project.doit("test", "preset=single", "test=good", "dry_run=1").stdout.count("up to date") == 1
    (project.path / "data/number").write_text("41")
    planned = project.doit("test", "preset=single", "test=good", "dry_run=1").stdout
    assert "up to date" not in planned and "run: no result for inputs" in planned
