"""``doit cache``: what the cache holds, by class, and each parked machine in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.columns import prose
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.options import Json

if TYPE_CHECKING:
    from ktstr.host.cache_classes import CacheClass
    from ktstr.vm.snapshot_listing import StoredMachine


@dataclass(frozen=True)
class Contents:
    """The cache in ``root``. ``limit_bytes``: of disk, for all machines."""

    root: Path
    classes: Sequence[CacheClass]
    machines: Sequence[StoredMachine]
    limit_bytes: int


def look(root: Path, limit: int) -> Contents:
    """What is there now; ``limit``: bytes of disk for all machines."""
    from ktstr.host.cache import Cache
    from ktstr.host.cache_classes import read_classes
    from ktstr.vm.snapshot_listing import read_machines

    return Contents(root, read_classes(root), read_machines(Cache(root)), limit)


def to_json(contents: Contents) -> str:
    """One object, as ``schemas/cache.schema.json`` has it."""
    whole = {
        "cache": str(contents.root),
        "classes": [
            {"name": one.name, "entries": one.entries, "disk_bytes": one.disk_bytes} for one in contents.classes
        ],
        "machines": [_json_machine(machine) for machine in contents.machines],
        "machines_limit_bytes": contents.limit_bytes,
        "total_bytes": sum(one.disk_bytes for one in contents.classes),
    }
    return json.dumps(whole, indent=2) + "\n"


def _json_machine(machine: StoredMachine) -> dict[str, Any]:
    known = machine.metadata
    snapshot = None if known is None else known.snapshot
    return {
        "key": machine.key,
        "name": None if known is None else known.name,
        "kind": None if known is None else known.kind,
        "ram_bytes": None if snapshot is None else snapshot.ram_bytes,
        "ram_data_bytes": None if snapshot is None else snapshot.data_bytes,
        "ram_digest": None if snapshot is None else snapshot.ram_digest,
        "disk_bytes": machine.disk_bytes,
        "last_used": _time(machine.last_used),
        "error": machine.error,
    }


def to_text(contents: Contents) -> str:
    """A line for each class, then two for each machine, and the limit."""
    lines = [f"{contents.root}:"]
    for one in contents.classes:
        lines.append(f"  {one.name:<12}{one.entries:>6} {_entries(one.entries):<8}{_mib(one.disk_bytes):>12}")
    if not contents.classes:
        lines.append("  empty")
    lines += ["", "Parked machines, the last used first:"]
    for machine in contents.machines:
        known = machine.metadata
        lines += [f"  {machine.key if known is None else known.name}", *prose(_what(machine), "    ")]
    if not contents.machines:
        lines.append("  none")
    taken = sum(machine.disk_bytes for machine in contents.machines)
    lines.append(f"{_mib(taken)} of at most {_mib(contents.limit_bytes)}; those unused longest go first")
    return "\n".join(lines) + "\n"


def _what(machine: StoredMachine) -> str:
    used = f"used {_time(machine.last_used)}"
    if machine.metadata is None:
        return f"damaged: {machine.error}; {_mib(machine.disk_bytes)} of disk, {used}"
    snapshot = machine.metadata.snapshot
    if snapshot is None:
        end = machine.metadata.end
        why = machine.metadata.cold if end is None else f"its guest ended before it was parked ({end.reason})"
        return f"{machine.metadata.kind}: {why}; {used}"
    ram = f"{_mib(snapshot.data_bytes)} of {_mib(snapshot.ram_bytes)} RAM"
    return f"{snapshot.kind}, {ram} in {_mib(machine.disk_bytes)} of disk, {used}"


def _entries(count: int) -> str:
    return "entry" if count == 1 else "entries"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def run(invocation: Invocation, options: Json) -> Report:
    """Look, and change nothing."""
    from ktstr.host.cache import cache_root
    from ktstr.vm.snapshot_store import limit_bytes

    contents = look(cache_root(invocation.environ), limit_bytes(invocation.environ))
    return Report(to_json(contents) if options.json else to_text(contents))


COMMAND = Command("cache", "Host", "what the cache holds: sizes, and parked machines", Json, run)
