"""Guests of the pinned emulator, asked while they run."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.record.machine import MachineEnd
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import Hold, Program
from ktstr.vm.channel import Frame
from ktstr.vm.guest_memory import BadAddress
from ktstr.vm.machine import Guest, GuestEnded, GuestSpec, MachineResult
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import GuestDecoder, decode_channel
from ktstr.vm.qemu_guest import QemuGuest
from tests.vm.test_qemu import ROOT, SINGLE, Lab, emulators_of, spinners
from tests.vm.test_qemu import lab as lab  # the fixture

pytestmark = pytest.mark.e2e

READ_S = 1 / 40  # between two readings: four times as often as an observer reads


def waiting(lab: Lab, topology: Topology = SINGLE, memory: int | None = None) -> GuestSpec:
    """A guest that boots and then does nothing for minutes."""
    program = encode(Program(0, 400_000_000_000, ops=(Hold(300_000_000_000),)))
    return GuestSpec(lab.kernel, (lab.image,), topology, memory or memory_mib(topology), program=program)


def booted(guest: Guest) -> None:
    """Wait for the agent's first word."""
    next(guest.frames())


def asked(guest: Guest, command: str) -> str:
    assert isinstance(guest, QemuGuest)
    return guest.converse(lambda monitor: monitor.human(command), command)


@dataclass(frozen=True)
class Banner:
    """The first words of a kernel's read-only data, and their guest physical address."""

    address: int
    text: bytes


def banner_of(kernel: Path) -> Banner:
    """By the ELF file: nokaslr, so the first loaded segment, which is read-only data of the kernel, is in place."""
    file = kernel.read_bytes()
    offset, count = int.from_bytes(file[32:40], "little"), int.from_bytes(file[56:58], "little")
    headers = [file[offset + 56 * i :][:56] for i in range(count)]
    load = next(h for h in headers if h[:4] == b"\1\0\0\0")
    begin, address = int.from_bytes(load[8:16], "little"), int.from_bytes(load[24:32], "little")
    at = file.index(b"Linux version ", begin)
    return Banner(address + at - begin, file[at : at + 60])


class TestReading:
    """Counted instructions: what is read while a guest runs must not change what the guest does."""

    def read_meanwhile(self, guest: Guest, read: Callable[[Guest, int], object]) -> int:
        count = 0
        while not guest.ends_within(READ_S):
            try:
                read(guest, count)
            except GuestEnded:
                break
            count += 1
        return count

    @pytest.mark.parametrize("label", ["1n2l1c2t", pytest.param("2n2l1c1t", marks=pytest.mark.slow)])
    def test_neither_memory_nor_registers_nor_frames_change_a_byte_of_the_run(
        self, lab: Lab, tmp_path: Path, label: str
    ) -> None:
        topology = Topology.parse(label)
        spec = GuestSpec(lab.kernel, (lab.image,), topology, memory_mib(topology), program=spinners(6))
        size = spec.memory_mib << 20
        long_mode: set[bool] = set()

        def memory(guest: Guest, turn: int) -> None:
            data = guest.memory.read(turn * (8 << 20) % size, 8 << 20)  # all of it within a few seconds
            assert len(data) == 8 << 20

        def registers(guest: Guest, _turn: int) -> None:
            found = guest.registers()
            assert len(found) == topology.cpus
            long_mode.add(all("r15" in one for one in found))

        def everything(guest: Guest, turn: int) -> None:
            memory(guest, turn)
            registers(guest, turn)

        def run(name: str, read: Callable[[Guest, int], None] | None) -> tuple[MachineResult, int]:
            folder = tmp_path / name
            folder.mkdir()
            frames.clear()
            with lab.start(folder, spec, "icount") as guest:
                listener = threading.Thread(target=lambda: frames.extend(guest.frames()))
                if read is everything:
                    listener.start()
                count = 0 if read is None else self.read_meanwhile(guest, read)
                result = guest.wait()
                if read is everything:
                    listener.join()
            return result, count

        seen, counts = [], []
        frames: list[Frame] = []
        for name, read in (("quiet", None), ("memory", memory), ("registers", registers), ("all", everything)):
            result, count = run(name, read)
            if result.end.reason == "emulator_failed":  # QEMU 10.0 dies of SIGSEGV in one of some hundred such runs
                warnings.warn(f"{name}: run again: {result.end.detail}", stacklevel=1)
                result, count = run(f"{name}-again", read)
            assert result.end.reason == "clean", result.end.detail
            counts.append(count)
            seen.append((result.channel.read_bytes(), result.console.read_bytes()))
        assert all(other == seen[0] for other in seen[1:])
        assert min(counts[1:]) >= 20, counts
        assert True in long_mode
        record, error = decode_channel(seen[0][0])
        assert error is None and len(record.workers) == 8
        assert len(frames) > 10

    def test_a_pause_goes_on_where_it_was(self, lab: Lab, tmp_path: Path) -> None:
        """Whether another run comes of it is chance; that it ends well is not."""
        spec = GuestSpec(lab.kernel, (lab.image,), SINGLE, memory_mib(SINGLE), program=spinners(2))
        with lab.start(tmp_path, spec, "icount") as guest:
            booted(guest)
            guest.pause()
            guest.pause()
            before = guest.registers()
            channel = (tmp_path / "channel.bin").stat().st_size
            assert not guest.ends_within(1)
            assert guest.registers() == before
            assert (tmp_path / "channel.bin").stat().st_size == channel
            guest.resume()
            assert guest.wait().end.reason == "clean"


