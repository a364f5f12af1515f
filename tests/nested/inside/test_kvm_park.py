"""Machines of ``accel=kvm`` that are parked, with their scheduler attached or without one, and clones of them."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.host.cache import Cache, cache_root
from ktstr.record.guest import GuestRecord
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Payload,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
)
from ktstr.vm.guest_topology import differences
from ktstr.vm.kvm import KvmMachine
from ktstr.vm.machine import GuestSpec, MachineResult
from ktstr.vm.messages import decode_channel
from ktstr.vm.snapshot import Parked, Snapshot, SnapshotFacts, Unparked, sealed_file
from ktstr.vm.vmm import VmmError
from ktstr.vm.vmm_build import planned
from tests.nested.guests import prepared

PAIR = Topology(1, 1, 2, 1)
MINUTES = 300_000_000_000
# What scx_ktstr asks of the kernel's watchdog. A clone takes each page that it touches from the snapshot, by a fault of
# 4 KiB, and each that it writes to after it was read is first flushed from the other vCPU's TLB. In a lab that has a
# quarter of its host both vCPUs do little else for up to 5 s, and no kworker checks in; a machine that boots, with
# pages of 2 MiB, is not slowed like that.
TIMEOUT_MS = 15000
IDLE_S = 6.0  # from when a machine was parked to its first clone, at least
HOST_S = 240


def setup(*words: str) -> bytes:
    """Attach scx_ktstr with these arguments."""
    scheduler = Payload(("/sched/bin/scx_ktstr", *words))
    return encode(Program(0, MINUTES, payloads=(scheduler,), ops=(StartScheduler(0, MINUTES // 2),)))


def spinners(seed: int) -> bytes:
    """More workers than there are CPUs for a moment, then the end of the scheduler that is there."""
    works = (Work("SpinWait", 0, tuple(Worker(1000 * i) for i in range(3))),)
    ops = (
        AddCgroup(0),
        Spawn(0),
        Release(),
        Hold(100_000_000),
        StopWorkers(),
        RemoveCgroups(),
        StopScheduler(MINUTES // 10),
    )
    return encode(Program(seed, MINUTES, (Cgroup("spin"),), works, ops=ops))


def machine() -> KvmMachine:
    return KvmMachine(planned(Cache(cache_root(os.environ)), os.environ))


def spec(setup: bytes, program: bytes = b"") -> GuestSpec:
    guests = prepared()
    return GuestSpec(guests.kernel, (guests.image, guests.scheduler), PAIR, 512, (), setup, program, parks=True)


def kept(parked: Parked) -> Snapshot:
    """As a store would hand it out, but for the digest, which takes long in a lab and no clone asks for."""
    facts = SnapshotFacts(parked.kind, "0" * 64, tuple(os.fstat(fd).st_size for fd in parked.memory), 0)
    state = sealed_file("state", parked.state)
    return Snapshot(facts, parked.memory, state, channel=parked.channel, console=parked.console)


def forget(snapshot: Snapshot) -> None:
    for fd in (*snapshot.memory, snapshot.state):
        os.close(fd)


def clone(folder: Path, wanted: GuestSpec, snapshot: Snapshot) -> MachineResult:
    folder.mkdir()
    with machine().start(wanted, folder, HOST_S, Cancel(), snapshot=snapshot) as running:
        return running.wait()


def end_at_once(folder: Path, snapshot: Snapshot) -> MachineResult:
    """Of a clone that has hardly begun."""
    with machine().start(spec(b"", spinners(9)), folder, HOST_S, Cancel(), snapshot=snapshot) as running:
        assert not running.ends_within(0.3)
        running.kill()
        return running.wait()


def guest(channel: bytes) -> GuestRecord:
    record, error = decode_channel(channel)
    assert error is None
    return record


def held() -> tuple[int, int]:
    return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


@dataclass(frozen=True)
class Attached:
    """A machine that was parked with scx_ktstr, from when to when on the host, and what that left in its folder."""

    parked: Parked
    snapshot: Snapshot
    began: float
    at: float
    files: list[str]


@pytest.fixture(scope="module")
def attached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attached]:
    folder = tmp_path_factory.mktemp("park")
    began = time.monotonic()
    parked = machine().park(spec(setup("--timeout-ms", str(TIMEOUT_MS))), folder, HOST_S, Cancel())
    assert isinstance(parked, Parked), parked
    snapshot = kept(parked)
    yield Attached(parked, snapshot, began, time.monotonic(), sorted(path.name for path in folder.iterdir()))
    forget(snapshot)


def test_a_machine_is_parked_with_its_scheduler(attached: Attached) -> None:
    parked, record = attached.parked, guest(attached.parked.channel)
    assert parked.kind == "attached"
    assert [event.kind for event in record.sched_events] == ["started", "attached"]
    assert not record.ended and record.errors == ()
    (memory,) = parked.memory
    status = os.fstat(memory)
    assert status.st_size == 512 << 20
    assert status.st_blocks * 512 < 400 << 20  # what the guest never touched are holes
    assert attached.files == ["channel.bin", "console.log"]


def test_clones_run_under_the_attached_scheduler_as_if_no_time_had_passed(attached: Attached, tmp_path: Path) -> None:
    """The guest's clock has gone on for as long as there was a machine at most."""
    time.sleep(max(0.0, attached.at + IDLE_S - time.monotonic()))
    for number in range(3):
        wanted = spec(setup("--timeout-ms", str(TIMEOUT_MS)), spinners(number))
        began = time.monotonic()
        result = clone(tmp_path / str(number), wanted, attached.snapshot)
        ran = attached.at - attached.began + time.monotonic() - began
        said = result.channel.read_bytes()
        record = guest(said)
        assert (result.end.reason, result.end.detail) == ("clean", "")
        assert result.end.kvm is not None and result.end.kvm.cloned
        assert said.startswith(attached.parked.channel)
        assert result.console.read_bytes().startswith(attached.parked.console)
        assert [event.kind for event in record.sched_events] == ["started", "attached", "detached"], record.sched_events
        assert record.ended and record.errors == ()
        uptime = re.search(r"\[ *(\d+\.\d+)\] reboot: Power down", result.console.read_text())
        assert uptime is not None and float(uptime[1]) < ran
        assert [worker.completed for worker in record.workers] == [True] * 3
        assert all(worker.work_units > 0 for worker in record.workers)


