"""What looking into a guest of 64 CPUs costs this host, 10 times a second, as a share of one core (budget: 5 %).

Measured on 8 CPUs and multiplied: an emulated guest of 64 under load takes two cores of a host ten minutes to come up.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.table import Row
from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.introspect.addresses import Addresses, NotUp
from ktstr.introspect.bpf import read_programs
from ktstr.introspect.members import Members
from ktstr.introspect.program import GuestProgram, open_program
from ktstr.introspect.runqueues import read_runqueues
from ktstr.introspect.sampling import Layout, Sampler
from ktstr.scenarios.program import OWN_CGROUP, Hold, Payload, Program, Release, Spawn, StartScheduler, Work, Worker
from ktstr.vm.machine import Guest
from ktstr.vm.qemu import QemuMachine
from tests.e2e.conftest import ROOT
from tests.e2e.programs import SCHEDULER, S, build_guests
from tests.introspect.guests import Facts, facts_in

CPUS = Topology.parse("2n4l2c1t")
TIMES = 64 // CPUS.cpus
PER_SECOND, BUDGET_PCT = 10, 5.0
SWEEPS = 100
WORKERS = 12


def rows() -> list[Row]:
    """The monitor's samples, runqueues as objects, and the profile of the scheduler's callbacks."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "guests").mkdir()
        (folder / "run").mkdir()
        lock = (ROOT / "ktstr.lock").read_text(encoding="utf-8")
        return _measured(facts_in(folder, build_guests(folder / "guests", lock)), folder / "run")


def _measured(facts: Facts, folder: Path) -> list[Row]:
    work = Work("SpinWait", OWN_CGROUP, tuple(Worker() for _ in range(WORKERS)))
    ops = (StartScheduler(0, 200 * S), Spawn(0), Release(), Hold(300 * S))
    program = Program(0, 900 * S, works=(work,), payloads=(Payload((SCHEDULER,)),), ops=ops)
    machine = QemuMachine(facts.guests.tool, "tcg", None)
    with machine.start(facts.spec(program, CPUS), folder, 600, Cancel()) as guest:
        sampler = Sampler(
            Addresses(guest.memory, facts.kernel.symbols),
            Layout.of(Members(facts.kernel.btf)),
            CPUS.cpus,
            facts.entry.hz,
        )
        _wait_for_workers(guest, sampler)
        guest.pause()  # its vCPUs would have the host's CPUs
        looked = open_program(guest.memory, facts.kernel)
        return [
            _row("monitor's samples of 64 CPUs, 10 a second", lambda: sampler.sample(0), BUDGET_PCT),
            _row("the same as objects, by drgn", lambda: _objects(looked)),
            _row("profile of the callbacks, 10 a second", lambda: read_programs(looked)),
        ]


def _objects(looked: GuestProgram) -> object:
    return read_runqueues(looked, None, runnable=False)


def _wait_for_workers(guest: Guest, sampler: Sampler) -> None:
    while not guest.ends_within(1.0):
        try:
            sample = sampler.sample(0)
        except NotUp:
            continue
        if sample.root and sum(cpu.nr_running for cpu in sample.cpus) >= WORKERS:
            return
    raise RuntimeError(f"the guest ended: {guest.wait().end.detail}")


def _row(what: str, sweep: Callable[[], object], budget: float | None = None) -> Row:
    """What is read for a dump has no budget: it is read once."""
    sweep()
    started = time.process_time()
    for _ in range(SWEEPS):
        sweep()
    each_s = (time.process_time() - started) / SWEEPS
    return Row(f"{what}, % of a core", 100 * each_s * PER_SECOND * TIMES, "%", None, budget)
