"""Reading the threads of this host from /proc, and their cgroups. It changes nothing, and what cannot be read is None.

Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_io(5), proc_pid_cgroup(5); ``sched`` is printed by
proc_sched_show_task() in kernel/sched/debug.c: times as milliseconds with six decimals, some keys with a dotted prefix
that kernels changed, most only with CONFIG_SCHEDSTATS. Mainline has no ``block_sum`` but ``sum_block_runtime``, and
counts no blocks.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ktstr import cpulist
from ktstr.host.context import capture as capture_host
from ktstr.host.mounts import read_mounts
from ktstr.host.threads import CgroupCounters, HostState, Thread

POLICIES = {0: "OTHER", 1: "FIFO", 2: "RR", 3: "BATCH", 5: "IDLE", 6: "DEADLINE", 7: "EXT"}
# Fields of stat, from the one behind the name in parentheses on, which is field 3.
_MINFLT, _MAJFLT, _NICE, _START, _POLICY = 10 - 3, 12 - 3, 19 - 3, 22 - 3, 41 - 3
_COUNTS = (
    "nr_wakeups", "nr_wakeups_local", "nr_wakeups_remote", "nr_wakeups_sync", "nr_wakeups_migrate", "nr_wakeups_idle",
    "nr_migrations", "wait_count", "iowait_count", "block_count",
)  # fmt: skip
_TIMES = {
    "wait_sum": ("wait_sum",),
    "sleep_sum": ("sum_sleep_runtime",),
    "block_sum": ("block_sum", "sum_block_runtime"),
    "iowait_sum": ("iowait_sum",),
}
_MILLISECONDS = re.compile(r"(\d{1,13})\.(\d{6})")
_CGROUP = {
    "cpu_usage_usec": ("cpu.stat", "usage_usec"),
    "nr_throttled": ("cpu.stat", "nr_throttled"),
    "throttled_usec": ("cpu.stat", "throttled_usec"),
    "memory_current": ("memory.current", ""),
}


def capture(root: Path = Path("/"), affinity: Callable[[int], Iterable[int]] = os.sched_getaffinity) -> HostState:
    """All threads now. ``root`` is where ``proc`` is; ``affinity`` gives the CPUs of a thread, or raises OSError."""
    began = time.time_ns()
    threads = tuple(_threads(root / "proc", affinity))
    mount = next((mount.point for mount in read_mounts(root) if mount.fstype == "cgroup2"), None)
    top = None if mount is None else root / mount.lstrip("/")
    paths = sorted({thread.cgroup for thread in threads if thread.cgroup})
    return HostState(
        captured_at_unix_ns=began,
        host=capture_host(root),
        threads=threads,
        cgroup_stats={path: _cgroup(top, path) for path in paths},
    )


def _threads(proc: Path, affinity: Callable[[int], Iterable[int]]) -> Iterator[Thread]:
    for tgid in _numbers(proc):
        process = proc / str(tgid)
        pcomm = _text(process / "comm")
        for tid in _numbers(process / "task"):
            thread = _thread(process / "task" / str(tid), tgid, pcomm, affinity)
            if thread.comm or thread.start_time_clock_ticks:  # else it ended while it was read
                yield thread


def _thread(folder: Path, tgid: int, pcomm: str, affinity: Callable[[int], Iterable[int]]) -> Thread:
    tid = int(folder.name)
    stat = _text(folder / "stat").rpartition(")")[2].split()
    status, io = _keyed(folder / "status"), _keyed(folder / "io")
    sched = {key.rpartition(".")[2]: value for key, value in _keyed(folder / "sched").items()}
    slices = _text(folder / "schedstat").split()
    return Thread(
        tid=tid,
        tgid=tgid,
        pcomm=pcomm,
        comm=_text(folder / "comm"),
        cgroup=_unified(_text(folder / "cgroup")),
        start_time_clock_ticks=_count(_item(stat, _START)),
        policy=_policy(_count(_item(stat, _POLICY))),
        nice=_signed(_item(stat, _NICE)),
        cpu_affinity=_cpus(tid, affinity, status.get("Cpus_allowed_list", "")),
        run_time_ns=_count(_item(slices, 0)),
        wait_time_ns=_count(_item(slices, 1)),
        timeslices=_count(_item(slices, 2)),
        voluntary_csw=_count(status.get("voluntary_ctxt_switches")),
        nonvoluntary_csw=_count(status.get("nonvoluntary_ctxt_switches")),
        minflt=_count(_item(stat, _MINFLT)),
        majflt=_count(_item(stat, _MAJFLT)),
        **{name: _count(sched.get(name)) for name in _COUNTS},
        **{name: _first_time(sched, keys) for name, keys in _TIMES.items()},
        **{name: _count(io.get(name)) for name in ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes")},
        allocated_bytes=None,
        deallocated_bytes=None,
    )


def _cgroup(top: Path | None, path: str) -> CgroupCounters:
    """The counters of one cgroup; of one outside of what is mounted (``/..``) nothing can be read."""
    parts = path.strip("/").split("/")
    if top is None or ".." in parts:
        return CgroupCounters(**dict.fromkeys(_CGROUP))
    folder = top.joinpath(*parts)
    lines = (line.partition(" ") for line in _text(folder / "cpu.stat").splitlines())
    cpu = {key: value for key, _, value in lines}
    texts = {"cpu.stat": cpu, "memory.current": {"": _text(folder / "memory.current")}}
    return CgroupCounters(**{name: _count(texts[file].get(key)) for name, (file, key) in _CGROUP.items()})


def _numbers(folder: Path) -> list[int]:
    try:
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _keyed(path: Path) -> dict[str, str]:
    """Lines ``key : value``."""
    parts = (line.partition(":") for line in _text(path).splitlines())
    return {key.strip(): value.strip() for key, colon, value in parts if colon}


def _item(words: list[str], at: int) -> str | None:
    return words[at] if at < len(words) else None


def _count(text: str | None) -> int | None:
    """A whole number of 64 bits."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 20:
        return None
    return found if (found := int(text)) < 2**64 else None


def _signed(text: str | None) -> int | None:
    found = _count(text.removeprefix("-") if text is not None else None)
    return None if found is None or text is None else -found if text.startswith("-") else found


def _first_time(sched: Mapping[str, str], keys: Iterable[str]) -> int | None:
    """The first of these that is there, milliseconds with six decimals, in ns."""
    for key in keys:
        if (found := _MILLISECONDS.fullmatch(sched.get(key, ""))) is not None:
            return int(found[1]) * 1_000_000 + int(found[2])
    return None


def _policy(number: int | None) -> str:
    if number is None:
        return ""
    return f"SCHED_{POLICIES[number]}" if number in POLICIES else f"SCHED_UNKNOWN({number})"


def _unified(cgroup: str) -> str:
    """The path in cgroup v2, as this process's namespace shows it; empty where there is none."""
    return next((line.removeprefix("0::") for line in cgroup.splitlines() if line.startswith("0::")), "")


def _cpus(tid: int, affinity: Callable[[int], Iterable[int]], listed: str) -> tuple[int, ...]:
    """The CPUs it may run on, as the kernel says when asked, else as ``status`` lists them."""
    try:
        return tuple(sorted(affinity(tid)))
    except OSError:
        pass
    try:
        return cpulist.parse(listed, cpulist.MAX_HOST_CPUS)
    except ValueError:
        return ()
