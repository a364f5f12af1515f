"""Whole guests of ``accel=kvm``: how each ends, what it leaves, and that nothing of it stays."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.cells.host_cpus import HostCpus
from ktstr.config.topology import Node, Topology, of_nodes
from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root
from ktstr.host.cpu_topology import HostTopology, Llc, read_topology
from ktstr.host.reserve import exclude
from ktstr.record.guest import GuestRecord
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Hold, Program
from ktstr.vm.guest_files import channel_cap
from ktstr.vm.guest_memory import BadAddress
from ktstr.vm.guest_topology import differences
from ktstr.vm.kvm import KvmMachine
from ktstr.vm.machine import GuestEnded, GuestSpec, MachineResult, Place
from ktstr.vm.messages import decode_channel
from ktstr.vm.vmm_build import planned
from tests.nested.guests import prepared

NO_OPS = encode(Program(0, 60_000_000_000))
WAITING = encode(Program(0, 400_000_000_000, ops=(Hold(300_000_000_000),)))
PAIR = Topology(1, 1, 2, 1)


def machine() -> KvmMachine:
    return KvmMachine(planned(Cache(cache_root(os.environ)), os.environ))


def boot(
    folder: Path,
    program: bytes = NO_OPS,
    *,
    hostile: bool = False,
    topology: Topology = PAIR,
    timeout_s: float = 240,
    cancel: Cancel | None = None,
) -> MachineResult:
    guests = prepared()
    image = guests.hostile if hostile else guests.image
    spec = GuestSpec(guests.kernel, (image,), topology, 512, program=program)
    folder.mkdir(exist_ok=True)
    with machine().start(spec, folder, timeout_s, cancel or Cancel()) as running:
        return running.wait()


def guest(result: MachineResult) -> GuestRecord:
    record, error = decode_channel(result.channel.read_bytes())
    assert error is None
    return record


def held() -> tuple[int, int]:
    return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


def test_a_guest_runs_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    boot(tmp_path / "first")  # what is imported on first use is not a leak
    before = held()
    result = boot(tmp_path / "second", topology=Topology(2, 2, 1, 1))
    assert (result.end.reason, result.end.detail) == ("clean", "")
    assert differences(guest(result), Topology(2, 2, 1, 1), 512) == []
    cost = result.end.kvm
    assert cost is not None
    assert (cost.cloned, cost.warnings, len(cost.vcpu_stats)) == (False, (), 2)
    assert cost.boot_ms is not None
    assert all(stats["exits"] > 0 for stats in cost.vcpu_stats)
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == [
        "channel.bin", "console.log", *(path.name for path in sorted((tmp_path / "second").glob("ktstr-*"))),
    ]  # fmt: skip
    assert held() == before


# A node with LLCs of one and of two cores, one without memory, and one of memory alone, nearest to the second.
UNLIKE = replace(
    of_nodes([Node((1, 2)), Node((1,), 0), Node((), 64)]), distances=((10, 30, 50), (30, 10, 40), (50, 40, 10))
)


def test_the_guest_shows_llcs_and_nodes_that_differ(tmp_path: Path) -> None:
    result = boot(tmp_path, topology=UNLIKE)
    assert (result.end.reason, result.end.detail) == ("clean", "")
    shown = guest(result)
    assert differences(shown, UNLIKE, 512) == []
    assert [(c.cpu, c.node, c.llc_cpus) for c in shown.cpus] == [
        (0, 0, (0,)),
        (1, 0, (1, 2)),
        (2, 0, (1, 2)),
        (3, 1, (3,)),
    ]
    assert shown.nodes is not None
    near = [(node.node, node.memory_kib >> 10, node.initiators) for node in shown.nodes]
    assert near == [(0, 447, (0,)), (1, 0, ()), (2, 64, (1,))]  # the first MiB is not all RAM
    assert shown.possible_cpus == shown.present_cpus == (0, 1, 2, 3)


@pytest.mark.slow
def test_the_guest_shows_40_llcs(tmp_path: Path) -> None:
    topology = Topology(1, 40, 1, 1)
    result = boot(tmp_path, topology=topology, timeout_s=600)
    assert (result.end.reason, result.end.detail) == ("clean", "")
    assert differences(guest(result), topology, 512) == []


def test_a_panic_is_the_guests_end(tmp_path: Path) -> None:
    end = boot(tmp_path, b"die", hostile=True).end
    assert end.reason == "panic"
    assert "Attempted to kill init" in end.detail


def test_a_guest_that_never_ends_is_ended(tmp_path: Path) -> None:
    end = boot(tmp_path, b"hang", hostile=True, timeout_s=8).end
    assert end.reason == "host_timeout"


@pytest.mark.slow
def test_a_flood_is_stopped_at_its_limit(tmp_path: Path) -> None:
    result = boot(tmp_path, b"flood", hostile=True)
    assert result.end.reason == "channel_flood"
    assert result.channel.stat().st_size <= channel_cap() + 1


@pytest.mark.slow
def test_cancel_ends_a_guest_at_once(tmp_path: Path) -> None:
    cancel = Cancel()
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        cancel.set()

    threading.Timer(5, press).start()
    assert boot(tmp_path, b"hang", hostile=True, cancel=cancel).end.reason == "killed"
    assert time.monotonic() - pressed[0] < 5


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    spec = GuestSpec(tmp_path / "gone", (), PAIR, 512)
    with pytest.raises(HostError, match="gone"):
        machine().start(spec, tmp_path, 10, Cancel())


def test_a_guest_that_runs_is_read_paused_and_killed(tmp_path: Path) -> None:
    spec = GuestSpec(prepared().kernel, (prepared().image,), PAIR, 512, program=WAITING)
    with machine().start(spec, tmp_path, 240, Cancel()) as running:
        assert next(running.frames()).payload  # its agent has begun
        assert b"Linux version " in running.memory.read(16 << 20, 64 << 20)
        assert sum(piece.size for piece in running.memory.layout.pieces) == 512 << 20
        with pytest.raises(BadAddress):
            running.memory.read(512 << 20, 1)
        running.pause()
        running.pause()
        before, memory = running.registers(), running.memory.read(0, 1 << 20)
        assert [registers["cs"] > 0 and registers["cr3"] > 0 for registers in before] == [True, True]
        assert not running.ends_within(0.5)
        assert running.registers() == before
        assert running.memory.read(0, 1 << 20) == memory
        running.resume()
        running.pause()
        running.kill()
        end = running.wait().end
        assert (end.reason, end.detail) == ("killed", "ended by whoever started it")
        assert len(running.registers()) == 2  # it keeps them, and its memory
        assert b"Linux version " in running.memory.read(16 << 20, 64 << 20)
        with pytest.raises(GuestEnded):
            running.pause()


def test_a_guest_runs_on_the_cpus_it_was_given(tmp_path: Path) -> None:
    before, others = os.sched_getaffinity(0), set(threads())
    spec = GuestSpec(prepared().kernel, (prepared().image,), PAIR, 512, program=NO_OPS)
    with machine().start(spec, tmp_path, 240, Cancel(), Place((max(before),))) as running:
        mine = [tid for tid in threads() if tid not in others]
        assert len(mine) >= 4  # two vCPUs, a supervisor, and who watches
        assert {tuple(os.sched_getaffinity(tid)) for tid in mine} == {(max(before),)}
        assert os.sched_getaffinity(0) == before
        end = running.wait().end
    assert end.reason == "clean"
    assert end.kvm is not None
    assert (end.kvm.cpu_budget, end.kvm.overcommit) == (1, 2.0)


def test_its_time_begins_when_it_has_its_cpus(tmp_path: Path) -> None:
    """Those that waited for CPUs longer than a guest may take have all of their time left."""
    host = HostCpus({"KTSTR_LOCK_DIR": str(tmp_path)})
    spec = GuestSpec(prepared().kernel, (prepared().hostile,), PAIR, 512, program=b"hang")
    alone = [exclude(1, 1, tmp_path, topology=one_of(llc), allowed=[0, 1, 2]) for llc in read_topology().llcs]
    for reservation in alone:
        threading.Timer(4, reservation.release).start()
    began = time.monotonic()
    with host.hold(spec, 60, Cancel()) as place, machine().start(spec, tmp_path, 3, Cancel(), place) as running:
        end = running.wait().end
    assert end.reason == "host_timeout"
    assert end.host_seconds >= 3
    assert time.monotonic() - began - end.host_seconds >= 3.9


def one_of(llc: Llc) -> HostTopology:
    """A host that has this LLC alone, and CPUs enough in it."""
    return HostTopology((Llc(llc.index, (0, 1, 2), 0),), {0: 0, 1: 0, 2: 0}, {})


def threads() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/task").iterdir()]
