from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.host import flock
from ktstr.host.flock import holders, locked, parse_flock_pids
from ktstr.host.mounts import Mount
from tests.host.waits import cancelled_soon, held_elsewhere


def test_lock_holders_are_flock_lines_of_that_inode_only() -> None:
    text = (
        "1: FLOCK  ADVISORY  WRITE 77 fe:00:1234 0 EOF\n"
        "1: -> FLOCK  ADVISORY  WRITE 78 fe:00:1234 0 EOF\n"
        "2: POSIX  ADVISORY  WRITE 79 fe:00:1234 0 EOF\n"
        "3: FLOCK  ADVISORY  READ 80 fe:00:12345 0 EOF\n"
        "4: FLOCK  ADVISORY  READ 81 fe:00:1234 0 EOF\n"
        "5: FLOCK  ADVISORY  READ 77 fe:00:1234 0 EOF\n"
    )
    assert parse_flock_pids(text, (0xFE, 0), 1234) == (77, 81)


def test_a_lock_excludes_another_process_and_names_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.lock"
    path.parent.mkdir()
    code = (
        "import fcntl,sys,time; f=open(sys.argv[1],'w'); fcntl.flock(f,fcntl.LOCK_EX);"
        "print('held',flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(HostError) as error, locked(path, timeout_s=0.2):
            pass
        assert f"pid={child.pid} cmd={sys.executable}" in str(error.value)
        assert "0.2 s" in str(error.value)
        assert [h.pid for h in holders(path)] == [child.pid]
    finally:
        child.communicate()
    with locked(path, timeout_s=0):
        assert [h.pid for h in holders(path)] == [os.getpid()]


def test_shared_locks_share_and_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with (
        locked(path, exclusive=False),
        locked(path, exclusive=False, timeout_s=0),
        pytest.raises(HostError, match="no exclusive lock within 0 s"),
        locked(path, timeout_s=0),
    ):
        pass
    with locked(path, timeout_s=0):
        assert path.exists()


def test_a_waiter_gets_the_lock_when_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    order: list[str] = []

    def wait() -> None:
        with locked(path, timeout_s=10):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.15)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_removed_lock_file_does_not_let_two_in(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with locked(path):
        path.unlink()
        with locked(path, timeout_s=0), pytest.raises(HostError), locked(path, timeout_s=0):
            pass


def test_remote_and_fuse_filesystems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        monkeypatch.setattr(flock, "read_mounts", lambda kind=kind: (Mount((0, 9), "/", kind),))
        with pytest.raises(HostError, match=f"filesystem is {kind}"), locked(tmp_path / "x.lock"):
            pass
    monkeypatch.setattr(flock, "read_mounts", lambda: (Mount((0, 9), "/", "fuseblk"),))
    with locked(tmp_path / "x.lock", timeout_s=0):
        assert (tmp_path / "x.lock").exists()


def test_a_folder_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be opened"), locked(tmp_path / "file" / "x.lock"):
        pass


def test_a_cancelled_wait_for_another_process_ends_at_once(tmp_path: Path) -> None:
    cancel = Cancel()
    with held_elsewhere(tmp_path / "x.lock"), cancelled_soon(cancel), locked(tmp_path / "x.lock", cancel=cancel):
        raise AssertionError("somebody else has it")


def test_once_cancelled_a_free_lock_is_refused_too(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled), locked(tmp_path / "x.lock", cancel=cancel):
        pass
    assert not (tmp_path / "x.lock").exists()
