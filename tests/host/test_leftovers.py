"""What a killed process leaves goes, and what one that lives has stays: each kind is tried both ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktstr.files import staged
from ktstr.host import leftovers, orphans
from ktstr.host.cache import Cache
from ktstr.host.flock import locked, try_lock
from ktstr.host.leftovers import Cleaned, Left, Leftover, clean
from ktstr.host.reserve import llc_lock
from ktstr.host.scratch import LEASE, scratch

HOUR_AGO = time.time() - 3600
DAYS_AGO = time.time() - 2 * 86_400
DEAD = 4_194_305  # above any pid: kernel/pid.c, PID_MAX_LIMIT

_HOLDING = """
import sys, time
from pathlib import Path
from ktstr.host.flock import locked
from ktstr.host.cache import Cache
from ktstr.host.scratch import scratch
kind, place = sys.argv[1], Path(sys.argv[2])
if kind == "lock":
    held = locked(place / "a.lock")
elif kind == "scratch":
    held = scratch(".work-", place)
else:
    cache = Cache(place)
    writing = cache.writing("images", "key")
    writing.__enter__()
    held = cache.storing("images", "key")
with held:
    print("has it", flush=True)
    time.sleep(600)
"""


@contextmanager
def holding(kind: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has something of this kind in ``place``; killed afterwards, if not before."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDING, kind, str(place)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "has it\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


FOUND: dict[str, Callable[[Path], Iterator[Leftover]]] = {
    "lock": leftovers.lock_files,
    "scratch": lambda place: leftovers.leased_folders(place, "."),
    "entry": leftovers.unfinished_entries,
}


def names(rows: tuple[Left, ...]) -> list[str]:
    return [Path(row.name).name for row in rows]


def files(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file() or "work" in path.name)


@pytest.mark.parametrize("kind", FOUND)
def test_what_somebody_has_is_skipped_and_named_and_goes_once_he_is_killed(tmp_path: Path, kind: str) -> None:
    with holding(kind, tmp_path) as process:
        before = files(tmp_path)
        kept = clean(FOUND[kind](tmp_path), dry_run=False)
        assert (kept.removed, kept.failed) == ((), ())
        assert [who for _, who in kept.in_use] == [f"pid {process.pid}"]
        assert files(tmp_path) == before
        process.kill()
        process.wait()
        shown = clean(FOUND[kind](tmp_path), dry_run=True)
        assert len(shown.removed) == 1 and files(tmp_path) == before, "nothing goes in a dry run"
        gone = clean(FOUND[kind](tmp_path), dry_run=False)
        assert names(gone.removed) == names(shown.removed)
    assert [name for name in files(tmp_path) if not name.startswith(".locks/")] == []
    assert clean(FOUND[kind](tmp_path), dry_run=False) == Cleaned((), (), ())


def test_a_scratch_folder_is_gone_after_its_use_with_its_lease(tmp_path: Path) -> None:
    with scratch(".work-", tmp_path) as folder:
        (folder / "file").touch()
        assert folder.with_name(folder.name + LEASE).is_file()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_folders_without_a_lease_and_other_files_are_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "ktstr-lab-old").mkdir()
    (tmp_path / "notes.tmp").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "key").mkdir()
    found = [*leftovers.leased_folders(tmp_path, "ktstr-"), *leftovers.unfinished_entries(tmp_path)]
    assert [*found, *leftovers.staged_files([tmp_path]), *leftovers.lock_files(tmp_path)] == []


@pytest.mark.parametrize(
    ("pid", "at", "gone"),
    [(DEAD, HOUR_AGO, True), (DEAD, None, False), (os.getpid(), HOUR_AGO, False)],
    ids=["dead and old", "dead and new", "alive and old"],
)
def test_a_file_that_was_being_written_goes_when_its_writer_is_dead_and_it_is_old(
    tmp_path: Path, pid: int, at: float | None, gone: bool
) -> None:
    path = tmp_path / f"failed.json.tmp.{pid}.0badcafe"
    path.touch()
    if at is not None:
        os.utime(path, (at, at))
    cleaned = clean(leftovers.staged_files([tmp_path]), dry_run=False)
    assert (len(cleaned.removed), len(cleaned.in_use), path.exists()) == (gone, not gone, not gone)


def test_a_piece_that_arrived_goes_when_nobody_counted_on_it_for_a_day(tmp_path: Path) -> None:
    folder = tmp_path / leftovers.PIECES
    folder.mkdir(parents=True)
    for name, at in (("a" * 64, DAYS_AGO), ("b" * 64, HOUR_AGO), (f"c.tmp.{DEAD}.x", DAYS_AGO)):
        (folder / name).write_text("x")
        os.utime(folder / name, (at, at))
    cleaned = clean(leftovers.abandoned_pieces(tmp_path), dry_run=False)
    assert names(cleaned.removed) == ["a" * 64]
    assert names(clean(leftovers.abandoned_pieces(tmp_path, max_age_s=60), dry_run=False).removed) == ["b" * 64]
    assert list(leftovers.abandoned_pieces(tmp_path / "none")) == []


def test_results_that_nobody_fetched_go_once_they_are_old(tmp_path: Path) -> None:
    for name, age in (("old", 2 * 86_400), ("young", 60)):
        folder = tmp_path / leftovers.RESULTS / name
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
        os.utime(folder, (time.time() - age,) * 2)
    (removed,) = clean(leftovers.unfetched_results(tmp_path), dry_run=False).removed
    assert (removed.kind, Path(removed.name).name) == ("unfetched result", "old")
    assert [path.name for path in (tmp_path / leftovers.RESULTS).iterdir()] == ["young"]


def test_scratch_of_a_dask_worker_stays_while_it_is_locked_as_dask_locks_it(tmp_path: Path) -> None:
    from distributed.diskutils import WorkSpace

    space = tmp_path / leftovers.DASK / "dask-scratch-space"
    alive = WorkSpace(str(space)).new_work_dir(prefix="worker-")
    folder = Path(alive.dir_path)
    (lock,) = space.glob("worker-*.dirlock")
    os.utime(lock, (HOUR_AGO, HOUR_AGO))
    ((left, who),) = clean(leftovers.scratch_of_dask(tmp_path), dry_run=False).in_use
    assert left.name == str(folder) and who == f"pid {os.getpid()}" and folder.is_dir()
    dead = space / "worker-dead"
    dead.mkdir()
    for age in (0, 3600):
        (space / "worker-dead.dirlock").touch()
        os.utime(space / "worker-dead.dirlock", (time.time() - age,) * 2)
        removed = names(clean(leftovers.scratch_of_dask(tmp_path), dry_run=False).removed)
        assert removed == (["worker-dead"] if age else [])
    assert not dead.exists() and not (space / "worker-dead.dirlock").exists()
    alive.release()


def test_what_is_being_made_inside_an_entry_is_known_by_its_name(tmp_path: Path) -> None:
    with scratch(".vmm-", tmp_path) as folder, staged(tmp_path / "symbols.zst") as temp:
        temp.touch()
        assert len(list(tmp_path.iterdir())) == 3
        assert all(leftovers.is_unfinished(path.name) for path in (folder, temp, *tmp_path.iterdir()))
    for name in ("vmlinux", "libc.so.6", ".config", "a.lease", "a.tmp", "x-0123456789abcdef", "tool.json"):
        assert not leftovers.is_unfinished(name)


def test_who_waits_for_a_lock_file_that_is_removed_gets_another(tmp_path: Path) -> None:
    path = llc_lock(tmp_path, 0)
    with locked(path):
        pass
    clean(leftovers.lock_files(tmp_path, "ktstr-"), dry_run=False)
    assert not path.exists()
    with locked(path, timeout_s=0):
        assert path.exists()


def test_what_cannot_be_removed_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.lock").touch()
    (tmp_path / "b.lock").mkdir()
    cleaned = clean(leftovers.lock_files(tmp_path), dry_run=False)
    assert names(cleaned.removed) == ["a.lock"]
    assert [(Path(left.name).name, why) for left, why in cleaned.failed] == [("b.lock", "Is a directory")]


_TETHERED = """
import os, subprocess, sys, threading
from ktstr.cancel import Cancel
from ktstr.host.command import read, start
process = start(["sh", "-c", sys.argv[1]], dict(os.environ), subprocess.DEVNULL)
for line in read(process, Cancel(), None):
    print(line.decode().strip(), flush=True)
