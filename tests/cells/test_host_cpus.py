from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.cells import host_cpus as module
from ktstr.cells.host_cpus import HostCpus
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.host.cpu_topology import HostTopology, Llc, allowed_cpus, read_topology
from ktstr.host.reserve import Busy, exclude
from ktstr.vm.machine import GuestSpec

GUEST = GuestSpec(Path("vmlinux"), (), Topology(1, 1, 1, 1), 128)


def held_by(folder: Path, waits: list[str] | None = None, cap: int | None = None) -> HostCpus:
    return HostCpus({"KTSTR_LOCK_DIR": str(folder)}, cap, (waits if waits is not None else []).append)


def test_guests_share_and_give_back(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    cpus = held_by(tmp_path)
    with cpus.hold(GUEST, 1, Cancel()) as one, cpus.hold(GUEST, 1, Cancel()) as other:
        assert (one.performance, other.performance) == (None, None)
        assert set(one.cpus or ()) | set(other.cpus or ()) <= before
    assert os.sched_getaffinity(0) == before
    for llc in read_topology().llcs:
        exclude(1, 1, tmp_path, topology=one_of(llc), allowed=[0, 1, 2]).release()


def test_a_cap_narrows_where_the_guest_runs(tmp_path: Path) -> None:
    with held_by(tmp_path, cap=1).hold(GUEST, 1, Cancel()) as place:
        assert place.cpus is not None
        assert len(place.cpus) == 1
    with (
        pytest.raises(InputError, match="cpu_cap=4096: exceeds"),
        held_by(tmp_path, cap=4096).hold(GUEST, 1, Cancel()),
    ):
        pass


def test_a_guest_waits_for_one_that_has_the_host_to_itself(tmp_path: Path) -> None:
    waits: list[str] = []
    alone = [exclude(1, 1, tmp_path, topology=one_of(llc), allowed=[0, 1, 2]) for llc in read_topology().llcs]
    for reservation in alone:
        threading.Timer(0.3, reservation.release).start()
    started = time.monotonic()
    with held_by(tmp_path, waits).hold(GUEST, 30, Cancel()):
        assert time.monotonic() - started >= 0.2
    assert len(waits) == 1
    assert str(os.getpid()) in waits[0]


def one_of(llc: Llc) -> HostTopology:
    """A host that has this LLC alone, and CPUs enough in it."""
    return HostTopology((Llc(llc.index, (0, 1, 2), 0),), {0: 0, 1: 0, 2: 0}, {})


def test_waiting_ends_with_the_time_allowed_or_when_cancelled(tmp_path: Path) -> None:
    cancelled = Cancel()
    cancelled.set()
    with ExitStack() as stack:
        for llc in read_topology().llcs:
            stack.enter_context(exclude(1, 1, tmp_path, topology=one_of(llc), allowed=[0, 1, 2]))
        with pytest.raises(Busy, match="could not reserve"), held_by(tmp_path).hold(GUEST, 0.1, Cancel()):
            pass
        with pytest.raises(Cancelled), held_by(tmp_path).hold(GUEST, 600, cancelled):
            pass


def test_performance_mode_moves_what_serves_a_guest_off_its_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = sorted(allowed_cpus())
    if len(allowed) < 2:
        pytest.fail("needs 2 CPUs")
    host = HostTopology((Llc(0, tuple(allowed), 0),), dict.fromkeys(allowed, 0), {})
    monkeypatch.setattr(module, "read_topology", lambda: host)
    spec = GuestSpec(GUEST.kernel, (), GUEST.topology, 128, performance=True)
    with held_by(tmp_path).hold(spec, 1, Cancel()) as place:
        performance = place.performance
        assert performance is not None
        assert place.cpus == (performance.service_cpu,)
        assert performance.service_cpu not in performance.pin
        with pytest.raises(Busy), held_by(tmp_path).hold(GUEST, 0.1, Cancel()):
            pass
