"""The binding on a real KVM: what cannot run is an exception with its cause, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktstr.config.topology import Topology
from ktstr.host.cache import Cache, cache_root
from ktstr.vm.vmm import Vmm, VmmConfig, VmmError
from ktstr.vm.vmm_build import load_vmm, planned

ONE = Topology(1, 1, 1, 1)
ELF64, ELF32, X86_64, I386 = 2, 1, 62, 3


@pytest.fixture(scope="session")
def library() -> Any:
    found = planned(Cache(cache_root(os.environ)), os.environ)
    if not found.path.is_file():
        found.make()
    return load_vmm(found.path)


def elf(*, kind: int = ELF64, machine: int = X86_64, at: int = 0x1000000, size: int = 64, file_size: int = 64) -> bytes:
    """An ELF file of one loadable segment, all HLT (System V gABI, chapters 4 and 5)."""
    head = struct.pack("<4s5B7xHHIQQQ", b"\x7fELF", kind, 1, 1, 0, 0, 2, machine, 1, at, 64, 0)
    head += struct.pack("<IHHHHHH", 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 120, at, at, file_size, size, 4096) + b"\xf4" * 8192


def held() -> tuple[int, int]:
    """The files and threads of this process, without what another test's garbage still holds."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        (b"", "0 bytes are no kernel"),
        (b"#!/bin/sh\n" * 100, "kernel|ELF|bzImage"),
        (elf()[:100], "100 bytes are no kernel"),
        (elf(kind=ELF32, machine=I386), "32|64|x86"),
        (elf(at=4 << 30), "memory|fit"),
        (elf(size=1 << 40), "memory|fit"),
        (elf(file_size=1 << 20, size=1 << 20), "beyond|file|truncated|short"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_kernel_for_this_machine(library: Any, tmp_path: Path, kernel: bytes, says: str) -> None:
    (tmp_path / "kernel").write_bytes(kernel)
    before = held()
    with pytest.raises(VmmError, match=f"(?i){says}") as caught:
        Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 128))
    assert caught.value.errno in (errno.ENOEXEC, errno.EINVAL, errno.ENOMEM, errno.E2BIG, errno.EFBIG, errno.EIO)
    assert str(tmp_path / "kernel") in caught.value.message
    assert held() == before


def test_an_initrd_larger_than_memory(library: Any, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(elf())
    with (tmp_path / "initrd").open("wb") as file:
        file.truncate(256 << 20)
    with pytest.raises(VmmError, match="initrd"):
        Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 128, initrd=(tmp_path / "initrd",)))


def test_more_vcpus_or_less_memory_than_can_be(library: Any, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(elf())
    with pytest.raises(VmmError):
        Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 0))
    with pytest.raises(VmmError, match="command line"):
        Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 128, command_line="x" * 5000))


def test_a_machine_lives_and_dies_with_its_context(library: Any, tmp_path: Path) -> None:
    """HLT with interrupts off: nothing ends it but us."""
    (tmp_path / "kernel").write_bytes(elf())
    before = held()
    with Vmm(library, VmmConfig(tmp_path / "kernel", Topology(2, 2, 1, 1), 128)) as vmm:
        assert vmm.wait(0) is None
        vmm.start()
        assert vmm.wait(0.2) is None
        assert vmm.registers(0)["rip"] == 0x1000001
        assert vmm.registers(0)["rsi"] > 0  # the boot parameters (Documentation/arch/x86/boot.rst)
        assert vmm.read(0x1000000, 4) == b"\xf4" * 4
        vmm.write(0x2000000, b"hello")
        assert vmm.read(0x2000000, 5) == b"hello"
        first, second = vmm.pieces()
        assert (first.address, first.size, first.node) == (0, 64 << 20, 0)
        assert (second.address, second.size, second.node) == (64 << 20, 64 << 20, 1)
        assert ctypes.string_at(first.host + 0x2000000, 5) == b"hello"
        with pytest.raises(VmmError):
            vmm.read(1 << 40, 1)
        with pytest.raises(VmmError):
            vmm.registers(2)
        assert vmm.stats(0)["exits"] > 0
        assert vmm.times(0).run_ns > 0
        stopper = threading.Timer(0.2, vmm.stop)
        stopper.start()
        ended = vmm.wait(None)
        assert ended is not None
        assert ended.reason == "stopped"
    stopper.join()
    vmm.close()
    assert held() == before


def test_close_while_others_look_and_wait(library: Any, tmp_path: Path) -> None:
    """Each comes back, or is refused; none reads what is gone."""
    (tmp_path / "kernel").write_bytes(elf())
    before = held()
    refused: list[int] = []

    def use(call: Callable[[Vmm], object], vmm: Vmm) -> None:
        try:
            while True:
                call(vmm)
        except VmmError as err:
            refused.append(err.errno)

    calls: list[Callable[[Vmm], object]] = [
        lambda vmm: vmm.wait(None), lambda vmm: vmm.registers(1), lambda vmm: vmm.read(0, 1 << 20),
        lambda vmm: vmm.stats(0), lambda vmm: vmm.channel_output(),
    ]  # fmt: skip
    for _ in range(5):
        vmm = Vmm(library, VmmConfig(tmp_path / "kernel", Topology(1, 1, 2, 1), 128))
        vmm.start()
        threads = [threading.Thread(target=use, args=(call, vmm)) for call in calls]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        vmm.close()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert refused == [errno.EBADF] * 25
    assert held() == before


def test_a_deadline_ends_a_guest_that_sleeps(library: Any, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(elf())
    with Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 128, deadline_ms=200)) as vmm:
        vmm.start()
        ended = vmm.wait(30)
        assert ended is not None
        assert ended.reason == "deadline"


def test_no_permission_names_the_fix(library: Any, tmp_path: Path) -> None:
    """In a child that gives up being root."""
    (tmp_path / "kernel").write_bytes(elf())
    tmp_path.chmod(0o755)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        Path("/dev/kvm").chmod(0o600)
        os.setuid(65534)
        try:
            Vmm(library, VmmConfig(tmp_path / "kernel", ONE, 128))
        except VmmError as err:
            os.write(write, f"{err.errno} {err}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    said = os.read(read, 4096).decode()
    assert said.startswith(f"{errno.EACCES} "), said
    assert "/dev/kvm" in said
    assert "usermod -aG kvm" in said