def test_a_clone_leaves_nothing_and_its_snapshot_as_it_was(attached: Attached, tmp_path: Path) -> None:
    (memory,) = attached.snapshot.memory
    before = held(), os.pread(memory, 64 << 20, 0)
    assert end_at_once(tmp_path, attached.snapshot).end.reason == "killed"
    assert (held(), os.pread(memory, 64 << 20, 0)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == attached.files


def test_a_snapshot_of_another_machine_is_refused(attached: Attached, tmp_path: Path) -> None:
    wanted = spec(b"", spinners(0))
    others = replace(wanted, memory_mib=768), replace(wanted, topology=Topology(1, 2, 1, 1))
    for other in others:
        with pytest.raises(VmmError, match="a snapshot's") as caught:
            machine().start(other, tmp_path, 10, Cancel(), snapshot=attached.snapshot)
        assert caught.value.errno == errno.EINVAL
    whole = attached.parked.state
    flipped = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
    for state in (whole[:-8], flipped, b""):
        with_state = kept(replace(attached.parked, state=state))
        with pytest.raises(VmmError, match="snapshot"):
            machine().start(wanted, tmp_path, 10, Cancel(), snapshot=with_state)
        os.close(with_state.state)


def test_a_scheduler_that_dies_while_it_loads_leaves_its_words(tmp_path: Path) -> None:
    found = machine().park(spec(setup("--timeout-ms", "0")), tmp_path, HOST_S, Cancel())
    assert isinstance(found, Unparked)
    assert found.cold is None
    assert found.end is not None and found.end.reason == "clean", found.end
    record = guest(found.channel)
    assert [(event.kind, event.code) for event in record.sched_events] == [("started", 0), ("exited", 2)]
    assert "--timeout-ms: found '0', expected a whole number from 1 to 30000" in record.sched_log
    assert record.ended


def test_a_guest_that_never_waits_is_ended(tmp_path: Path) -> None:
    wanted = replace(spec(b""), initrd_parts=(prepared().hostile,))
    found = machine().park(wanted, tmp_path, 5, Cancel())
    assert isinstance(found, Unparked)
    assert found.end is not None and found.cold is None


def test_a_machine_without_a_scheduler_is_parked_booted(tmp_path: Path) -> None:
    """Each clone has its own program and the right time."""
    (tmp_path / "park").mkdir()
    parked = machine().park(spec(b""), tmp_path / "park", HOST_S, Cancel())
    assert isinstance(parked, Parked) and parked.kind == "booted"
    snapshot = kept(parked)
    result = clone(tmp_path / "clone", spec(b"", encode(Program(0, MINUTES))), snapshot)
    forget(snapshot)
    record = guest(result.channel.read_bytes())
    assert result.end.reason == "clean"
    assert record.ended and record.errors == ()
    assert differences(record, PAIR, 512) == []
