"""What a scheduler finds in its guest, and what is said of a guest that was too small or too slow for it.

Cost: three guests of 1 vCPU, about 30 s.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  looks:
    path: ./scx_looks
    args: [look, conf/layers.json]
    files: conf
    env: {RUST_LOG: scx_looks=debug, GREETING: hello world}
  eats: {path: ./scx_looks, args: [eat]}
  sleeps: {path: ./scx_looks, args: [sleep], attach_timeout: 250ms}
tests:
  one: {duration: 100ms, cgroups: [{name: spin, workers: 1}]}
presets: {single: 1n1l1c1t}
"""


@pytest.fixture
def cells(project: UserProject) -> dict[str, dict[str, Any]]:
    """All three cells of one run, by their scheduler."""
    (project.path / "conf").mkdir()
    (project.path / "conf/layers.json").write_text('[{"name": "all"}]\n')
    source = ROOT / "tests/e2e/looks_around.c"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-o", str(project.path / "scx_looks"), str(source)]
    subprocess.run(command, check=True)
    project.write(YAML)
    code, found = project.test("test=one", "preset=single", "scheduler=looks,eats,sleeps")
    assert code == 3
    return {cell["name"].split("/")[3]: cell for cell in found["cells"]}


def log_of(cell: dict[str, Any]) -> list[str]:
    (path,) = [file for file in cell["files"] if file.endswith("sched.log")]
    return Path(path).read_text().splitlines()


def test_a_scheduler_finds_what_it_expects_and_a_guest_that_fails_it_is_an_error(
    cells: dict[str, dict[str, Any]], project: UserProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    looks = cells["looks"]
    assert looks["verdict"] == "fail", "it exits before it attaches"
    log = log_of(looks)
    assert {"host ktstr", "folder /sched/files", '[{"name": "all"}]', "red"} <= set(log)
    assert {
        "env GREETING=hello world", "env NO_COLOR=1", "env HOME=/tmp", "env PATH=/sched/bin:/bin:/usr/bin",
        "env RUST_LOG=scx_looks=debug,scx_utils::libbpf_logger=warn",
    } <= set(log)  # fmt: skip
    mounted = {tuple(line.split()[1:3]) for line in log if line.count(" ") == 5}
    assert {
        ("/dev", "devtmpfs"), ("/tmp", "tmpfs"), ("/run", "tmpfs"), ("/sys/fs/bpf", "bpf"),
        ("/sys/kernel/debug", "debugfs"), ("/sys/kernel/tracing", "tracefs"),
    } <= mounted  # fmt: skip
    sidecar = project.sidecar(looks)
    assert f"config /boot/config-{sidecar['kernel_version']}" in log
    assert sidecar["load_ns"] is None

    assert cells["eats"]["verdict"] == "error"
    (reason,) = cells["eats"]["reasons"]
    assert reason.startswith("the guest was too small to load the scheduler with memory_mib=")
    assert "Out of memory" in reason and reason.endswith(" in the test raises it")

    assert cells["sleeps"]["verdict"] == "error"
    (reason,) = cells["sleeps"]["reasons"]
    assert reason.startswith("sleeps did not attach within 0.25 s of emulated time; attach_timeout: ")
    assert reason.endswith("its last words: loading")
