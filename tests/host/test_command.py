"""Programs that others wrote: their end, ours, and that of what they start."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.host.command import Ended, disk_full, run
from tests.host.waits import cancelled_soon, gone

ROOT = Path(__file__).parents[2]
ENVIRON = {"PATH": os.environ["PATH"]}


def pid_in(path: Path, seconds: float = 20) -> int:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text().strip()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError(f"{path}: nobody wrote it")


def test_status_output_and_errors_are_told_apart() -> None:
    ended = run(["sh", "-c", "echo out; echo err >&2; read x; exit 3"], ENVIRON, Cancel())
    assert ended == Ended(3, "out\n", "err\n")
    assert run(["sh", "-c", "kill -9 $$"], ENVIRON, Cancel()).status == -signal.SIGKILL


def test_more_than_a_pipe_holds_comes_whole() -> None:
    ended = run(["sh", "-c", "seq 100000; seq 100000 >&2"], ENVIRON, Cancel())
    expected = "".join(f"{number}\n" for number in range(1, 100001))
    assert (ended.output, ended.errors) == (expected, expected)


def test_a_full_disk_or_quota_is_told_from_other_failures(tmp_path: Path) -> None:
    told = {"as: x.o: No space left on device": errno.ENOSPC, "cp: Disk quota exceeded": errno.EDQUOT}
    for words, number in told.items():
        found = disk_full(words)
        assert found is not None and found.errno == number
        with pytest.raises(HostError, match="the disk is full"):
            Ended(1, "", words).check_room(tmp_path)
        Ended(0, "", words).check_room(tmp_path)
    assert disk_full("x.c:1: error: no space") is None
    Ended(1, "", "x.c:1: error: no space").check_room(tmp_path)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(HostError, match="nosuchprogram: found no such program"):
        run(["nosuchprogram"], ENVIRON, Cancel())


def test_cancelled_it_is_gone_with_what_it_started(tmp_path: Path) -> None:
    cancel = Cancel()
    with cancelled_soon(cancel, 1.0):
        run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/shell; wait"], ENVIRON, cancel)
    assert gone(pid_in(tmp_path / "shell")) and gone(pid_in(tmp_path / "child"))


def test_out_of_time_it_is_gone_and_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sh", "-c", f"echo $$ > {tmp_path}/shell; sleep 60"], ENVIRON, Cancel(), timeout_s=1.0)
    assert gone(pid_in(tmp_path / "shell"))
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sh", "-c", "while echo; do :; done"], ENVIRON, Cancel(), timeout_s=0.5)


def test_it_runs_in_the_folder_it_is_given(tmp_path: Path) -> None:
    assert run(["pwd"], ENVIRON, Cancel(), cwd=tmp_path, timeout_s=60).output == f"{tmp_path.resolve()}\n"


def test_cancelled_before_it_is_never_started(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        run(["touch", str(tmp_path / "x")], ENVIRON, cancel)
    assert not (tmp_path / "x").exists()


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from ktstr.cancel import Cancel; from ktstr.host.command import run;"
        "run(['sh', '-c', 'echo $$ > ' + sys.argv[1] + '; exec sleep 60'], os.environ, Cancel())"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "pid")], cwd=ROOT)
    pid = pid_in(tmp_path / "pid")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert gone(pid)
