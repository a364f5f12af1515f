"""The order in which a job takes what it needs of the host. The machine only says when it was started."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.cancel import Cancel
from ktstr.cells.host_cpus import HostCpus
from ktstr.cells.job import ArtifactStore, CellJob
from ktstr.cells.measure import job_of
from ktstr.cells.run import Runner
from ktstr.host.cache import Cache
from ktstr.host.cpu_topology import HostTopology, read_topology
from ktstr.host.reserve import Reservation, exclude
from ktstr.record.machine import MachineEnd
from ktstr.vm.machine import Machine
from ktstr.vm.snapshot_store import SnapshotStore
from tests.cells.plans import cell, plan


@dataclass
class Clock:
    """A machine whose guests end at once."""

    accel: str = "kvm"
    digest: str = "f" * 64
    started: list[float] = field(default_factory=list)

    @contextmanager
    def start(
        self, spec: object, workdir: Path, limit_s: float, cancel: Cancel, place: object, snapshot: object
    ) -> Iterator[Any]:
        self.started.append(time.monotonic())
        end = MachineEnd("clean", "", 0.1, "clock", ())
        yield SimpleNamespace(wait=lambda: SimpleNamespace(end=end, channel=workdir / "none"))


def runner(machine: Clock, folder: Path) -> Runner:
    cache = Cache(folder / "cache")
    host_cpus = HostCpus({"KTSTR_LOCK_DIR": str(folder / "locks")})
    return Runner(ArtifactStore(cache, cache), cast(Machine, machine), host_cpus, SnapshotStore(cache))


def job(folder: Path, accel: str = "kvm") -> CellJob:
    return replace(job_of(plan(folder), cell(folder)), accel=accel, parked=None)


def all_taken(folder: Path) -> list[Reservation]:
    """Every LLC of this host, as runs in performance mode have them."""
    topologies = [HostTopology((replace(llc, cpus=(0, 1, 2)),), {0: 0, 1: 0, 2: 0}, {}) for llc in read_topology().llcs]
    return [exclude(1, 1, folder, topology=topology, allowed=[0, 1, 2]) for topology in topologies]


def test_a_guest_is_started_when_it_has_its_cpus_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    machine, taken, began = Clock(), all_taken(tmp_path / "locks"), time.monotonic()
    for reservation in taken:
        threading.Timer(1, reservation.release).start()
    result = runner(machine, tmp_path).run(job(tmp_path), tmp_path, Cancel())
    assert result.error is None
    assert [at - began >= 1 for at in machine.started] == [True]


@pytest.mark.parametrize("machine", [Clock(digest="0" * 64), Clock(accel="icount")])
def test_a_job_that_was_planned_for_another_machine_is_not_run(tmp_path: Path, machine: Clock) -> None:
    """Its result would be stored under inputs that it did not have."""
    result = runner(machine, tmp_path).run(job(tmp_path), tmp_path, Cancel())
    assert result.record is None and result.error is not None
    assert "planned for machine kvm ffffffffffff" in result.error.message
    assert machine.started == []
