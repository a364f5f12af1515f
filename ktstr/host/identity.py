"""Which host this is: what a result in real time, or a booted machine, holds for."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode")


@cache
def host_class() -> tuple[str, ...]:
    """CPU model, microcode and kernel: hosts alike in these measure alike. What cannot be read is empty."""
    cpu = first_cpu()
    uname = os.uname()
    return (*(cpu.get(name, "") for name in _CPU_FIELDS), uname.release, uname.version)


@cache
def host_identity() -> tuple[str, ...]:
    """What a machine that was saved depends on of this host: its class, what its CPU can do, and this boot, which is
    empty where it cannot be read."""
    boot = ""
    with suppress(OSError):
        boot = boot_id()
    return (*host_class(), first_cpu().get("flags", ""), boot)


def boot_id() -> str:
    """This boot of this kernel: new at each one. Raises OSError where /proc does not have it."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def first_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """The first block of ``/proc/cpuinfo``, without reading the others of a large machine; empty if unreadable."""
    fields: dict[str, str] = {}
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                fields[name.strip()] = value.strip()
    except OSError:
        return {}
    return fields
