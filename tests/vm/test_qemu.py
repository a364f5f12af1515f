"""Real guests on the pinned emulator and kernel, as cells boot them."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ktstr.cancel import Cancel
from ktstr.config.topology import Topology
from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.prebuilt import ensure
from ktstr.kernels.resolve import resolve
from ktstr.kernels.spec import DEFAULT
from ktstr.pins.lock import read_lock
from ktstr.record.guest import GuestRecord
from ktstr.resources import c_dir
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Hold,
    Op,
    Program,
    Release,
    RemoveCgroups,
    Spawn,
    StopWorkers,
    Work,
    Worker,
)
from ktstr.tools.pinned import Tool, ensure_qemu
from ktstr.vm import agent
from ktstr.vm.guest_image import base_part
from ktstr.vm.guest_topology import differences
from ktstr.vm.machine import Guest, GuestSpec, MachineResult
from ktstr.vm.memory import memory_mib
from ktstr.vm.messages import decode_channel
from ktstr.vm.qemu import QemuMachine
from ktstr.vm.steady import Steady, planned

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
SINGLE = Topology(1, 1, 1, 1)
NO_OPS = encode(Program(0, 20_000_000_000))


@dataclass(frozen=True)
class Lab:
    """The pinned tools, and images with the real agent and with one that breaks the rules."""

    tool: Tool
    kernel: Path
    image: Path
    hostile: Path
    steady: Steady

    def machine(self, accel: str) -> QemuMachine:
        return QemuMachine(self.tool, accel, self.steady if accel == "icount" else None)

    def boot(
        self,
        folder: Path,
        *,
        accel: str = "tcg",
        topology: Topology = SINGLE,
        program: bytes = NO_OPS,
        image: Path | None = None,
        kernel: Path | None = None,
        kernel_args: Sequence[str] = (),
        timeout_s: float = 240,
        cancel: Cancel | None = None,
        memory: int | None = None,
    ) -> MachineResult:
        spec = GuestSpec(
            kernel or self.kernel, (image or self.image,), topology, memory or memory_mib(topology),
            tuple(kernel_args), program=program,
        )  # fmt: skip
        with self.start(folder, spec, accel, timeout_s, cancel) as running:
            return running.wait()

    def start(
        self, folder: Path, spec: GuestSpec, accel: str = "tcg", timeout_s: float = 240, cancel: Cancel | None = None
    ) -> Guest:
        return self.machine(accel).start(spec, folder, timeout_s, cancel or Cancel())

    def boot_hostile(self, folder: Path, mode: str, **more: float | Cancel) -> MachineResult:
        return self.boot(folder, program=mode.encode(), image=self.hostile, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return build_lab(tmp_path_factory.mktemp("lab"))


def build_lab(folder: Path) -> Lab:
    """Fetch and build everything; ``agent.cpio`` and ``hostile.cpio`` are in the folder."""
    cache = Cache(cache_root(os.environ))
    lock, apt = read_lock(ROOT / "ktstr.lock"), Apt(cache.apt)
    kernel = ensure(resolve(DEFAULT, lock, cache, apt), cache, apt)
    cc = agent.compiler(os.environ)
    agent.build(c_dir(), cc, folder / "agent")
    source = Path(__file__).parent / "hostile_guest.c"
    subprocess.run([cc, "-O2", "-static", "-Wall", "-Werror", str(source), "-o", str(folder / "hostile")], check=True)
    for name in ("agent", "hostile"):
        (folder / f"{name}.cpio").write_bytes(base_part(folder / name))
    tool = ensure_qemu(lock.tools["qemu"], cache, apt)
    steady = planned(c_dir(), cc, cache)
    steady.build()
    return Lab(tool, kernel.vmlinux, folder / "agent.cpio", folder / "hostile.cpio", steady)


def guest(result: MachineResult) -> GuestRecord:
    record, error = decode_channel(result.channel.read_bytes())
    assert error is None
    return record


def emulators_of(folder: Path) -> list[str]:
    """The processes that name ``folder`` in their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder / "channel.bin") in command:
            found.append(process.name)
    return found


