"""From a source tree to a bootable vmlinux: configure, verify, make."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.kernels.kconfig import Kconfig, LostOptions, check_bootable, verify
from ktstr.kernels.make import BuildFailed, Make
from ktstr.kernels.toolchain import KernelToolchain
from ktstr.progress import Steps

STAMP = ".ktstr-configured"
_BASE_TARGET = {"minimal": "tinyconfig", "full": "defconfig"}


@dataclass(frozen=True)
class Built:
    """What a build left in its object folder. ``steps``: files made in this run, of all when it began from nothing."""

    vmlinux: Path
    config: str
    release: str
    steps: int | None


@dataclass(frozen=True)
class CompileOptions:
    """How a build runs. ``cpus``: where make may run, all when empty; ``expected``: files an earlier build made."""

    jobs: int
    log: Path
    cpus: tuple[int, ...] = ()
    on_progress: Callable[[Steps], None] | None = None
    expected: int | None = None
    clean: bool = False
    cancel: Cancel | None = None


def compile_kernel(
    source: Path, out: Path, kconfig: Kconfig, toolchain: KernelToolchain, options: CompileOptions
) -> Built:
    """Build ``vmlinux`` of ``source`` with objects in ``out``, going on where an interrupted build stopped.

    With ``out == source`` the tree is built in place, with its own ``.config``, which is read and never written
    by anything but make itself. Raises LostOptions for a configuration that lost something, BuildFailed when make
    fails, HostError when the disk is full.
    """
    make = Make(source, out, toolchain, options.log, options.cpus, options.cancel)
    in_place = out == source
    if options.clean:
        _clean(make, in_place)
    try:
        out.mkdir(parents=True, exist_ok=True)
        fresh = not in_place and _configure(make, kconfig)
    except OSError as err:
        raise full_or_denied(err, out) from err
    if in_place:
        check_bootable((source / ".config").read_text(encoding="utf-8", errors="replace"), source)
    steps = make.run(
        ["vmlinux"], jobs=options.jobs, expected=options.expected if fresh else None, on_progress=options.on_progress
    )
    config = (out / ".config").read_text(encoding="utf-8", errors="replace")
    if not in_place:
        verify(config, kconfig, source, toolchain.pahole)
    release = (out / "include/config/kernel.release").read_text(encoding="utf-8", errors="replace").strip()
    if not (out / "vmlinux").is_file():
        raise HostError(f"{source}: make ended well and left no vmlinux in {out}", fix=f"read {options.log}")
    return Built(out / "vmlinux", config, release, steps if fresh else None)


def _clean(make: Make, in_place: bool) -> None:
    """Throw objects away; a configuration of the user's own is kept."""
    if in_place:
        make.run(["clean"])
    else:
        shutil.rmtree(make.out, ignore_errors=True)


def _configure(make: Make, kconfig: Kconfig) -> bool:
    """Write ``.config`` unless it is the one that is wanted; True when this build begins from nothing."""
    stamp, config = make.out / STAMP, make.out / ".config"
    said = f"{kconfig.digest} {make.toolchain.digest}"
    if _stands(stamp, said, make.source) and _holds(config, kconfig, make):
        return False
    fresh, before = not stamp.exists(), _read_with_time(config)
    stamp.write_text("", encoding="utf-8")  # whoever is killed from here on leaves a configuration half made
    make.run([_BASE_TARGET[kconfig.base]])
    with config.open("a", encoding="utf-8") as file:
        file.write(kconfig.text)
    make.run(["olddefconfig"])
    verify(config.read_text(encoding="utf-8"), kconfig, make.source, make.toolchain.pahole)
    if before is not None and config.read_bytes() == before[0]:
        os.utime(config, ns=(before[1], before[1]))  # as if it had not been written: nothing to make again
    stamp.write_text(said, encoding="utf-8")
    return fresh


def _holds(config: Path, kconfig: Kconfig, make: Make) -> bool:
    """Whether ``.config`` is there and nobody took an option out of it."""
    try:
        verify(config.read_text(encoding="utf-8"), kconfig, make.source, make.toolchain.pahole)
    except (FileNotFoundError, UnicodeDecodeError, LostOptions):
        return False
    return True


def _read_with_time(path: Path) -> tuple[bytes, int] | None:
    """A file's bytes and when it was written (ns); None when there is none."""
    try:
        return path.read_bytes(), path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _stands(stamp: Path, said: str, source: Path) -> bool:
    """Whether the stamp says the same, and no Kconfig file of the tree was written after it."""
    try:
        written = stamp.stat().st_mtime_ns
        if stamp.read_text(encoding="utf-8") != said:
            return False
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    return not any(
        Path(folder, name).lstat().st_mtime_ns >= written
        for folder, _, names in os.walk(source)
        for name in names
        if name.startswith("Kconfig")
    )


def write_compile_commands(source: Path, out: Path, toolchain: KernelToolchain, log: Path) -> str | None:
    """``compile_commands.json`` beside the objects of a local tree, for editors. Gives why it could not be made."""
    try:
        Make(source, out, toolchain, log).run(["compile_commands.json"])
    except BuildFailed as err:
        return str(err)
    return None