"""


@contextmanager
def tethered(script: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A ktstr that runs a script in a tether, and the pids of ``sleep`` that this prints on one line; all killed
    afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _TETHERED, script], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    try:
        for pid in pids:  # amid its exec a process has no environment
            while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
                time.sleep(0.01)
        yield process, pids
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue


def ours(pids: list[int]) -> Iterator[Leftover]:
    return (left for left in leftovers.processes() if int(left.name.split()[1]) in pids)


def ended(pid: int) -> bool:
    """Whether it ends within ten seconds."""
    for _ in range(100):
        if orphans.look(pid) is None:
            return True
        time.sleep(0.1)
    return False


def test_a_child_of_a_killed_runs_command_is_ended_but_no_daemon_and_no_live_runs(tmp_path: Path) -> None:
    script = "sleep 600 >&- & one=$!; setsid sleep 600 >&- & echo $one $!; wait"
    with tethered(script) as (process, pids), tethered(script) as (live, others):
        child, daemon = pids
        kept = clean(ours([*pids, *others]), dry_run=False)
        assert (kept.removed, {who for _, who in kept.in_use}) == ((), {f"pid {process.pid}", f"pid {live.pid}"})
        process.kill()
        process.wait()
        gone = clean(ours([*pids, *others]), dry_run=False)
        assert [left.name for left in gone.removed] == [f"pid {child} (sleep 600)"]
        assert ended(child)
        os.kill(daemon, 0)  # it lives
        assert orphans.look(others[0]) is not None
        assert not orphans.end_orphan(others[0])


def test_a_lease_of_another_boot_says_who_holds_it(tmp_path: Path) -> None:
    lease = tmp_path / f".work-1{LEASE}"
    lease.write_text(json.dumps({"host": "elsewhere", "boot_id": "another", "pid_namespace": "x", "pid": 7}))
    cleaned = clean(leftovers.leased_folders(tmp_path, "."), dry_run=False)
    assert [who for _, who in cleaned.in_use] == ["pid 7 of host elsewhere"]
    os.utime(lease, (HOUR_AGO, HOUR_AGO))
    assert len(clean(leftovers.leased_folders(tmp_path, "."), dry_run=False).removed) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_is_a_link_has_its_locks_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "one" / "images" / f".tmp-key-{DEAD}").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "images").symlink_to(tmp_path / "one" / "images")
    assert list(leftovers.unfinished_entries(tmp_path / "two")) == []
    assert len(list(leftovers.unfinished_entries(tmp_path / "one"))) == 1


def test_a_writers_lock_is_taken_while_his_entry_goes(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    left = cache.root / "images" / f".tmp-key-{DEAD}"
    left.mkdir(parents=True)
    (found,) = leftovers.unfinished_entries(tmp_path)
    with found.claim() as claim:
        assert claim.gone
        assert try_lock(cache.lock_file("images", "key"), 2) is None
    assert left.exists()
