"""The nested lab: a virtual machine with a real ``/dev/kvm``, in which this host's files are seen.

QEMU emulates an AMD CPU with SVM, so that kvm-amd of a stock kernel runs in it. The host's root is
exported read-only; what the command writes lands in memory and is gone with the lab, except in
one shared folder. A panic of the lab's own kernel, or a reset of its machine, says nothing about what
ran in it: the lab is started again, and what happens each time is an error of the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache
from ktstr.host.scratch import scratch
from ktstr.lab import kernel as lab_kernel
from ktstr.lab.environ import in_lab
from ktstr.lab.initramfs import Request, build_init, initramfs
from ktstr.lab.kernel import LabKernel
from ktstr.lab.qemu import LabFiles, qemu_args
from ktstr.lab.stream import following
from ktstr.pins.lock import Lock
from ktstr.resources import c_dir
from ktstr.tools.pinned import Tool, ensure_qemu, resolve_tool
from ktstr.vm import agent
from ktstr.vm.ending import panic_in
from ktstr.vm.process import Command, supervise
from ktstr.vm.watch import Ended, Limits

MEMORY_MIB = 4096
ATTEMPTS = 3  # what emulates the lab's SVM takes it down in some runs
_OUTPUT_CAP = 256 << 20  # bytes; with the supervisor's slack also the most that one shared file may have
_CONSOLE_CAP = 16 << 20
_STATUS = re.compile(r"(exit|signal) (\d{1,3})\n")
_TAIL = 64 << 10


@dataclass(frozen=True)
class LabResult:
    """How a command ended in the lab.

    ``status`` is its exit status, 128 plus the signal that killed it; ``output`` what it wrote, both
    streams; ``lost`` how a first attempt went down, by a panic or a reset of the lab, else None.
    """

    status: int
    output: bytes
    lost: str | None


@dataclass(frozen=True)
class Lab:
    """All that a lab is started with. ``kernel_args``: words for its kernel, behind those it always gets."""

    tool: Tool
    kernel: LabKernel
    init: bytes
    kernel_args: tuple[str, ...] = ()


def run_in_lab(
    command: Sequence[str],
    *,
    checkout: Path,
    cache: Cache,
    apt: Apt,
    lock: Lock,
    environ: Mapping[str, str],
    timeout_s: float,
    writable: Path | None = None,
    sink: Callable[[bytes], None] = lambda _: None,
    cancel: Cancel | None = None,
    memory_mib: int = MEMORY_MIB,
    kernel_args: tuple[str, ...] = (),
) -> LabResult:
    """Run ``command`` as root in the lab, in the folder ``checkout``; ``sink`` gets its output as it comes.

    ``environ`` is its whole environment (see ``environ.passed_on``); ``writable`` a folder of the host that
    it can write to, at the same path, files of up to 256 MiB; ``kernel_args`` more words for the lab's own kernel.
    Blocks; the lab ends with this thread.
    Raises InputError for a command or folder that cannot be, and in a lab; HostError when the lab does not
    come up, panics twice or takes longer than ``timeout_s``; Cancelled.
    """
    if in_lab(os.environ):
        raise InputError("lab: this is the lab already", fix="run the command itself")
    request = Request(tuple(command), _folder(checkout), environ, None if writable is None else _folder(writable))
    with scratch("ktstr-lab-") as work:
        lab = replace(prepare(cache, apt, lock, work), kernel_args=kernel_args)
        return run(lab, request, work, timeout_s, sink, cancel or Cancel(), memory_mib)


def prepare(cache: Cache, apt: Apt, lock: Lock, work: Path) -> Lab:
    """Fetch and build what is missing. Raises HostError."""
    cc = agent.compiler(os.environ)
    build_init(c_dir(), cc, work / "init", cache.cancel)
    tool = ensure_qemu(resolve_tool("qemu", lock, apt), cache, apt)
    kernel = lab_kernel.ensure(lab_kernel.resolve(lock, apt), cache, apt)
    return Lab(tool, kernel, (work / "init").read_bytes())


def run(
    lab: Lab, request: Request, work: Path, timeout_s: float, sink: Callable[[bytes], None], cancel: Cancel,
    memory_mib: int = MEMORY_MIB,
) -> LabResult:  # fmt: skip
    """Run a request with files in the folder ``work``. As ``run_in_lab``."""
    lost: list[str] = []
    files = LabFiles(work, lab.tool.data_dir, lab.kernel.vmlinux, request.shared)
    files.initrd.write_bytes(initramfs(lab.init, lab.kernel, request))
    for _ in range(ATTEMPTS):
        cancel.check()
        ended = _attempt(lab, files, timeout_s, sink, cancel, memory_mib)
        status = _status(files)
        if status is not None:
            return LabResult(status, files.output.read_bytes(), lost[0] if lost else None)
        if (how := _lost(ended, files)) is None:
            raise _broken(ended, files, timeout_s)
        lost.append(how)
        sink(f"\nlab: {how}; attempt {len(lost)} of {ATTEMPTS}\n".encode())
    raise HostError(f"lab: lost {ATTEMPTS} times: {'; '.join(lost)}", fix="run the command again")


def _attempt(
    lab: Lab, files: LabFiles, timeout_s: float, sink: Callable[[bytes], None], cancel: Cancel, memory_mib: int
) -> Ended:
    for path in (files.output, files.status, files.console):
        path.write_bytes(b"")
    limits = Limits(
        timeout_s,
        ((files.output, _OUTPUT_CAP), (files.console, _CONSOLE_CAP)),
        lambda: _panic(files) is not None,
    )
    command = Command(
        (*lab.tool.argv_prefix, *qemu_args(files, memory_mib, lab.kernel_args)), files.emulator, lab.tool.env
    )
    with following(files.output, sink):
        return supervise(command, limits, cancel)


def _panic(files: LabFiles) -> str | None:
    found = panic_in(_tail(files.console))
    return None if found is None else found.strip()


def _lost(ended: Ended, files: LabFiles) -> str | None:
    """How the lab went down with what ran in it; None when it did not, or was ended by us."""
    if (panic := _panic(files)) is not None:
        return f"its own kernel panicked: {panic}"
    reset = ended.stopped is None and ended.status == 0  # what the emulator does with a triple fault
    return "its machine was reset" if reset else None


def _status(files: LabFiles) -> int | None:
    """The command's status; None when the lab did not come so far. Raises HostError with the lab's own error."""
    text = _tail(files.status)
    if text.startswith("error "):
        raise HostError(f"lab: {text.removeprefix('error ').strip()}", fix="run the command again")
    match = _STATUS.fullmatch(text)
    if match is None:
        return None
    return int(match.group(2)) + (128 if match.group(1) == "signal" else 0)


def _broken(ended: Ended, files: LabFiles, timeout_s: float) -> KtstrError:
    if ended.stopped == "timeout":
        return HostError(f"lab: the command was still running after {timeout_s:.0f} s", fix="allow it more time")
    if ended.stopped == "flood":
        return HostError(f"lab: the command wrote more than {_OUTPUT_CAP >> 20} MiB", fix="write less")
    if ended.stopped == "cancelled":
        return Cancelled()
    last = " / ".join((_tail(files.console) or _tail(files.emulator)).strip().splitlines()[-3:])
    return HostError(f"lab: ended without a word (emulator: {ended.status}): {last}", fix="run the command again")


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            return file.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return ""


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"lab: {path} is no folder")
    return path.resolve()
