"""How many CPUs and how much memory this process may use."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """Host CPUs this process may run on."""
    return len(os.sched_getaffinity(0))


def usable_memory_mib() -> int:
    """Memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
