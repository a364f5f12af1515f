from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.host import lease
from ktstr.host.lease import LIMIT_S, lapsed, leased, myself

ROOT = Path(__file__).parents[2]
HOLD = """
import sys; from pathlib import Path; from ktstr.host.lease import leased
with leased(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
LOOP = """
import itertools, sys; from pathlib import Path; from ktstr.host.lease import leased
print("begins", flush=True)
for n in itertools.count():
    with leased(Path(sys.argv[1]) / str(n)):
        pass
"""


def has_lapsed(path: Path) -> bool:
    with lapsed(path) as gone:
        return gone


def of_another_boot(path: Path, age_s: float) -> None:
    """What a holder on another host leaves: no flock here, its own name, and a heartbeat."""
    path.write_text(json.dumps({"host": "b", "boot_id": "0-0", "pid_namespace": "pid:[1]", "pid": os.getpid()}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_lease_says_who_holds_it_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    with leased(path):
        assert json.loads(path.read_text()) == {
            "host": os.uname().nodename,
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "pid_namespace": str(Path("/proc/self/ns/pid").readlink()),
            "pid": os.getpid(),
        }
        assert not has_lapsed(path)
    assert not path.exists() and not has_lapsed(path)


def test_it_lapses_the_moment_its_holder_is_killed_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        os.utime(path, (0, 0))
        assert not has_lapsed(path), "the flock decides, whatever the heartbeat"
        holder.kill()
        holder.wait()
        assert path.exists() and has_lapsed(path)


def test_what_is_killed_at_any_moment_leaves_none_that_has_not_lapsed(tmp_path: Path) -> None:
    """It was signed a moment after it was made: killed between the two, ten minutes passed before anyone removed it."""
    command = [sys.executable, "-c", LOOP, str(tmp_path)]
    left = 0
    for moment in range(12):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
            assert holder.stdout is not None and holder.stdout.readline() == "begins\n"
            time.sleep(0.01 + moment * 0.0007)
            holder.kill()
        found = list(tmp_path.iterdir())
        assert all(has_lapsed(path) for path in found), [path.read_text() for path in found]
        for path in found:
            path.unlink()
        left += len(found)
    assert left


def test_of_another_host_or_boot_the_heartbeat_decides(tmp_path: Path) -> None:
    of_another_boot(tmp_path / "young", LIMIT_S - 60)
    of_another_boot(tmp_path / "old", LIMIT_S + 60)
    assert (has_lapsed(tmp_path / "young"), has_lapsed(tmp_path / "old")) == (False, True)


def test_a_lease_that_nobody_signed_is_left_to_its_age(tmp_path: Path) -> None:
    """Its holder may be between making it and signing it, on another host."""
    path = tmp_path / "x.lease"
    path.write_text("")
    assert not has_lapsed(path)
    os.utime(path, (time.time() - LIMIT_S - 60,) * 2)
    assert has_lapsed(path)


def test_the_heart_beats_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    path = tmp_path / "x.lease"
    with leased(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - path.stat().st_mtime < 20


def test_who_sweeps_keeps_others_from_taking_it_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    path.write_text(json.dumps({"boot_id": myself().boot_id}))
    with lapsed(path) as gone:
        assert gone and not has_lapsed(path), "one sweeper at a time"
        path.unlink()
    with leased(path):
        assert not has_lapsed(path)


def test_two_hold_no_lease_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TAKE_S", 0.1)
    with leased(tmp_path / "x"), pytest.raises(HostError, match="somebody else has it"), leased(tmp_path / "x"):
        pass