def spinners(count: int, hold_ns: int = 250_000_000) -> bytes:
    """Two cgroups, spinners in one and pipes in the other."""
    cgroups = (Cgroup("spin"), Cgroup("pipe"))
    works = (
        Work("SpinWait", 0, tuple(Worker(i * 1000) for i in range(count))),
        Work("PipeIo", 1, (Worker(), Worker()), (1000,)),
    )
    ops: tuple[Op, ...] = (
        AddCgroup(0),
        Spawn(0),
        AddCgroup(1),
        Spawn(1),
        Release(),
        Hold(hold_ns),
        StopWorkers(),
        RemoveCgroups(),
    )
    return encode(Program(0, 20_000_000_000, cgroups, works, ops=ops))


class TestTopology:
    @pytest.mark.parametrize("label", ["1n2l2c2t", "2n4l1c2t"])  # every preset: tests/e2e/test_topologies.py
    def test_the_guest_sees_what_was_declared(self, lab: Lab, tmp_path: Path, label: str) -> None:
        topology = Topology.parse(label)
        result = lab.boot(tmp_path, topology=topology)
        assert (result.end.reason, result.end.detail) == ("clean", "")
        assert differences(guest(result), topology, memory_mib(topology)) == []

    def test_the_guest_sees_declared_distances(self, lab: Lab, tmp_path: Path) -> None:
        topology = Topology(3, 3, 1, 1, ((10, 12, 40), (12, 10, 21), (40, 21, 10)))
        result = lab.boot(tmp_path, topology=topology)
        assert guest(result).node_distances == topology.distances
        assert differences(guest(result), topology, memory_mib(topology)) == []


class TestIcount:
    def test_the_command_names_real_files_and_the_key_does_not(self, lab: Lab, tmp_path: Path) -> None:
        machine = lab.machine("icount")
        spec = GuestSpec(lab.kernel, (lab.image,), SINGLE, 512)
        assert not any("/" in word.replace("rdinit=/init", "") for word in machine.command_line(spec))
        result = lab.boot(tmp_path, accel="icount")
        assert str(lab.kernel) in result.end.command
        *loader, program = lab.tool.argv_prefix
        head = result.end.command[: len(loader) + 3]
        assert head[: len(loader)] == tuple(loader)
        assert re.fullmatch(r"--preload /proc/self/fd/\d+ " + re.escape(program), " ".join(head[len(loader) :]))
        assert result.end.emulator == f"QEMU {lab.tool.version} TCG"
        assert result.end.host_dilation is None
        assert sorted(path.name for path in tmp_path.iterdir()) == ["channel.bin", "console.log"]


