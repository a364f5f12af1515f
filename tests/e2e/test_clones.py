"""Every cell under icount is a clone of a machine that has booted, and attached its scheduler: whoever made it, when
and however often, the result is the same.

Cost: seven boots and some twenty clones of 2 vCPUs, about 70 s (slow: more of each).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktstr.host.cache import cache_root
from tests.e2e.conftest import ROOT, UserProject, make_project
from tests.e2e.test_reproducible import address_space, busy_cores, different, guest_digest, measure, one_core

pytestmark = pytest.mark.e2e

MEMORY = 572  # MiB
# No other test has machines of these sizes: they can be removed, spoilt and counted.
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {ROOT / "schedulers" / "scx_ktstr"}}}
  dies: {{path: ./dies, args: [--why]}}
presets: {{pair: 1n1l2c1t}}
tests:
  mixed:
    duration: 150ms
    memory_mib: {MEMORY}
    cgroups:
      - {{name: spinners, workers: 3}}
      - {{name: pipes, work: PipeIo, workers: 2, burst_iters: 256}}
    checks: {{max_spread_pct: 100}}
  locked: {{duration: 50ms, memory_mib: 580, kargs: [lockdown=integrity], cgroups: [{{name: one, workers: 1}}]}}
  small: {{duration: 50ms, memory_mib: 590, cgroups: [{{name: one, workers: 1}}]}}
"""
EEVDF = ("test=mixed", "scheduler=eevdf")
SCX = ("test=mixed", "scheduler=scx_ktstr")
Json = dict[str, Any]


def machines(project: UserProject, scheduler: str) -> list[Path]:
    """The folders of this project's machines with a scheduler: those of its amount of memory."""
    listed = json.loads(project.doit("cache", "json=1").stdout)["machines"]
    return [
        cache_root(os.environ) / "machines" / one["key"]
        for one in listed
        if one["ram_bytes"] == MEMORY << 20 and f"/{scheduler}/" in str(one["name"])
    ]


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Iterator[UserProject]:
    """A project whose machines nobody else uses; they go with it."""
    made = make_project(tmp_path_factory.mktemp("clones"), lock)
    made.write(YAML)
    for scheduler in ("eevdf", "scx_ktstr"):
        forget(made, scheduler)
    yield made
    for scheduler in ("eevdf", "scx_ktstr"):
        forget(made, scheduler)


def forget(project: UserProject, scheduler: str) -> None:
    for folder in machines(project, scheduler):
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Again:
    """A cell that was measured once more, and what was said meanwhile."""

    whole: Json
    said: str


def again(project: UserProject, first: Json, *variables: str) -> Again:
    """Measure once more, on a machine that may have been made anew: the same."""
    done = project.doit("test", "json=1", "rerun=1", *variables)
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    whole = project.sidecar(cell)
    assert origin(whole) == origin(first), done.stderr
    assert different(whole, first) == []
    return Again(whole, done.stderr)


def origin(whole: Json) -> tuple[str, str]:
    return whole["origin"]["kind"], whole["origin"]["ram_digest"]


