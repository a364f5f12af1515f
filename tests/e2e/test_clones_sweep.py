"""Clones of many machines, seeds and schedulers, each time the same: the long form of ``test_clones``.

``KTSTR_SWEEP_PASSES`` passes (10) over 4 machines x 3 schedulers x 10 seeds, each under another disturbance; before
every third the machines are made anew. About 4 minutes a pass on two free CPUs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from ktstr.host.cache import cache_root
from ktstr.record.codec import decode
from ktstr.record.sidecar import Sidecar
from ktstr.results import sidecar as sidecars
from tests.e2e.conftest import ROOT, UserProject, make_project
from tests.e2e.test_reproducible import address_space, busy_cores, one_core

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

MEMORY = 1068  # MiB: no other test's machines are of this size
PRESETS = {"pair": "1n1l2c1t", "smt": "1n2l2c2t", "nodes": "2n2l2c1t", "sixteen": "2n4l4c1t"}
SCHEDULERS = ("eevdf", "scx_ktstr", "scx_bpfland")
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {ROOT / "schedulers" / "scx_ktstr"}}}
  scx_bpfland: {{crate: scx_bpfland@1.1.4}}
presets: {json.dumps(PRESETS)}
tests:
  mixed:
    duration: 300ms
    memory_mib: {MEMORY}
    cgroups:
      - {{name: spinners, workers: 5}}
      - {{name: pipes, work: PipeIo, workers: 4, burst_iters: 256}}
      - {{name: sleepers, work: Bursty, workers: 2, burst: 2ms, sleep: 5ms}}
    checks: {{max_spread_pct: 100}}
"""
DISTURBED: tuple[tuple[str, ...], ...] = (
    (),
    address_space(24),
    ("setarch", "-R"),
    ("env", "MALLOC_ARENA_MAX=1", "LC_ALL=C", "TZ=Asia/Tokyo"),
    ("nice", "-n", "15"),
)


def digests(project: UserProject, under: tuple[str, ...], *, busy: bool, alone: bool) -> dict[str, tuple[str, str]]:
    """Of every cell: its guest's bytes, and its machine's RAM."""
    words = ("test", "json=1", "rerun=1", "test=mixed", "preset=" + ",".join(PRESETS), "seeds=0..9")
    command = [*under, *(one_core() if alone else ()), *project.command(*words, "scheduler=" + ",".join(SCHEDULERS))]
    with ExitStack() as held:
        if busy:
            held.enter_context(busy_cores())
        done = subprocess.run(
            command, cwd=project.path, env=project.environment(), capture_output=True, text=True, check=False
        )
    cells = json.loads(done.stdout)["cells"]
    assert len(cells) == len(PRESETS) * len(SCHEDULERS) * 10
    found = {}
    for cell in cells:
        whole = decode(Sidecar, project.sidecar(cell))
        assert whole.origin is not None and whole.origin.ram_digest is not None
        found[cell["name"]] = (sidecars.guest_digest(whole), whole.origin.ram_digest)
    return found


def forget() -> None:
    for metadata in (cache_root(os.environ) / "machines").glob("*/metadata.json"):
        snapshot = json.loads(metadata.read_text(encoding="utf-8")).get("snapshot")
        if snapshot and sum(snapshot["pieces"]) == MEMORY << 20:
            shutil.rmtree(metadata.parent)


def test_every_seed_is_itself_on_every_machine_whatever_the_host_does(tmp_path: Path, lock: str) -> None:
    passes = int(os.environ.get("KTSTR_SWEEP_PASSES", "10"))
    forget()
    first: dict[str, tuple[str, str]] = {}
    for number in range(passes):
        if number % 3 == 2:
            forget()
        folder = tmp_path / f"{number}{'x' * number}"
        folder.mkdir()
        project = make_project(folder, lock)
        project.write(YAML)
        found = digests(project, DISTURBED[number % 5], busy=number % 2 == 1, alone=number % 4 == 3)
        first = first or found
        assert {name for name in found if found[name] != first[name]} == set(), f"pass {number}"
    forget()
    guests = {guest for guest, _ in first.values()}
    assert len(guests) == len(first), "two seeds gave the same"
