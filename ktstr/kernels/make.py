"""Running the kernel's make: progress from its own output, a log, and an error that shows the cause."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host import tether
from ktstr.kernels.toolchain import KernelToolchain
from ktstr.progress import Steps

# ``  CC      kernel/sched/core.o``: what kbuild prints for each file it makes (scripts/Kbuild.include, quiet_cmd).
_STEP = re.compile(rb"  ([A-Z][A-Z0-9_]*(?: \[M\])?) +(\S+)\s*")
_CAUSE = re.compile(
    r": (fatal )?error\b|^error:|\*\*\*|undefined reference|multiple definition|No space left|Killed|not found"
    r"|No such file or directory|Permission denied",
    re.IGNORECASE,
)
_ECHO = re.compile(r"make(\[\d+\])?: \*\*\* (\[.*\] Error \d+|Deleting file .*|Waiting for unfinished jobs\.+)")
_ASKED = re.compile(r"Console input/output is redirected|Restart config")
MAX_FILE = 8 << 30  # bytes of one file that a build writes; vmlinux.o with KASAN and DWARF is below 2 GiB
# The same sources give the same kernel, whoever builds them and when (Documentation/kbuild/reproducible-builds.rst).
_FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01 00:00:00 UTC",
    "KBUILD_BUILD_USER": "ktstr",
    "KBUILD_BUILD_HOST": "ktstr",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
}


class BuildFailed(HostError):
    """make ended with an error."""


@dataclass(frozen=True)
class Make:
    """How make is called for one build: in ``source``, with objects in ``out``, output appended to ``log``."""

    source: Path
    out: Path
    toolchain: KernelToolchain
    log: Path
    cpus: tuple[int, ...] = ()
    cancel: Cancel | None = None

    def run(
        self,
        targets: Sequence[str],
        *,
        jobs: int = 1,
        more: Sequence[str] = (),
        expected: int | None = None,
        on_progress: Callable[[Steps], None] | None = None,
    ) -> int:
        """Make the targets and give the number of files made. Raises BuildFailed with the causes in the output."""
        command = [*self._command(jobs), *more, *targets]
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                log.write(f"$ make {' '.join(command[len(self._command(jobs)) :])}\n".encode())
                begin = log.tell()
                code, steps = self._follow(command, log, expected, on_progress)
        except OSError as err:
            raise full_or_denied(err, self.log) from err
        if code != 0:
            raise self._failure(targets, begin)
        return steps

    def _command(self, jobs: int) -> list[str]:
        make = shutil.which("make", path=self.toolchain.path)
        if make is None:
            raise HostError("make is gone", fix="apt-get install make")
        folders = ["-C", str(self.source)] + ([] if self.out == self.source else [f"O={self.out}"])
        return [make, *folders, f"-j{jobs}", *self._flags(), *self.toolchain.make_args]

    def _flags(self) -> tuple[str, str]:
        """Warnings stop no build, and file names in debug information are those inside the tree, wherever it lies."""
        maps = f"-fdebug-prefix-map={self.source}/= -fdebug-prefix-map={self.out}=."
        return f"KCFLAGS=-Wno-error {maps}", f"KAFLAGS={maps}"

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's that could change the kernel; ccache keeps its own settings."""
        kept = {k: v for k, v in os.environ.items() if k in ("HOME", "TMPDIR") or k.startswith("CCACHE_")}
        return {**kept, **_FIXED, "PATH": self.toolchain.path}

    def _follow(
        self,
        command: list[str],
        log: IO[bytes],
        expected: int | None,
        on_progress: Callable[[Steps], None] | None,
    ) -> tuple[int, int]:
        counter = _Counter(expected, on_progress, self.out)
        # The thread that starts make waits for it: make dies with this process, and so with make its own children.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(MAX_FILE), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        if self.cpus:
            os.sched_setaffinity(process.pid, self.cpus)
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(process.stdout, selectors.EVENT_READ)
                while True:
                    if self.cancel is not None and self.cancel.is_set():
                        raise HostError("interrupted")
                    if not ready.select(0.2):
                        continue
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    if not data:
                        break
                    log.write(data)
                    counter.feed(data)
            log.flush()
            return process.wait(), counter.done
        finally:
            _end(process)

    def _failure(self, targets: Sequence[str], begin: int) -> BuildFailed:
        text = self.log.read_bytes()[begin:].decode("utf-8", "replace")
        lines = text.splitlines()
        causes = [line for line in lines if _CAUSE.search(line)]
        causes = ([line for line in causes if not _ECHO.fullmatch(line)] or causes or lines[-5:])[:8]
        shown = "".join(f"\n  {line[:200]}" for line in causes)
        fix = f"the whole output is in {self.log}"
        if _ASKED.search(text):
            fix = f"its .config lacks new options: make -C {self.source} olddefconfig; {fix}"
        return BuildFailed(f"make {' '.join(targets)} failed in {self.source}:{shown}", fix=fix)


class _Counter:
    """Counts the files made, and says when the rest will be."""

    def __init__(self, expected: int | None, on_progress: Callable[[Steps], None] | None, out: Path) -> None:
        self._expected, self._tell, self._out = expected, on_progress, f"{out}/"
        self._began, self._rest, self.done = time.monotonic(), b"", 0

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4096:]
        last = b""
        for line in lines:
            if found := _STEP.fullmatch(line):
                self.done += 1
                last = found[2]
        if last and self._tell is not None:
            name = last.decode("utf-8", "replace").removeprefix(self._out)  # tools say their whole path
            self._tell(Steps(self.done, self._total(), self._eta(), name))

    def _total(self) -> int | None:
        return None if self._expected is None else max(self._expected, self.done)

    def _eta(self) -> float | None:
        if self._expected is None or self.done < 20:
            return None
        return max(0.0, (self._expected - self.done) * (time.monotonic() - self._began) / self.done)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End make and all it started: they are one process group."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
