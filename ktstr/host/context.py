"""What a sidecar remembers of the host it was measured on. Every read is best effort: what cannot be
read is absent, never a guess. The node's name and ``/proc/version`` are left out on purpose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ktstr import cpulist
from ktstr.host.identity import first_cpu
from ktstr.record.codec import decode
from ktstr.record.host import Host


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _meminfo(root: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        key, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            found[key] = int(number[0])
    return found


def _list(text: str | None) -> tuple[int, ...] | None:
    """A kernel CPU list (``0-3,8``), empty for an empty one; None when it is none."""
    if not text:
        return None if text is None else ()
    try:
        return cpulist.parse(text, cpulist.MAX_HOST_CPUS)
    except ValueError:
        return None


def _nodes(root: Path) -> int | None:
    """NUMA nodes with CPUs; one on a kernel that has no nodes."""
    if not (root / "sys/devices/system/cpu").is_dir():
        return None
    lists = (_text(path) for path in (root / "sys/devices/system/node").glob("node[0-9]*/cpulist"))
    return max(1, sum(bool(text) for text in lists))


def _tunables(root: Path) -> dict[str, str] | None:
    folder = root / "proc/sys/kernel"
    if not folder.is_dir():
        return None
    texts = {path.name: _text(path) for path in sorted(folder.glob("sched_*")) if path.is_file()}
    return {name: text for name, text in texts.items() if text is not None}


def _governors(root: Path, cpus: Sequence[int]) -> dict[str, str]:
    path = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    texts = {str(cpu): _text(root / path.format(cpu)) for cpu in cpus}
    return {cpu: text for cpu, text in texts.items() if text}


def capture(root: Path = Path("/"), uname: os.uname_result | None = None) -> Host:
    """Read the host's state now; ``root`` is where ``proc`` and ``sys`` are."""
    name = os.uname() if uname is None else uname
    cpu, memory = first_cpu(root / "proc/cpuinfo"), _meminfo(root)
    online = _list(_text(root / "sys/devices/system/cpu/online"))
    thp = root / "sys/kernel/mm/transparent_hugepage"
    found = {
        "cpu_model": cpu.get("model name"),
        "cpu_vendor": cpu.get("vendor_id"),
        "total_memory_kb": memory.get("MemTotal"),
        "hugepages_total": memory.get("HugePages_Total"),
        "hugepages_free": memory.get("HugePages_Free"),
        "hugepages_size_kb": memory.get("Hugepagesize"),
        "thp_enabled": _text(thp / "enabled"),
        "thp_defrag": _text(thp / "defrag"),
        "sched_tunables": _tunables(root),
        "online_cpus": len(online) if online else None,
        "numa_nodes": _nodes(root),
        "cpufreq_governor": _governors(root, online or ()) or None,
        "kernel_name": name.sysname,
        "kernel_release": name.release,
        "arch": name.machine,
        "kernel_cmdline": _text(root / "proc/cmdline"),
    }
    return decode(Host, {name: value for name, value in found.items() if value is not None})
