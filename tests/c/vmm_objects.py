"""Builds test programs that make whole machines of the VMM, and the little kernel that these boot."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.c.objects import HERE, LANGUAGE, core_objects, link, run

THREAD_SANITIZER = (*LANGUAGE, "-O1", "-fsanitize=thread", "-Wno-tsan")  # fences are not modelled: no rings are shared
MACHINES = ("test_vmm_machine", "test_vmm_guests", "test_vmm_leaks")  # on KVM, by the public interface
SNAPSHOTS = ("test_vmm_snapshot", "test_vmm_busy", "test_vmm_sleeper")
GUEST_FLAGS = (
    "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic", "-no-pie", "-fno-stack-protector",
    "-fcf-protection=none", "-mgeneral-regs-only", "-mno-red-zone", "-nostdlib", "-static",
    "-Wl,-Ttext-segment=0x1000000", "-Wl,--build-id=none", "-Wl,-z,noexecstack",
)  # fmt: skip


def names(program: str) -> list[str]:
    """The tests of a program."""
    return re.findall(r"^TEST\((\w+)\)", (HERE / f"{program}.c").read_text(encoding="utf-8"), re.MULTILINE)


def build_machines(objects: Path, folder: Path, *flags: str) -> dict[str, Path]:
    """The programs that make whole machines, and next to them the kernel they look for."""
    return _build(MACHINES, objects, folder, *flags)


def build_snapshots(objects: Path, folder: Path, *flags: str) -> dict[str, Path]:
    """The same of those that save and clone them."""
    return _build(SNAPSHOTS, objects, folder, *flags)


def _build(programs: tuple[str, ...], objects: Path, folder: Path, *flags: str) -> dict[str, Path]:
    core = core_objects(objects, "gcc", *flags).values()
    run(["gcc", *GUEST_FLAGS, str(HERE / "vmm_guest.c"), "-o", str(folder / "vmm_guest")])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {out.name: out for out in pool.map(lambda name: link("gcc", name, core, folder, *flags), programs)}
