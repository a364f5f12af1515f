from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ktstr.errors import HostError, InputError
from ktstr.host import lease
from ktstr.record.cell import CellRecord
from ktstr.record.machine import PerformanceMode
from ktstr.results.store import RECORD, CellStore, dump_record, load_record, reusable
from tests.checks.reports import end, kvm_run
from tests.results.cells import cell

DIGEST = "ab" * 32
PERFORMANCE = PerformanceMode(
    pin=(1, 2), memory_nodes=((0,), ()), service_cpu=0, fifo_priority=None, realtime_hint=True, keep_pause=True,
    keep_halt=False, huge_pages=False, populate=True,
)  # fmt: skip
ROOT = Path(__file__).parents[2]


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    path.write_bytes(dump_record(cell()))
    assert load_record(path) == cell()


def test_a_kvm_run_comes_back_equal(tmp_path: Path) -> None:
    kvm = kvm_run(2**63, 0, performance=PERFORMANCE, warnings=("a", "b"), boot_ms=1.5)
    path = tmp_path / RECORD
    path.write_bytes(dump_record(cell(end=replace(end(), kvm=kvm))))
    found = load_record(path).end.kvm
    assert found == kvm and found.vcpu_stats[1] == {"exits": 101, "halt_exits": 7, "nested_run": 0}


def test_records_from_before_there_was_kvm_are_read(tmp_path: Path) -> None:
    whole = stored()
    assert whole["record"]["end"].pop("kvm") is None
    path = tmp_path / RECORD
    path.write_text(json.dumps(whole))
    assert load_record(path) == cell()


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dump_record(cell()))
    return found


def edited(*keys: Any, value: Any = None, drop: bool = False) -> dict[str, Any]:
    whole = stored()
    at: Any = whole
    for key in keys[:-1]:
        at = at[key]
    if drop:
        del at[keys[-1]]
    else:
        at[keys[-1]] = value
    return whole


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (edited("version", value=2), "record version 2, expected 1"),
        (edited("version", value=True), "record version True"),
        (edited("record", value=None), "record: found None, expected an object"),
        (edited("record", "run_id", drop=True), "record.run_id: missing field"),
        (edited("record", "end", "detail", drop=True), "record.end.detail: missing field"),
        (edited("record", "guest", "workers", drop=True), "record.guest.workers: missing field"),
        (edited("record", "end", "kvm", value={}), "record.end.kvm.vm_stats: missing field"),
        (edited("record", "more", value=1), "record.more: unknown field"),
        (edited("record", "end", "reason", value="bored"), "record.end.reason: found 'bored', expected one of clean,"),
        (edited("record", "guest", "workers", 1, "tid", value="1"), "workers[1].tid: found '1', expected a 64-bit"),
        (edited("record", "guest", "workers", 0, "completed", value=1), "[0].completed: found 1, expected a bool"),
        (edited("record", "guest", "workers", 0, "cpus_used", value=[0, 2**70]), "cpus_used[1]"),
        (edited("record", "guest", "workers", 0, "cpus_used", value=[True]), "cpus_used[0]: found True"),
        (edited("record", "guest", "sched_events", value={}), "sched_events: found {}, expected an array"),
    ],
)
def test_a_record_that_is_not_exactly_one_is_refused_with_its_field(
    tmp_path: Path, whole: dict[str, Any], said: str
) -> None:
    path = tmp_path / RECORD
    path.write_text(json.dumps(whole))
    with pytest.raises(InputError) as error:
        load_record(path)
    assert str(path) in error.value.message and said in error.value.message


def test_a_stored_cell_has_its_files_and_its_record(tmp_path: Path) -> None:
    store = CellStore(tmp_path / ".cells")
    assert store.read(DIGEST) is None
    with store.working(DIGEST) as workdir:
        (workdir / "console.log").write_text("booted")
        assert store.read(DIGEST) is None, "nothing is there before it is whole"
        folder = store.commit(DIGEST, workdir, cell())
    assert folder == store.folder(DIGEST)
    assert (folder / "console.log").read_text() == "booted"
    assert store.read(DIGEST) == cell()
    assert [p.name for p in (tmp_path / ".cells").iterdir()] == [DIGEST[:16]]


def test_measuring_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    with store.working(DIGEST) as first:
        (first / "old.log").write_text("x")
        store.commit(DIGEST, first, cell())
    with store.working(DIGEST) as second:
        store.commit(DIGEST, second, cell(run_id="20250102T030405Z-5"))
    again = store.read(DIGEST)
    assert again is not None and again.run_id == "20250102T030405Z-5"
    assert [p.name for p in store.folder(DIGEST).iterdir()] == [RECORD]


def _commit_many(root: Path, n: int) -> None:
    store = CellStore(root)
    for i in range(20):
        with store.working(DIGEST) as workdir:
            (workdir / "console.log").write_text(f"{n}-{i}")
            store.commit(DIGEST, workdir, cell(run_id=f"20250102T030405Z-{n}", measured_at=f"{n}-{i}"))


