"""Under icount the same inputs give the same bytes, on any host and whatever else it does.

Cost: four guests of 2 vCPUs, about 20 s (slow: eight guests, one with 8 vCPUs).

``golden.json`` holds what one cell gave with the pinned tools. After a change of the agent's sources, of
the pins or of the sidecar's keys, look at the difference and record anew::

    python -m tests.e2e.test_reproducible
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ktstr.host.cache import Cache, cache_root
from ktstr.pins.lock import read_lock
from ktstr.record.codec import decode
from ktstr.record.sidecar import Sidecar
from ktstr.resources import c_dir
from ktstr.results import sidecar as sidecars
from ktstr.vm import agent, steady
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = pytest.mark.e2e

GOLDEN = Path(__file__).parent / "golden.json"
YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers: {{scx_ktstr: {{source: {ROOT / "schedulers" / "scx_ktstr"}}}}}
presets: {{pair: 1n1l2c1t}}
tests:
  golden: # spinners, yielders and wakeups on two vCPUs
    duration: 300ms
    cgroups:
      - {{name: spinners, workers: 3}}
      - {{name: pipes, work: PipeIo, workers: 2, burst_iters: 256}}
      - {{name: forkers, work: ForkExit, workers: 1, nice: 5}}
    checks: {{max_spread_pct: 100}}
"""
CELL = ("test=golden", "preset=pair", "scheduler=eevdf", "accel=icount", "seed=7")
Json = dict[str, Any]