class TestGuestsThatFail:
    def test_a_guest_that_sends_garbage(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot_hostile(tmp_path, "garbage").end
        assert end.reason == "channel_garbage"
        assert "at 0" in end.detail

    def test_a_guest_that_says_nothing(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot_hostile(tmp_path, "silent").end
        assert end.reason == "channel_lost"
        assert "the guest agent never spoke" in end.detail
        assert end.host_dilation is not None
        assert end.host_dilation >= 1

    def test_a_guest_that_says_too_much(self, lab: Lab, tmp_path: Path) -> None:
        result = lab.boot_hostile(tmp_path, "flood")
        assert result.end.reason == "channel_flood"
        assert "channel.bin" in result.end.detail
        assert result.channel.stat().st_size < 160 << 20
        assert emulators_of(tmp_path) == []

    def test_a_guest_that_never_ends(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot_hostile(tmp_path, "hang", timeout_s=6).end
        assert end.reason == "host_timeout"
        assert 6 <= end.host_seconds < 8
        assert emulators_of(tmp_path) == []

    def test_a_kernel_whose_init_dies(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot_hostile(tmp_path, "die").end
        assert end.reason == "panic"
        assert "Attempted to kill init! exitcode=0x00000300" in end.detail

    def test_a_kernel_without_an_init_panics_at_boot(self, lab: Lab, tmp_path: Path) -> None:
        empty = tmp_path / "empty.cpio"
        empty.write_bytes(b"")
        end = lab.boot(tmp_path, image=empty).end
        assert end.reason == "panic"
        assert "Unable to mount root fs" in end.detail

    def test_a_kernel_without_virtio_ports(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot(tmp_path, kernel_args=["initcall_blacklist=virtio_console_init"]).end
        assert end.reason == "channel_lost"
        assert "ktstr: no channel" in end.detail

    def test_a_file_that_is_no_kernel(self, lab: Lab, tmp_path: Path) -> None:
        end = lab.boot(tmp_path, kernel=Path("/etc/passwd")).end
        assert end.reason == "emulator_failed"
        assert "exited with 1" in end.detail
        assert (tmp_path / "emulator.log").read_text()

    def test_a_kernel_that_faults_before_it_can_speak(self, lab: Lab, tmp_path: Path) -> None:
        kernel = tmp_path / "faults"
        kernel.write_bytes(triple_fault_kernel())
        end = lab.boot(tmp_path, kernel=kernel).end
        assert end.reason == "triple_fault"


class TestCancel:
    def test_cancel_ends_a_guest_within_a_second(self, lab: Lab, tmp_path: Path) -> None:
        cancel = Cancel()
        pressed: list[float] = []

        def press() -> None:
            pressed.append(time.monotonic())
            cancel.set()

        timer = threading.Timer(3, press)
        timer.start()
        end = lab.boot_hostile(tmp_path, "hang", cancel=cancel).end
        assert end.reason == "killed"
        assert time.monotonic() - pressed[0] < 1
        assert emulators_of(tmp_path) == []


class TestInput:
    def test_an_unknown_accel_is_refused(self, lab: Lab) -> None:
        with pytest.raises(InputError, match=r"accel=kvm: .* expected one of icount, tcg"):
            QemuMachine(lab.tool, "kvm")

    def test_what_counts_instructions_is_made_steady_and_nothing_else_is(self, lab: Lab) -> None:
        with pytest.raises(ValueError, match="accel=icount without what makes it steady"):
            QemuMachine(lab.tool, "icount")
        with pytest.raises(ValueError, match="accel=tcg with what makes it steady"):
            QemuMachine(lab.tool, "tcg", lab.steady)
        assert lab.machine("tcg").digest == lab.tool.digest != lab.machine("icount").digest

    def test_a_library_that_is_gone_is_named_and_nothing_runs_without_it(self, lab: Lab, tmp_path: Path) -> None:
        machine = QemuMachine(lab.tool, "icount", replace(lab.steady, path=tmp_path / "gone.so"))
        with pytest.raises(HostError, match=r"gone\.so: No such file"):
            machine.start(GuestSpec(lab.kernel, (lab.image,), SINGLE, 512), tmp_path, 60, Cancel())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["channel.bin", "console.log"]

    def test_a_library_may_lie_in_a_folder_of_any_name(self, lab: Lab, tmp_path: Path) -> None:
        """To the loader, spaces and colons part one library from the next."""
        odd = tmp_path / "a b:c"
        odd.mkdir()
        path = odd / "steady.so"
        path.write_bytes(lab.steady.path.read_bytes())
        spec = GuestSpec(lab.kernel, (lab.image,), SINGLE, 512, program=NO_OPS)
        with QemuMachine(lab.tool, "icount", replace(lab.steady, path=path)).start(spec, odd, 240, Cancel()) as guest:
            guest.registers()  # it has begun: before, the process may still be the one that starts it
            (emulator,) = emulators_of(odd)
            assert str(path) in Path(f"/proc/{emulator}/maps").read_text()

    def test_a_missing_image_is_named(self, lab: Lab, tmp_path: Path) -> None:
        gone = tmp_path / "gone.cpio"
        with pytest.raises(HostError, match=r"gone\.cpio"):
            lab.boot(tmp_path, image=gone)
        assert not (tmp_path / "initrd.cpio").exists()


def triple_fault_kernel() -> bytes:
    """An ELF file with a PVH entry (xen/interface/elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY = 18) that loads an
    empty interrupt table and then traps."""
    entry = 0x100000
    code = b"\x0f\x01\x1d" + struct.pack("<I", entry + 16) + b"\xcc"  # lidt [entry + 16]; int3
    code = code.ljust(32, b"\0")
    note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", entry)
    head = 64 + 2 * 56
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 7, head, entry, entry, len(code), len(code), 4)
    notes = struct.pack("<IIQQQQQQ", 4, 4, head + len(code), 0, 0, len(note), len(note), 4)
    return ident + header + load + notes + code + note