class TestMemory:
    @pytest.mark.parametrize(("label", "memory"), [("1n1l1c1t", 4096), ("2n2l1c1t", 3072), ("3n3l1c1t", 6144)])
    def test_each_piece_holds_what_the_emulator_says_is_there(
        self, lab: Lab, tmp_path: Path, label: str, memory: int
    ) -> None:
        """Its monitor (``pmemsave``'s sibling ``xp``) reads by guest physical address, too."""
        with lab.start(tmp_path, waiting(lab, Topology.parse(label), memory)) as guest:
            booted(guest)
            guest.pause()
            pieces = guest.memory.layout.pieces
            assert sum(piece.size for piece in pieces) == memory << 20
            assert max(piece.end for piece in pieces) > 4 << 30
            seen = 0
            for piece in pieces:
                for address in filled(guest, piece.address, piece.end):
                    words = re.findall(r"0x([0-9a-f]{8})\b", asked(guest, f"xp /16wx {address:#x}"))
                    read = guest.memory.read(address, 64)
                    assert words == [read[i : i + 4][::-1].hex() for i in range(0, 64, 4)]
                    seen += any(read)
            assert seen >= 2 * len(pieces) - 1  # the kernel's own data is on every node
            with pytest.raises(BadAddress):
                guest.memory.read(pieces[-1].end, 1)

    def test_the_kernel_is_where_its_file_says(self, lab: Lab, tmp_path: Path) -> None:
        banner = banner_of(lab.kernel)
        with lab.start(tmp_path, waiting(lab)) as guest:
            booted(guest)
            assert guest.memory.read(banner.address, 60) == banner.text

    def test_it_outlives_the_guest_and_not_its_close(self, lab: Lab, tmp_path: Path) -> None:
        with lab.start(tmp_path, waiting(lab)) as guest:
            booted(guest)
            guest.kill()
            assert guest.wait().end.reason == "killed"
            memory = guest.memory
            assert any(memory.read(1 << 20, 64 << 20))
            with pytest.raises(GuestEnded, match="the guest has ended"):
                guest.registers()
            with pytest.raises(GuestEnded):
                guest.pause()
        with pytest.raises(ValueError, match="closed"):
            memory.read(0, 1)

    def test_the_host_gives_no_page_for_what_is_read(self, lab: Lab, tmp_path: Path) -> None:
        with lab.start(tmp_path, waiting(lab, memory=1024)) as guest:
            booted(guest)
            guest.pause()
            assert isinstance(guest, QemuGuest)
            (fd,) = guest.memory.descriptors
            before = os.fstat(fd).st_blocks
            assert len(guest.memory.read(0, 1 << 30)) == 1 << 30
            assert os.fstat(fd).st_blocks == before
            assert before * 512 < 512 << 20


