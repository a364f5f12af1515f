"""Builds test programs of the VMM that share its objects, and the little kernel that their machines boot."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.c.test_c import C_DIR, FLAGS, HERE, run

LANGUAGE = tuple(flag for flag in FLAGS if not flag.startswith(("-O", "-fsanitize", "-fno-sanitize")))
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


def build_core(compiler: str, folder: Path, *flags: str) -> list[str]:
    """All of the VMM as objects, side by side."""
    sources = sorted((C_DIR / "core").glob("*.c"))
    objects = [str(folder / f"{source.stem}.o") for source in sources]
    command = [compiler, *flags, "-pthread", "-c"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda source, made: run([*command, str(source), "-o", made]), sources, objects))
    return objects


def link(compiler: str, program: str, core: list[str], folder: Path, *flags: str) -> Path:
    """One program with the VMM."""
    out = folder / program
    includes = [f"-I{C_DIR / name}" for name in ("include", "core")]
    run([compiler, *flags, "-pthread", *includes, str(HERE / f"{program}.c"), *core, "-o", str(out)])
    return out


def build_machines(folder: Path, *flags: str) -> dict[str, Path]:
    """The programs that make whole machines, and next to them the kernel they look for."""
    return _build(MACHINES, folder, *flags)


def build_snapshots(folder: Path, *flags: str) -> dict[str, Path]:
    """The same of those that save and clone them."""
    return _build(SNAPSHOTS, folder, *flags)


def _build(programs: tuple[str, ...], folder: Path, *flags: str) -> dict[str, Path]:
    core = build_core("gcc", folder, *flags)
    run(["gcc", *GUEST_FLAGS, str(HERE / "vmm_guest.c"), "-o", str(folder / "vmm_guest")])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {out.name: out for out in pool.map(lambda name: link("gcc", name, core, folder, *flags), programs)}