def test_concurrent_writers_of_one_cell_both_end_and_leave_one_whole_cell(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_commit_many, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    last = CellStore(tmp_path).read(DIGEST)
    assert last is not None
    assert (tmp_path / DIGEST[:16] / "console.log").read_text() == last.measured_at, "record and console are of one run"
    assert [p.name for p in tmp_path.iterdir()] == [DIGEST[:16]]


def test_a_record_filed_under_another_digest_is_refused(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    with store.working("cd" * 32) as workdir:
        store.commit("cd" * 32, workdir, cell())
    with pytest.raises(InputError, match="found the record of abab"):
        store.read("cd" * 32)


@pytest.mark.parametrize("digest", ["", "..", "ab/../cd", "AB" * 32, "x" * 64])
def test_only_digests_name_folders(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ValueError, match="no digest"):
        CellStore(tmp_path).folder(digest)


def test_files_of_a_run_that_is_no_result_are_kept_apart(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    with store.working(DIGEST) as workdir:
        (workdir / "console.log").write_text("half a boot")
        kept = store.set_aside(DIGEST, workdir)
    assert (kept / "console.log").read_text() == "half a boot"
    assert store.read(DIGEST) is None


def _killed(root: Path) -> None:
    with CellStore(root).working(DIGEST):
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_killed_runs_left_is_swept_and_live_runs_stay(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    with store.working(DIGEST) as live:
        child = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
        child.start()
        child.join()
        assert len(list(tmp_path.iterdir())) == 4, "two folders and their leases"
        store.sweep()
        assert sorted(tmp_path.iterdir()) == [live, live.with_name(live.name + ".lease")]
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_raises_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), CellStore(tmp_path).working(DIGEST):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


WORKER = """
import sys; from pathlib import Path; from ktstr.results.store import CellStore
with CellStore(Path(sys.argv[1])).working("ab" * 32) as folder:
    (folder / "console.log").write_text("booting")
    print("working", flush=True)
    sys.stdin.read()
    print((folder / "console.log").read_text(), flush=True)
"""
SWEEPER = """
import sys; from pathlib import Path; from ktstr.results.store import CellStore
CellStore(Path(sys.argv[1])).sweep()
"""
USER = () if os.geteuid() == 0 else ("--user", "--map-root-user")
CONTAINER = ("unshare", *USER, "--pid", "--fork", "--mount-proc", "--uts")
CONTAINERS = pytest.mark.skipif(
    subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode != 0,
    reason="this user may make no pid namespace here",
)


@CONTAINERS
@pytest.mark.parametrize(("works", "sweeps"), [(CONTAINER, ()), ((), CONTAINER), (CONTAINER, CONTAINER)])
def test_containers_with_one_checkout_do_not_sweep_each_other(
    tmp_path: Path, works: tuple[str, ...], sweeps: tuple[str, ...]
) -> None:
    """A pid of one container names nobody in another: a bare one in the folder's name was taken for dead."""
    command = [*works, sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        assert worker.stdout is not None and worker.stdin is not None
        assert worker.stdout.readline() == "working\n"
        subprocess.run([*sweeps, sys.executable, "-c", SWEEPER, str(tmp_path)], check=True, cwd=ROOT)
        worker.stdin.close()
        assert worker.stdout.read() == "booting\n"
    assert worker.returncode == 0 and list(tmp_path.iterdir()) == []


@CONTAINERS
def test_what_a_killed_container_left_is_swept_at_once(tmp_path: Path) -> None:
    command = [*CONTAINER, "--kill-child", sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "working\n"
        worker.kill()
        worker.wait()
        deadline = time.monotonic() + 20
        while list(tmp_path.iterdir()) and time.monotonic() < deadline:  # its processes die a moment later
            CellStore(tmp_path).sweep()
            time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


def test_what_is_on_its_way_out_goes_and_what_an_older_ktstr_left_goes_when_it_is_old(tmp_path: Path) -> None:
    for name in (".old-x.1.0", ".run-old.1.0", ".run-young.1.0", "ab" * 8):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / ".run-old.1.0", (time.time() - lease.LIMIT_S - 60,) * 2)
    CellStore(tmp_path).sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".run-young.1.0", "ab" * 8]


def test_another_digest_of_the_same_beginning_is_no_result_and_is_replaced(tmp_path: Path) -> None:
    store, other = CellStore(tmp_path), DIGEST[:16] + "cd" * 24
    with store.working(DIGEST) as workdir:
        store.commit(DIGEST, workdir, cell(input_digest=DIGEST))
    assert store.read(other) is None
    with store.working(other) as workdir:
        store.commit(other, workdir, cell(input_digest=other))
    assert store.read(other) == cell(input_digest=other)
    assert store.read(DIGEST) is None


def test_a_store_that_cannot_be_made_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"), CellStore(tmp_path / "file" / ".cells").working(DIGEST):
        pass


def ended(reason: str) -> CellRecord:
    return replace(cell(), end=end(reason))


def test_only_facts_about_kernel_or_scheduler_are_reused() -> None:
    for reason in ("clean", "panic", "triple_fault", "virtual_deadline"):
        assert reusable(ended(reason), "pass", "icount")
    for reason in ("host_timeout", "channel_lost", "channel_garbage", "channel_flood", "killed", "emulator_failed"):
        assert not reusable(ended(reason), "error", "icount")
    assert not reusable(ended("clean"), "error", "icount")


def test_a_fail_in_real_time_is_measured_again() -> None:
    assert [reusable(ended("clean"), "fail", accel) for accel in ("icount", "tcg", "kvm")] == [True, False, False]
    assert reusable(ended("clean"), "pass", "kvm")


def test_what_cannot_be_set_aside_is_the_hosts_fault(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    (tmp_path / ".errors").touch()
    with store.working(DIGEST) as work, pytest.raises(HostError, match=r"\.errors/abab"):
        store.set_aside(DIGEST, work)


def test_a_folder_that_is_adopted_leaves_what_an_error_left(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    with store.working(DIGEST) as work:
        store.set_aside(DIGEST, work)
    with store.working(DIGEST) as work:
        (work / RECORD).write_bytes(dump_record(cell()))
        assert store.adopt(DIGEST, work) == store.folder(DIGEST)
    assert store.error_folder(DIGEST).is_dir() and (store.folder(DIGEST) / RECORD).is_file()