def filled(guest: Guest, begin: int, end: int) -> list[int]:
    """Three places in there, with something in them where there is anything (0xa0000 to 1 MiB are devices and ROM)."""
    step = 1 << 20
    found = [at for at in range(max(begin, step), end - step, step) if any(guest.memory.read(at, 64))]
    return [*(found or [max(begin, step)])[:: max(1, len(found) // 3)][:3], end - 4096]


class TestLife:
    def test_frames_come_while_the_guest_runs(self, lab: Lab, tmp_path: Path) -> None:
        spec = GuestSpec(lab.kernel, (lab.image,), SINGLE, memory_mib(SINGLE), program=spinners(2))
        with lab.start(tmp_path, spec) as guest:
            decoder, early = GuestDecoder(), 0
            for frame in guest.frames():
                assert decoder.add(frame) is None
                early += not guest.ends_within(0)
            result = guest.wait()
        assert early >= 2
        assert decoder.record() == decode_channel(result.channel.read_bytes())[0]
        assert decoder.record().ended

    def test_frames_of_garbage_end_and_the_result_says_why(self, lab: Lab, tmp_path: Path) -> None:
        spec = GuestSpec(lab.kernel, (lab.hostile,), SINGLE, memory_mib(SINGLE), program=b"garbage")
        with lab.start(tmp_path, spec) as guest:
            assert list(guest.frames()) == []
            assert guest.wait().end.reason == "channel_garbage"

    def test_registers_are_those_of_each_vcpu(self, lab: Lab, tmp_path: Path) -> None:
        topology = Topology(1, 1, 3, 1)
        with lab.start(tmp_path, waiting(lab, topology)) as guest:
            booted(guest)
            guest.pause()
            found = guest.registers()
            printed = re.findall(r"CR3=([0-9a-f]{16})", asked(guest, "info registers -a"))
        assert [registers["cr3"] for registers in found] == [int(value, 16) for value in printed]
        assert len(found) == 3

    @pytest.mark.parametrize("times", [2, pytest.param(16, marks=pytest.mark.slow)])
    def test_a_guest_that_turns_itself_off_while_it_is_asked_does_end(
        self, lab: Lab, tmp_path: Path, times: int
    ) -> None:
        """QEMU 10.0 hangs in one of four such exits, unless it is nudged."""
        spec = GuestSpec(lab.kernel, (lab.image,), SINGLE, memory_mib(SINGLE), program=encode(Program(0, 10**10)))
        for _ in range(times):
            end = self.asked_to_its_end(lab, tmp_path, spec)
            if end.reason == "emulator_failed":  # as ``TestReading``
                warnings.warn(f"run again: {end.detail}", stacklevel=1)
                end = self.asked_to_its_end(lab, tmp_path, spec)
            assert (end.reason, end.detail) == ("clean", "")

    def asked_to_its_end(self, lab: Lab, folder: Path, spec: GuestSpec) -> MachineEnd:
        with lab.start(folder, spec, timeout_s=120) as guest:
            with pytest.raises(GuestEnded):
                while True:
                    guest.registers()
            assert guest.ends_within(5)
            return guest.wait().end

    def test_a_guest_is_killed_and_its_result_says_so(self, lab: Lab, tmp_path: Path) -> None:
        with lab.start(tmp_path, waiting(lab)) as guest:
            booted(guest)
            guest.pause()  # a paused one, too
            guest.kill()
            end = guest.wait().end
        assert (end.reason, end.detail) == ("killed", "ended by whoever started it")
        assert emulators_of(tmp_path) == []

    def test_leaving_it_leaves_no_process_no_descriptor_and_no_thread(self, lab: Lab, tmp_path: Path) -> None:
        def held() -> tuple[int, set[str]]:
            return len(list(Path("/proc/self/fd").iterdir())), {path.name for path in Path("/proc/self/task").iterdir()}

        with lab.start(tmp_path, waiting(lab)):
            pass  # what is imported on first use is not a leak
        before = held()
        with pytest.raises(KeyError), lab.start(tmp_path, waiting(lab)) as guest:
            guest.registers()
            raise KeyError
        assert emulators_of(tmp_path) == []
        del guest
        descriptors, threads = held()
        assert descriptors == before[0]
        assert threads <= before[1]  # one of another test's may end meanwhile
        assert not {"initrd.cpio", "program.cpio", "reset.log"} & {path.name for path in tmp_path.iterdir()}

    def test_a_deadline_and_a_cancel_need_nobody_who_waits(self, lab: Lab, tmp_path: Path) -> None:
        with lab.start(tmp_path, waiting(lab), timeout_s=1) as guest:
            assert guest.ends_within(20)
            assert guest.wait().end.reason == "host_timeout"
        cancel = Cancel()
        with lab.start(tmp_path, waiting(lab), cancel=cancel) as guest:
            cancel.set()
            assert guest.ends_within(5)
            assert guest.wait().end.reason == "killed"

    def test_memory_that_cannot_be_shared_out_is_refused_before_anything_is_made(
        self, lab: Lab, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="cannot be dealt evenly"):
            lab.start(tmp_path, waiting(lab, Topology(2, 2, 1, 1), 513))
        assert list(tmp_path.iterdir()) == []


STARTER = """
import sys, time, pickle
from pathlib import Path
from ktstr.cancel import Cancel
from ktstr.vm.qemu import QemuMachine
tool, spec = pickle.loads(bytes.fromhex(sys.argv[1]))
guest = QemuMachine(tool, "tcg").start(spec, Path(sys.argv[2]), 240, Cancel())
guest.registers()
print("running", flush=True)
time.sleep(240)
"""


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM])
def test_the_emulator_dies_with_the_program_that_started_it(lab: Lab, tmp_path: Path, deadly: signal.Signals) -> None:
    argument = pickle.dumps((lab.tool, waiting(lab))).hex()
    command = [sys.executable, "-c", STARTER, argument, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "running\n"
        (emulator,) = (pid for pid in emulators_of(tmp_path) if int(pid) != parent.pid)
        parent.send_signal(deadly)
        parent.wait(10)
    deadline = time.monotonic() + 5
    while emulators_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert emulators_of(tmp_path) == [], emulator
