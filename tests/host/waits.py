"""What a wait waits for, in tests: locks of another process, and servers that never answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled

_HOLD = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
    "print('held', flush=True); sys.stdin.read()"
)
SOON_S = 8.0  # a busy machine's; what is waited for in these tests would take at least twice that


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the exclusive lock on a file for the length of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.stdin.close()


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server on loopback that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@contextmanager
def cancelled_soon(cancel: Cancel, after_s: float = 0.3) -> Iterator[None]:
    """The block waits; ``cancel`` is set after a while, and that must end it soon, with Cancelled."""
    timer = threading.Timer(after_s, cancel.set)
    began = time.monotonic()
    timer.start()
    try:
        with pytest.raises(Cancelled):
            yield
    finally:
        timer.cancel()
    assert cancel.is_set(), "it did not wait at all"
    assert time.monotonic() - began < after_s + SOON_S


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process has ended, or does within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def hanging_tool(path: Path, real: str = "true") -> str:
    """A program at ``path`` that leaves questions (``--version``, ``-print-...``) to ``real``, and else hangs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$1" in --version|-print-*) exec {real} "$@" ;; esac\nsleep 60\n')
    path.chmod(0o755)
    return str(path)


def failing_tool(path: Path, words: str, real: str = "true") -> str:
    """The same, but it fails with ``words``."""
    hanging_tool(path, real)
    path.write_text(path.read_text().replace("sleep 60", f"echo '{words}' >&2; exit 1"))
    return str(path)
