"""Threads as /proc has them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ktstr.host.threads import METRICS, UNITS, CgroupCounters, Rule, Thread
from ktstr.host.threads_capture import capture

# Fields 3 to 41 of stat: each is its own number but for the state, nice (19), start (22) and policy (41).
TAIL = ["S", *map(str, range(4, 42))]
SCHED = """a (b) c (17, #threads: 2)
-------------------------------------------------------------------
se.exec_start                                :      37343898.459433
se.statistics.wait_sum                       :            12.000345
se.statistics.wait_count                     :                    7
sum_sleep_runtime                            :          1000.000000
sum_block_runtime                            :             0.500000
iowait_sum                                   :             0.000001
iowait_count                                 :                    3
se.nr_migrations                             :                    9
nr_wakeups                                   :                   90
se.statistics.nr_wakeups_local               :                   50
nr_wakeups_remote                            :                   40
nr_wakeups_sync                              :                    4
nr_wakeups_migrate                           :                    5
nr_wakeups_idle                              :                    6
"""
FILES = {
    "comm": "a (b) c\n",
    "stat": "17 (a (b) c) " + " ".join(TAIL) + "\n",
    "schedstat": "111 222 333\n",
    "status": "Name:\ta (b) c\nCpus_allowed_list:\t0-2,5\n"
    "voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t11\n",
    "sched": SCHED,
    "io": "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n",
    "cgroup": "3:cpu:/v1\n0::/app/x\n",
}
MOUNTS = "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def refused(tid: int) -> Iterable[int]:
    raise ProcessLookupError(3, "No such process")


def make(root: Path, tgid: int = 16, tid: int = 17, **changes: Any) -> None:
    folder = root / f"proc/{tgid}/task/{tid}"
    folder.mkdir(parents=True, exist_ok=True)
    (root / f"proc/{tgid}/comm").write_text("proc\n")
    for name, text in {**FILES, **changes}.items():
        if text is not None:
            (folder / name).write_text(text)


def stat(**changes: str) -> str:
    fields = {int(name[1:]): text for name, text in changes.items()}
    return "17 (x) " + " ".join(fields.get(at, text) for at, text in enumerate(TAIL, 3))


def one(root: Path) -> Thread:
    (found,) = capture(root, refused).threads
    return found


def test_every_field_is_read_from_its_source(tmp_path: Path) -> None:
    make(tmp_path)
    assert one(tmp_path) == Thread(
        tid=17, tgid=16, pcomm="proc", comm="a (b) c", cgroup="/app/x", start_time_clock_ticks=22,
        policy="SCHED_UNKNOWN(41)", nice=19, cpu_affinity=(0, 1, 2, 5), run_time_ns=111, wait_time_ns=222,
        timeslices=333, voluntary_csw=10, nonvoluntary_csw=11, nr_wakeups=90, nr_wakeups_local=50,
        nr_wakeups_remote=40, nr_wakeups_sync=4, nr_wakeups_migrate=5, nr_wakeups_idle=6, nr_migrations=9,
        wait_sum=12_000_345, wait_count=7, sleep_sum=1_000_000_000, block_sum=500_000, block_count=None, iowait_sum=1,
        iowait_count=3, allocated_bytes=None, deallocated_bytes=None, minflt=10, majflt=12, rchar=1, wchar=2, syscr=3,
        syscw=4, read_bytes=5, write_bytes=6,
    )  # fmt: skip


def test_what_a_kernel_without_schedstats_does_not_say_is_not_zero(tmp_path: Path) -> None:
    make(tmp_path, sched="se.nr_migrations : 1\n", schedstat=None, io=None)
    found = one(tmp_path)
    assert found.nr_migrations == 1
    assert {found.nr_wakeups, found.wait_sum, found.run_time_ns, found.rchar} == {None}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("0", "SCHED_OTHER"), ("1", "SCHED_FIFO"), ("2", "SCHED_RR"), ("3", "SCHED_BATCH"), ("5", "SCHED_IDLE"),
        ("6", "SCHED_DEADLINE"), ("7", "SCHED_EXT"), ("4", "SCHED_UNKNOWN(4)"),
    ],
)  # fmt: skip
def test_policies_have_the_kernels_names(tmp_path: Path, number: str, name: str) -> None:
    make(tmp_path, stat=stat(f41=number))
    assert one(tmp_path).policy == name


def test_nice_may_be_negative(tmp_path: Path) -> None:
    make(tmp_path, stat=stat(f19="-20"))
    assert one(tmp_path).nice == -20


@pytest.mark.parametrize("listed", ["0-70000", "0,x", "3-1", ""])
def test_a_cpu_list_that_is_none_is_refused_whole(tmp_path: Path, listed: str) -> None:
    make(tmp_path, status=f"Cpus_allowed_list:\t{listed}\n")
    assert one(tmp_path).cpu_affinity == ()


def test_the_kernel_is_asked_for_the_affinity_before_the_list_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    (found,) = capture(tmp_path, lambda tid: {tid, 3}).threads
    assert found.cpu_affinity == (3, 17)


def test_a_thread_that_ended_while_it_was_read_is_left_out(tmp_path: Path) -> None:
    nothing: dict[str, Any] = dict.fromkeys(FILES)
    make(tmp_path, tid=18, **nothing)
    make(tmp_path, tid=19, **{**nothing, "comm": "named\n"})
    make(tmp_path, tid=20, **{**nothing, "stat": stat()})
    assert [thread.tid for thread in capture(tmp_path, refused).threads] == [19, 20]


def test_threads_come_by_number_of_process_then_of_thread(tmp_path: Path) -> None:
    for tgid, tid in ((9, 12), (10, 10), (9, 9), (10, 100), (10, 11)):
        make(tmp_path, tgid, tid)
    (tmp_path / "proc/self").mkdir()
    assert [(t.tgid, t.tid) for t in capture(tmp_path, refused).threads] == [
        (9, 9), (9, 12), (10, 10), (10, 11), (10, 100),
    ]  # fmt: skip


def test_bytes_that_are_no_text_and_numbers_that_are_none_do_no_harm(tmp_path: Path) -> None:
    make(tmp_path, schedstat="-1 99999999999999999999 ٣", io="rchar: 18446744073709551615\nwchar\n")
    (tmp_path / "proc/16/task/17/comm").write_bytes(b"\xff\xfe")
    found = one(tmp_path)
    assert (found.run_time_ns, found.wait_time_ns, found.timeslices) == (None, None, None)
    assert (found.rchar, found.wchar, found.comm) == (2**64 - 1, None, "��")


def test_each_cgroup_is_read_once_where_cgroup_2_is_mounted(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, tid=18)
    make(tmp_path, tid=19, cgroup="0::/../outside\n")
    make(tmp_path, tid=20, cgroup="0::/none\n")
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    for name in ("app/x", "../outside"):
        folder = tmp_path / "sys/fs/cgroup" / name
        folder.mkdir(parents=True)
        (folder / "cpu.stat").write_text("usage_usec 5\nuser_usec 1\nnr_throttled 2\nthrottled_usec 3\n")
        (folder / "memory.current").write_text("4096\n")
    nothing = CgroupCounters(cpu_usage_usec=None, nr_throttled=None, throttled_usec=None, memory_current=None)
    assert capture(tmp_path, refused).cgroup_stats == {
        "/app/x": CgroupCounters(cpu_usage_usec=5, nr_throttled=2, throttled_usec=3, memory_current=4096),
        "/../outside": nothing,
        "/none": nothing,
    }


def test_metrics_are_in_the_documented_order_with_their_rules_and_units() -> None:
    assert list(METRICS)[:5] == ["policy", "nice", "cpu_affinity", "run_time_ns", "wait_time_ns"]
    assert list(METRICS)[-2:] == ["read_bytes", "write_bytes"]
    assert [METRICS[name] for name in ("policy", "nice", "cpu_affinity", "rchar")] == [
        Rule.MODE, Rule.ORDINAL_RANGE, Rule.AFFINITY, Rule.SUM,
    ]  # fmt: skip
    assert [name for name in METRICS if UNITS.get(name) == "ns"] == [
        "run_time_ns", "wait_time_ns", "wait_sum", "sleep_sum", "block_sum", "iowait_sum",
    ]  # fmt: skip


def test_this_process_is_found_on_this_host_with_what_the_standard_library_says() -> None:
    ready, done = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        done.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait()
    state = capture()
    done.set()
    thread.join()
    ours = [found for found in state.threads if found.tgid == os.getpid()]
    assert {os.getpid(), thread.native_id} <= {found.tid for found in ours}
    main = next(found for found in ours if found.tid == os.getpid())
    assert main.cpu_affinity == tuple(sorted(os.sched_getaffinity(0)))
    assert (main.nice, main.policy) == (os.getpriority(os.PRIO_PROCESS, 0), "SCHED_OTHER")
    assert main.run_time_ns is not None
    assert main.run_time_ns > 0
    assert main.minflt is not None
    assert main.rchar is not None
    assert state.host is not None
    assert {found.cgroup for found in state.threads if found.cgroup} == set(state.cgroup_stats)
