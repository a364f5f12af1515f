"""Whole guests of ``accel=kvm``: how each ends, what it leaves, and that nothing of it stays."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import HostError
from ktstr.host.cache import Cache, cache_root
from ktstr.record.cell import GuestRecord
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Program
from ktstr.vm.guest_files import channel_cap
from ktstr.vm.guest_topology import differences
from ktstr.vm.kvm import KvmMachine
from ktstr.vm.machine import GuestSpec, MachineResult
from ktstr.vm.messages import decode_channel
from ktstr.vm.snapshots import Snapshots
from ktstr.vm.vmm_build import planned
from tests.nested.guests import prepared

NO_OPS = encode(Program(0, 60_000_000_000))
PAIR = Topology(1, 1, 2, 1)


def machine(snapshots: Snapshots | None = None) -> KvmMachine:
    extension = planned(Cache(cache_root(os.environ)), os.environ)
    return KvmMachine(extension, snapshots)


def boot(
    folder: Path,
    program: bytes = NO_OPS,
    *,
    hostile: bool = False,
    topology: Topology = PAIR,
    timeout_s: float = 240,
    cancel: Cancel | None = None,
    snapshots: Snapshots | None = None,
) -> MachineResult:
    guests = prepared()
    image = guests.hostile if hostile else guests.image
    spec = GuestSpec(guests.kernel, (image,), topology, 512, (), program, alike="pinned", many=True)
    folder.mkdir(exist_ok=True)
    with machine(snapshots).start(spec, folder, timeout_s, cancel or Cancel()) as running:
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
    assert differences(guest(result), Topology(2, 2, 1, 1)) == []
    cost = result.end.kvm
    assert cost is not None
    assert (cost.cloned, cost.warnings, len(cost.vcpu_stats)) == (False, (), 2)
    assert cost.boot_ms is not None
    assert all(stats["exits"] > 0 for stats in cost.vcpu_stats)
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == [
        "channel.bin", "console.log", *(path.name for path in sorted((tmp_path / "second").glob("ktstr-*"))),
    ]  # fmt: skip
    assert held() == before


def test_a_panic_is_the_guests_end(tmp_path: Path) -> None:
    end = boot(tmp_path, b"die", hostile=True).end
    assert end.reason == "panic"
    assert "Attempted to kill init" in end.detail


def test_a_guest_that_never_ends_is_ended(tmp_path: Path) -> None:
    end = boot(tmp_path, b"hang", hostile=True, timeout_s=20).end
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


def test_clones_go_on_from_one_boot(tmp_path: Path) -> None:
    """Each has its own program, the right time and randomness of its own; the first word is the template's."""
    snapshots = Snapshots(Cache(tmp_path / "cache"))
    results = [boot(tmp_path / f"clone{i}", snapshots=snapshots) for i in range(2)]
    assert [result.end.reason for result in results] == ["clean", "clean"]
    assert [result.end.kvm.cloned for result in results if result.end.kvm] == [True, True]
    assert len(list((tmp_path / "cache/snapshots").iterdir())) == 1
    for result in results:
        found = guest(result)
        assert found.ended
        assert found.errors == ()
        assert differences(found, PAIR) == []


@pytest.mark.slow
def test_a_spoiled_snapshot_is_replaced_by_a_boot(tmp_path: Path) -> None:
    snapshots = Snapshots(Cache(tmp_path / "cache"))
    boot(tmp_path / "first", snapshots=snapshots)
    (kept,) = (tmp_path / "cache/snapshots").iterdir()
    state = kept / "state"
    state.write_bytes(state.read_bytes()[:-8])
    result = boot(tmp_path / "second", snapshots=snapshots)
    assert (result.end.reason, result.end.kvm and result.end.kvm.cloned) == ("clean", False)
    assert not kept.exists()


def test_what_is_gone_is_named(tmp_path: Path) -> None:
    spec = GuestSpec(tmp_path / "gone", (), PAIR, 512)
    with pytest.raises(HostError, match="gone"):
        machine().start(spec, tmp_path, 10, Cancel())
