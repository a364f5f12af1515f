"""What a snapshot of a host's threads holds: every thread's scheduling counters since its birth, and the counters of
the cgroups that they are in.

None is what could not be read: the file is not there (CONFIG_SCHEDSTATS, another user's ``io``), or lacks the key. 0
was read as 0. Times are in ns, sizes in bytes. ``allocated_bytes`` and ``deallocated_bytes`` are an allocator's own,
which no file of the kernel has: None in snapshots of ours.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct

from ktstr.record.host import Host
from ktstr.record.numbers import Count


class Thread(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thread. ``pcomm`` and ``comm``: the names of its process and its own; ``cgroup``: its path in cgroup v2.

    Empty: ``policy``, ``cgroup`` and ``cpu_affinity`` that could not be read.
    """

    tid: Count
    tgid: Count
    pcomm: str
    comm: str
    cgroup: str
    start_time_clock_ticks: Count | None
    policy: str
    nice: int | None
    cpu_affinity: tuple[Count, ...]
    run_time_ns: Count | None
    wait_time_ns: Count | None
    timeslices: Count | None
    voluntary_csw: Count | None
    nonvoluntary_csw: Count | None
    nr_wakeups: Count | None
    nr_wakeups_local: Count | None
    nr_wakeups_remote: Count | None
    nr_wakeups_sync: Count | None
    nr_wakeups_migrate: Count | None
    nr_wakeups_idle: Count | None
    nr_migrations: Count | None
    wait_sum: Count | None
    wait_count: Count | None
    sleep_sum: Count | None
    block_sum: Count | None
    block_count: Count | None
    iowait_sum: Count | None
    iowait_count: Count | None
    allocated_bytes: Count | None
    deallocated_bytes: Count | None
    minflt: Count | None
    majflt: Count | None
    rchar: Count | None
    wchar: Count | None
    syscr: Count | None
    syscw: Count | None
    read_bytes: Count | None
    write_bytes: Count | None


class CgroupCounters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of one cgroup: cpu.stat in microseconds and periods, memory.current in bytes."""

    cpu_usage_usec: Count | None
    nr_throttled: Count | None
    throttled_usec: Count | None
    memory_current: Count | None


class HostState(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One snapshot. ``captured_at_unix_ns``: when it began; ``cgroup_stats``: by the threads' cgroup paths."""

    captured_at_unix_ns: Count
    host: Host | None
    threads: tuple[Thread, ...]
    cgroup_stats: dict[str, CgroupCounters]


class Rule(enum.Enum):
    """How the values of a group of threads become one."""

    MODE = "mode"
    ORDINAL_RANGE = "ordinal range"
    AFFINITY = "affinity"
    SUM = "sum"


_NS = ("run_time_ns", "wait_time_ns", "wait_sum", "sleep_sum", "block_sum", "iowait_sum")
_BYTES = ("allocated_bytes", "deallocated_bytes", "rchar", "wchar", "read_bytes", "write_bytes")
UNITS: Mapping[str, str] = {**dict.fromkeys(_NS, "ns"), **dict.fromkeys(_BYTES, "B")}  # of the others none
_RULES = {"policy": Rule.MODE, "nice": Rule.ORDINAL_RANGE, "cpu_affinity": Rule.AFFINITY}
_FIELDS = Thread.__struct_fields__
# What is compared, in the order of tables: the fields of a thread from ``policy`` on.
METRICS: Mapping[str, Rule] = {name: _RULES.get(name, Rule.SUM) for name in _FIELDS[_FIELDS.index("policy") :]}
