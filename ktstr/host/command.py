"""Other people's programs, run to their end: they die with us, and end with all they started when they are not wanted
any more."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import FULL, full_or_denied
from ktstr.host import tether

MAX_FILE = 8 << 30  # bytes of one file that a program writes; vmlinux.o with KASAN and DWARF is below 2 GiB
_PATIENCE_S = 5.0  # before each harder way to end it


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit status, or minus the signal that killed it, and what it wrote."""

    status: int
    output: str
    errors: str

    def check_room(self, folder: Path, setting: str | None = "KTSTR_CACHE_DIR") -> None:
        """Raise HostError when it failed, in English, because the disk of ``folder``, where it writes, is full.

        ``setting`` as in ``full_or_denied``.
        """
        full = disk_full(self.errors) if self.status else None
        if full is not None:
            raise full_or_denied(full, folder, setting)


def disk_full(errors: str) -> OSError | None:
    """What the system told a program that wrote ``errors``, if it is that a disk or a quota is full."""
    told = (number for number in FULL if os.strerror(number) in errors)
    return next((OSError(number, os.strerror(number)) for number in told), None)


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    cancel: Cancel,
    *,
    cwd: Path | None = None,
    timeout_s: float | None = None,
) -> Ended:
    """Run a program of ``environ``'s PATH in the folder ``cwd``, with nothing to read, and wait for it.

    Raises Cancelled when ``cancel`` is set, subprocess.TimeoutExpired after ``timeout_s``, both with the program and
    all it started gone, or never started; HostError for one that is not on the PATH.
    """
    cancel.check()
    with os.fdopen(os.memfd_create("errors"), "w+b") as errors:
        process = start(command, environ, errors, cwd)
        output = b"".join(read(process, cancel, timeout_s))
        errors.seek(0)
        written = errors.read()
    return Ended(process.wait(), output.decode("utf-8", "replace"), written.decode("utf-8", "replace"))


def start(
    command: Sequence[str], environ: Mapping[str, str], errors: int | IO[bytes], cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own; its output is a pipe, ``errors`` as subprocess takes it.

    It is killed when the calling thread ends. Raises HostError when it is not on the PATH.
    """
    program = shutil.which(command[0], path=environ.get("PATH", os.defpath))
    if program is None:
        raise HostError(f"{command[0]}: found no such program", fix=f"install it, or correct PATH for {command[0]}")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(MAX_FILE), program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=dict(environ),
        cwd=cwd,
        start_new_session=True,
    )


def read(
    process: subprocess.Popen[bytes], cancel: Cancel, timeout_s: float | None = None
) -> Generator[bytes, None, None]:
    """What a started program writes, as it comes, until it closes its output.

    Whatever ends this ends the program and all it started too. Raises Cancelled when ``cancel`` is set,
    subprocess.TimeoutExpired after ``timeout_s``.
    """
    output, began = process.stdout, time.monotonic()
    assert output is not None, "start makes it a pipe"
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(output, selectors.EVENT_READ)
            ready.register(cancel, selectors.EVENT_READ)
            while True:
                ready.select(None if timeout_s is None else max(0.0, began + timeout_s - time.monotonic()))
                cancel.check()
                if timeout_s is not None and time.monotonic() >= began + timeout_s:
                    raise subprocess.TimeoutExpired(process.args, timeout_s)
                data = os.read(output.fileno(), 1 << 16)
                if not data:
                    process.wait()
                    return
                yield data
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a started program and all it started, whether or not it ended by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