class TestTheSame:
    def test_whatever_else_the_host_does_and_wherever_it_runs(self, clones: UserProject, tmp_path: Path) -> None:
        """Three clones of each of two seeds; the first made the machine."""
        other = make_project(tmp_path, (clones.path / "ktstr.lock").read_text(encoding="utf-8"))
        other.write(YAML)
        digests = []
        for seed in ("seed=0", "seed=1"):
            first = measure(clones, *SCX, seed)
            with busy_cores():
                under = (*one_core(), *address_space(8), "setarch", "-R", "env", "MALLOC_ARENA_MAX=1", "LC_ALL=C")
                second = measure(clones, *SCX, seed, under=under)
            third = measure(other, *SCX, seed)
            assert different(first, second) == different(first, third) == []
            assert origin(first)[0] == "attached"
            digests.append(guest_digest(first))
        assert digests[0] != digests[1]

    def test_of_a_machine_that_two_processes_wanted_at_once(self, clones: UserProject) -> None:
        forget(clones, "eevdf")
        with ThreadPoolExecutor(2) as pool:
            words = [("test", "json=1", "rerun=1", *EEVDF, f"seed={seed}") for seed in (0, 1)]
            done = list(pool.map(lambda word: clones.doit(*word), words))
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        (made,) = machines(clones, "eevdf")
        cells = [json.loads(one.stdout)["cells"][0] for one in done]
        assert {origin(clones.sidecar(cell)) for cell in cells} == {("booted", ram_digest(made))}

    def test_of_one_that_was_made_again_since_it_was_spoilt_which_is_said(self, clones: UserProject) -> None:
        first = measure(clones, *SCX)
        (folder,) = machines(clones, "scx_ktstr")
        (ram,) = folder.glob("ram-*")
        data = bytearray(ram.read_bytes())
        data[len(data) // 2] ^= 1
        ram.write_bytes(data)
        said = again(clones, first, *SCX).said
        assert "damaged" in said and folder.name in said

    def test_after_a_kill_at_any_moment(self, clones: UserProject, slow: bool) -> None:
        """While the machine is made, kept, opened or cloned."""
        right = measure(clones, *EEVDF)
        moments = random.Random(11)
        for kill in range(20 if slow else 2):
            if kill % 2 == 0:
                forget(clones, "eevdf")
            victim = clones.start("test", "rerun=1", *EEVDF)
            time.sleep(moments.uniform(0.3, 5))
            os.killpg(victim.pid, signal.SIGKILL)
            victim.communicate()
            right = again(clones, right, *EEVDF).whole
        assert len(machines(clones, "eevdf")) == 1


def ram_digest(folder: Path) -> str:
    found: str = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))["snapshot"]["ram_digest"]
    return found


class TestWithoutOne:
    def test_a_cell_that_is_to_boot_is_another_and_says_so(self, clones: UserProject) -> None:
        clone, cold = measure(clones, *EEVDF), measure(clones, *EEVDF, "no_clone=1")
        assert cold["origin"] == {"kind": "cold", "ram_digest": None, "why_cold": None}
        assert cold["input_digest"] != clone["input_digest"]

    def test_a_kernel_that_lets_nobody_stop_the_machine_boots_and_says_why(self, clones: UserProject) -> None:
        locked = measure(clones, "test=locked", "scheduler=eevdf")
        assert locked["origin"]["kind"] == "cold"
        assert "lets no process use I/O ports: iopl: Operation not permitted" in locked["origin"]["why_cold"]

    def test_a_scheduler_that_dies_while_it_loads_fails_each_of_its_cells_and_is_started_once(
        self, clones: UserProject
    ) -> None:
        source = "int main(void) { return 3; }"
        subprocess.run(
            ["gcc", "-static", "-x", "c", "-", "-o", str(clones.path / "dies")], input=source, text=True, check=True
        )
        done = clones.doit("test", "json=1", "rerun=1", "test=small", "scheduler=dies", "seeds=0..3")
        cells = json.loads(done.stdout)["cells"]
        assert done.returncode == 1 and len(cells) == 4
        assert {cell["verdict"] for cell in cells} == {"fail"}
        assert len({tuple(cell["reasons"]) for cell in cells}) == 1
        assert "status 3" in cells[0]["reasons"][0]
        assert done.stderr.count("machine default/pair/dies/icount: starts") <= 1
        assert {clones.sidecar(cell)["sched_events"][-1]["kind"] for cell in cells} == {"exited"}


def test_cells_of_one_machine_are_shown(clones: UserProject) -> None:
    done = clones.doit(
        "test", "dry_run=1", "json=1", "rerun=1", "test=mixed", "scheduler=eevdf,scx_ktstr", "seeds=0..2"
    )
    shared = [cell["machine"] for cell in json.loads(done.stdout)["cells"]]
    assert {machine.split("/")[2]: shared.count(machine) for machine in shared} == {"eevdf": 3, "scx_ktstr": 3}