def measure(project: UserProject, *variables: str, under: Sequence[str] = ()) -> Json:
    """The sidecar of one fresh run; ``under`` is a command that starts ours."""
    command = [*under, *project.command("test", "json=1", "rerun=1", *variables)]
    done = subprocess.run(
        command, cwd=project.path, env=project.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["ran"] is True
    return project.sidecar(cell)


def guest_identity(whole: Json) -> bytes:
    return sidecars.guest_identity(decode(Sidecar, whole))


def guest_digest(whole: Json) -> str:
    return sidecars.guest_digest(decode(Sidecar, whole))


@contextmanager
def busy_cores() -> Iterator[None]:
    """Something else computes on every core."""
    count = os.cpu_count() or 1
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


@contextmanager
def memory_cgroup(limit_mib: int) -> Iterator[Path | None]:
    """A version 1 or 2 memory cgroup with this limit; None where this user may make none."""
    for root, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        folder = root / f"ktstr-test-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / name).write_text(str(limit_mib << 20))
        except OSError:
            folder.rmdir()
            continue
        try:
            yield folder
        finally:
            folder.rmdir()
        return
    yield None


def one_core() -> tuple[str, ...]:
    """Starts a command on the last CPU we may use."""
    return ("taskset", "-c", str(max(os.sched_getaffinity(0))))


def address_space(gib: int) -> tuple[str, ...]:
    """Starts a command under RLIMIT_AS."""
    return ("prlimit", f"--as={gib << 30}")


def different(one: Json, other: Json) -> list[str]:
    """The keys that two sidecars of the same guest should not differ in."""
    a, b = (json.loads(guest_identity(sidecar)) for sidecar in (one, other))
    return [key for key in {**a, **b} if a.get(key) != b.get(key)]


class Pinned:
    """What decides a guest's bytes, as the repository has it: recorded in ``golden.json``."""

    def __init__(self) -> None:
        lock = read_lock(ROOT / "ktstr.lock")
        cc = agent.compiler(os.environ)
        self.compiler = agent.compiler_version(cc)
        inputs = agent.inputs_digest(c_dir(), agent.toolchain_identity(cc))
        binary = Cache(cache_root(os.environ)).entry("agents", inputs) / "agent"
        self.agent = hashlib.sha256(binary.read_bytes()).hexdigest()
        self.inputs = {
            "tools": lock.tools["qemu"].digest,
            "kernel": lock.kernels["deb:forky/cloud-amd64"].digest,
            "agent_sources": agent.inputs_digest(c_dir(), "any compiler"),
            "steady": steady.planned(c_dir(), cc, Cache(cache_root(os.environ))).identity,
            "declaration": hashlib.sha256(YAML.replace(str(ROOT), "").encode()).hexdigest(),
            "cell": list(CELL),
        }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    made = make_project(tmp_path_factory.mktemp("reproducible"), lock)
    made.write(YAML)
    return made


@pytest.fixture(scope="module")
def quiet(project: UserProject) -> Json:
    """The cell on a host that does nothing else for us."""
    return measure(project, *CELL)


class TestSeedSeven:
    def test_a_busy_core_and_less_memory_change_nothing(self, project: UserProject, quiet: Json) -> None:
        with busy_cores():
            again = measure(project, *CELL, under=(*one_core(), *address_space(4)))
        assert different(quiet, again) == []
        assert guest_identity(quiet) == guest_identity(again)

    @pytest.mark.slow
    def test_five_runs_are_the_same(self, project: UserProject, quiet: Json) -> None:
        digests = [guest_digest(quiet), guest_digest(measure(project, *CELL, under=address_space(16)))]
        with busy_cores():
            digests.append(guest_digest(measure(project, *CELL, under=(*one_core(), "nice", "-n", "10"))))
        with memory_cgroup(1024) as folder:
            if folder is None:
                under: tuple[str, ...] = ("prlimit", f"--data={2 << 30}")
            else:
                under = ("sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh")
            digests.append(guest_digest(measure(project, *CELL, under=under)))
        digests.append(guest_digest(measure(project, *CELL, under=("env", "MALLOC_ARENA_MAX=1", "LC_ALL=C"))))
        assert digests == [digests[0]] * 5

    @pytest.mark.slow
    @pytest.mark.parametrize("scheduler", ["eevdf", "scx_ktstr"])
    def test_eight_vcpus_are_the_same_too(self, project: UserProject, scheduler: str) -> None:
        cell = ("test=golden", "preset=smt-2llc", f"scheduler={scheduler}", "accel=icount", "seed=7")
        first = measure(project, *cell)
        with busy_cores():
            again = measure(project, *cell, under=(*one_core(), *address_space(4)))
        assert different(first, again) == []


def test_seed_eight_perturbs_and_measures_something_else(project: UserProject, quiet: Json) -> None:
    other = measure(project, *CELL[:-1], "seed=8")
    assert quiet["perturbations"]["seed"] == 7 and other["perturbations"]["seed"] == 8
    assert quiet["perturbations"]["start_offsets_ns"] != other["perturbations"]["start_offsets_ns"]
    keys = ("work_units", "cpu_time_ns", "schedstat_run_delay_ns", "schedstat_run_count")
    assert [[w[k] for k in keys] for w in quiet["workers"]] != [[w[k] for k in keys] for w in other["workers"]]


def test_the_committed_digest(project: UserProject, quiet: Json) -> None:
    """By the agent's binary: another compiler or C library makes another agent, which has a digest of its own.

    Where nobody recorded that one, or the archive dropped a pinned package, two runs are compared
    instead, and said to be.
    """
    golden, here = json.loads(GOLDEN.read_text(encoding="utf-8")), Pinned()
    stale = [key for key, value in here.inputs.items() if golden["inputs"].get(key) != value]
    assert not stale, f"{GOLDEN.name} was recorded with other {', '.join(stale)}: python -m tests.e2e.test_reproducible"
    known = {record["agent"]: record for record in golden["records"]}
    pinned = read_lock(project.path / "ktstr.lock") == read_lock(ROOT / "ktstr.lock")
    if pinned and here.agent in known:
        assert guest_digest(quiet) == known[here.agent]["guest"], (
            f"the guest's bytes changed with the same tools, kernel, agent ({here.compiler}) and cell"
        )
        return
    why = f"for the agent of {here.compiler}" if pinned else "for the packages that took the place of pinned ones"
    sys.stdout.write(f"no digest was recorded {why}: comparing two runs instead\n")
    assert different(quiet, measure(project, *CELL)) == []


def record() -> None:
    """Measure twice and write ``golden.json``; records of other compilers stay while the inputs do."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder), (ROOT / "ktstr.lock").read_text(encoding="utf-8"))
        project.write(YAML)
        one, other = (measure(project, *CELL) for _ in range(2))
        assert different(one, other) == [], "two runs differ: nothing was recorded"
        here = Pinned()
    old = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    kept = old.get("records", []) if old.get("inputs") == here.inputs else []
    mine = {"agent": here.agent, "compiler": here.compiler, "guest": guest_digest(one)}
    records = [*(r for r in kept if r["agent"] != here.agent), mine]
    text = json.dumps({"inputs": here.inputs, "records": records}, indent=1)
    temp = GOLDEN.with_suffix(".tmp")
    temp.write_text(text + "\n", encoding="utf-8")
    shutil.move(temp, GOLDEN)


if __name__ == "__main__":
    record()
