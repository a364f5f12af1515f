"""Hosts as text: one that was recorded, and what differs between two.

The order of fields is that of the reference's ``show-host``. ``accel_reason`` says nothing of the host itself (it is
why ``accel=auto`` chose as it did): it is shown last, where it was recorded, and never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path
from typing import TypeAlias

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ktstr.columns import printable
from ktstr.errors import InputError
from ktstr.record.host import HeapState, Host
from ktstr.results.sidecar import read_sidecar
from ktstr.stats.scan import scan_run

SCALARS = (
    "kernel_name", "kernel_release", "arch", "cpu_model", "cpu_vendor", "total_memory_kb", "hugepages_total",
    "hugepages_free", "hugepages_size_kb", "online_cpus", "numa_nodes", "thp_enabled", "thp_defrag", "kernel_cmdline",
)  # fmt: skip
HEAP = ("allocated_bytes", "active_bytes", "resident_bytes", "mapped_bytes", "narenas")
Entries: TypeAlias = Mapping[str, object] | UnsetType
UNKNOWN, EMPTY, ABSENT = "(unknown)", "(empty)", "(absent)"


def to_text(host: Host) -> str:
    """``key: value`` a line, ``(unknown)`` for what was not read; maps and the heap as indented blocks."""
    lines = [f"{name}: {_shown(getattr(host, name))}" for name in SCALARS]
    lines += _block("cpufreq_governor", _governors(host), " = ")
    lines += _block("sched_tunables", host.sched_tunables, " = ")
    lines += _block("heap_state", _heap(host.heap_state), ": ")
    if host.accel_reason is not UNSET:
        lines.append(f"accel_reason: {_shown(host.accel_reason)}")
    return "\n".join(lines) + "\n"


def diff(old: Host, new: Host) -> str:
    """A line ``  key: old → new`` for each field that changed; empty when none did."""
    return "".join(f"  {line}\n" for line in _changes(old, new))


def without_heap(host: Host) -> Host:
    """The host without what only one process of it knows: for comparing what two processes recorded."""
    return replace(host, heap_state=UNSET)


def host_of_run(folder: Path, name: str) -> Host:
    """The host of the first sidecar, by path, that has one. ``name``: what the user calls the run.

    Raises InputError when there is no sidecar, none that can be read, or none with a host.
    """
    scan = scan_run(folder)
    found, unreadable = len(scan.files) + len(scan.unreadable), len(scan.unreadable)
    for file in scan.files:
        try:
            sidecar = read_sidecar(Path(file.path))
        except InputError:
            unreadable += 1
            continue
        if sidecar.host is not None:
            return sidecar.host
    if not found:
        raise InputError(f"run={name}: found no sidecar in {folder}", fix="doit test makes them")
    bad = f", {unreadable} of them unreadable" if unreadable else ""
    raise InputError(
        f"run={name}: found {found} sidecar(s){bad}, none that says on which host it was measured",
        fix=f"measure again: doit test rerun=1 (doit stats_explain_sidecar run={name} says more)",
    )


def _shown(value: object) -> str:
    return UNKNOWN if value is UNSET else printable(str(value))


def _block(name: str, entries: Entries, between: str) -> list[str]:
    """A map as its name and an indented line for each entry."""
    if entries is UNSET:
        return [f"{name}: {UNKNOWN}"]
    if not entries:
        return [f"{name}: {EMPTY}"]
    return [f"{name}:", *(f"  {printable(key)}{between}{_shown(value)}" for key, value in entries.items())]


def _governors(host: Host) -> dict[str, str]:
    """The governor of each CPU, ascending. None when it has none: the field is absent then."""
    found = {} if host.cpufreq_governor is UNSET else host.cpufreq_governor
    return {f"cpu{cpu}": found[cpu] for cpu in sorted(found, key=lambda cpu: (len(cpu), cpu))}


def _heap(heap: HeapState | UnsetType) -> dict[str, int] | UnsetType:
    return UNSET if heap is UNSET else {name: getattr(heap, name) for name in HEAP}


def _changes(old: Host, new: Host) -> Iterator[str]:
    for name in SCALARS:
        a, b = getattr(old, name), getattr(new, name)
        if a != b:
            yield _change(name, _shown(a), _shown(b))
    yield from _entry_changes("cpufreq_governor", _governors(old), _governors(new))
    yield from _map_changes("sched_tunables", old.sched_tunables, new.sched_tunables, _entries)
    yield from _map_changes("heap_state", _heap(old.heap_state), _heap(new.heap_state), lambda _: "(present)")


def _map_changes(name: str, old: Entries, new: Entries, summary: Callable[[Sized], str]) -> Iterator[str]:
    """Each entry that differs; one line in which each side is summed up where one side has no map at all."""
    if old is not UNSET and new is not UNSET:
        yield from _entry_changes(name, old, new)
    elif old is not new:
        yield _change(name, *(UNKNOWN if side is UNSET else summary(side) for side in (old, new)))


def _entry_changes(name: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key, ABSENT) != new.get(key, ABSENT):
            yield _change(f"{name}.{printable(key)}", *(_shown(side.get(key, ABSENT)) for side in (old, new)))


def _entries(entries: Sized) -> str:
    if not entries:
        return EMPTY
    return "(1 entry)" if len(entries) == 1 else f"({len(entries)} entries)"


def _change(key: str, old: str, new: str) -> str:
    return f"{key}: {old} → {new}"
