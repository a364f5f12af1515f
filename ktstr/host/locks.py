"""``doit locks``: every lock of ktstr on this host, and who holds it. Read only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktstr.host.cpu_topology import HostTopology
from ktstr.host.flock import Holder, holders
from ktstr.host.reserve import cpu_lock, llc_lock

_SECTIONS = (("llcs", "LLCs"), ("cpus", "CPUs"), ("cache", "Cache entries"), ("run_dirs", "Run directories"))


@dataclass(frozen=True)
class LockRow:
    """One lock file. ``name`` is what it protects: an index, a CPU, a cache key or a run directory."""

    name: str
    node: int | None
    lockfile: str
    holders: tuple[Holder, ...]


def survey(topology: HostTopology, lock_dir: Path, cache_root: Path, runs_root: Path) -> dict[str, list[LockRow]]:
    """The lock files that exist, by section. Folders that are missing give no rows."""
    llcs = [_row(str(llc.index), llc.node, llc_lock(lock_dir, llc.index)) for llc in topology.llcs]
    cpus = [_row(str(cpu), topology.node_of.get(cpu), cpu_lock(lock_dir, cpu)) for cpu in topology.cpus]
    return {
        "llcs": [row for row in llcs if row is not None],
        "cpus": [row for row in cpus if row is not None],
        "cache": list(_folder(cache_root / ".locks")),
        "run_dirs": list(_folder(runs_root / ".locks")),
    }


def _row(name: str, node: int | None, path: Path) -> LockRow | None:
    return LockRow(name, node, str(path), holders(path)) if path.is_file() else None


def _folder(path: Path) -> Iterable[LockRow]:
    if path.is_dir():
        for file in sorted(path.glob("*.lock")):
            yield LockRow(file.name.removesuffix(".lock"), None, str(file), holders(file))


_KEYS = {"llcs": "llc_idx", "cpus": "cpu", "cache": "cache_key", "run_dirs": "run_key"}
_NUMBERED = ("llcs", "cpus")


def check(rows: dict[str, list[LockRow]]) -> None:
    """Raise ValueError for sections that ``survey`` does not give, and for names that are no numbers where it gives
    some: rows of another host."""
    if rows.keys() != _KEYS.keys():
        raise ValueError(f"found the sections {', '.join(rows)[:80]}, expected {', '.join(_KEYS)}")
    for section in _NUMBERED:
        for row in rows[section]:
            if not (row.name.isdecimal() and row.name.isascii() and len(row.name) < 10):
                raise ValueError(f"found {row.name[:40]!r} in {section}, expected a number")


def to_value(rows: dict[str, list[LockRow]]) -> dict[str, Any]:
    """Plain values: an array for each section (``schemas/locks.schema.json``)."""
    return {name: [_json_row(name, row) for row in found] for name, found in rows.items()}


def to_json(rows: dict[str, list[LockRow]], *, compact: bool = False) -> str:
    """One object; on one line when ``compact``."""
    return json.dumps(to_value(rows), indent=None if compact else 2) + "\n"


def _json_row(section: str, row: LockRow) -> dict[str, Any]:
    numbered = section in _NUMBERED
    fields: dict[str, Any] = {_KEYS[section]: int(row.name) if numbered else row.name}
    if numbered:
        fields["numa_node"] = row.node
    held = [{"pid": holder.pid, "cmdline": holder.cmdline} for holder in row.holders]
    return fields | {"lockfile": row.lockfile, "holders": held}


def to_text(rows: dict[str, list[LockRow]]) -> str:
    """A section for each kind of lock, ``(none)`` where there is no lock file."""
    lines: list[str] = []
    for name, title in _SECTIONS:
        lines.append(f"{title}:")
        lines += [_text_row(name, row) for row in rows[name]] or ["  (none)"]
    return "\n".join(lines) + "\n"


def _text_row(section: str, row: LockRow) -> str:
    where = f" (node {'?' if row.node is None else row.node})" if section in _NUMBERED else ""
    held = "; ".join(_clean(str(holder)) for holder in row.holders)
    return f"  {row.name}{where}  {held or 'free'}"


def _clean(text: str) -> str:
    """Another process's command line, without what would move a terminal's cursor."""
    return re.sub(r"[^\x20-\x7e\u00a1-\U0010ffff]", "?", text)
