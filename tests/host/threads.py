"""Threads for tests."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ktstr.host.threads import CgroupCounters, HostState, Thread

_NAMES = ("pcomm", "comm", "cgroup")
_NOTHING = {name: None for name in Thread.__struct_fields__ if name not in _NAMES}
NOBODY = Thread(**{**_NOTHING, **dict.fromkeys(_NAMES, ""), "tid": 1, "tgid": 1, "policy": "", "cpu_affinity": ()})  # type: ignore[arg-type]


def thread(pcomm: str = "p", **changes: Any) -> Thread:
    """A thread of which nothing was measured but ``changes``."""
    return replace(NOBODY, pcomm=pcomm, **changes)


def counters(**changes: int) -> CgroupCounters:
    """A cgroup of which nothing was measured but ``changes``."""
    return CgroupCounters(**{**dict.fromkeys(CgroupCounters.__struct_fields__), **changes})


def state(*threads: Thread, **cgroups: CgroupCounters) -> HostState:
    """A snapshot. Cgroups are named without their first slash."""
    stats = {f"/{name}": found for name, found in cgroups.items()}
    return HostState(captured_at_unix_ns=0, host=None, threads=threads, cgroup_stats=stats)
