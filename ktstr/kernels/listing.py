"""``doit kernel_list``: what the kernel cache holds, whole or damaged, and how big it is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ktstr.columns import prose
from ktstr.errors import KtstrError
from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.kernels.cache import KIND, Corrupt, read_entry
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.kconfig import Kconfig, load_kconfig

KconfigStatus: TypeAlias = Literal["matches", "stale", "untracked"]
MATCHES: KconfigStatus = "matches"
LEFTOVER_KINDS = (KIND, "sources", "builds", "downloads")
_SERIES = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True)
class Row:
    """One folder of the cache. ``entry`` is None for a damaged one, with ``error`` and its class."""

    key: str
    path: Path
    entry: KernelEntry | None
    size_bytes: int
    error: str = ""
    error_kind: str = ""

    @property
    def version(self) -> str | None:
        """The release asked for, else the one the kernel prints."""
        if self.entry is None:
            return None
        asked = self.entry.facts["kernel_version"]
        return str(asked) if asked is not None else self.entry.version


@dataclass(frozen=True)
class Leftover:
    """Fetched sources, objects of builds that did not end, or what a killed process left (``temporary``)."""

    path: Path
    size_bytes: int
    temporary: bool


def read_cache(cache: Cache) -> tuple[Row, ...]:
    """Every kernel in the cache, the newest first, damaged ones last. A missing cache is an empty one."""
    folder = cache.root / KIND
    rows = [row for path in _visible(folder) if (row := _row(path)) is not None]
    whole = sorted((row for row in rows if row.entry is not None), key=_built_at, reverse=True)
    return (*whole, *sorted((row for row in rows if row.entry is None), key=lambda row: row.key))


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _built_at(row: Row) -> tuple[str, str]:
    assert row.entry is not None
    return str(row.entry.facts["built_at"]), row.key


def _row(path: Path) -> Row | None:
    """None for one that vanished meanwhile: what another process removed is not damaged."""
    try:
        entry = read_entry(path)
        if entry.key != path.name:
            raise Corrupt("schema_drift", f"{entry.metadata}: it says that its key is {entry.key!r}")
    except Corrupt as err:
        if not os.path.lexists(path):
            return None
        return Row(path.name, path, None, disk_bytes(path), str(err).partition(": ")[2], err.kind)
    return Row(path.name, path, entry, disk_bytes(path))


def leftovers(cache: Cache) -> tuple[Leftover, ...]:
    """What lies in the cache beside kernels: sources, objects, and temporary folders of killed processes."""
    found = []
    for kind in LEFTOVER_KINDS:
        folder = cache.root / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            temporary = path.name.startswith(".")
            if temporary or kind != KIND:
                found.append(Leftover(path, disk_bytes(path), temporary))
    return tuple(found)


def kconfig_status(
    facts: Mapping[str, Any], load: Callable[[Sequence[str], Path], Kconfig] = load_kconfig
) -> KconfigStatus:
    """Whether an entry's configuration is what its words mean today; ``untracked`` where nobody can say."""
    kconfig = facts["kconfig"]
    if kconfig is None or kconfig["base"] == "tree":
        return "untracked"
    try:
        today = load([kconfig["base"], *kconfig["fragments"]], Path("/"))
    except KtstrError:
        return "untracked"  # a fragment of the user's own, named from where he stood
    return MATCHES if today.digest == kconfig["digest"] else "stale"


def is_eol(version: str | None, active: frozenset[str] | None) -> bool | None:
    """Whether a version's series has ended; None when that is not known."""
    found = _SERIES.match(version or "")
    if active is None or not active or found is None:
        return None
    return f"{found[1]}.{found[2]}" not in active


def to_json(
    cache: Cache, rows: Iterable[Row], beside: Iterable[Leftover], active: frozenset[str] | None, error: str | None
) -> str:
    """One object; its shape is ``schemas/kernel_list.schema.json``."""
    entries = [_json_row(row, active) for row in rows]
    unfinished = [
        {"path": str(left.path), "size_bytes": left.size_bytes, "temporary": left.temporary} for left in beside
    ]
    total = sum(item["size_bytes"] for item in (*entries, *unfinished))
    whole = {
        "cache": str(cache.root),
        "current_kconfig_digest": load_kconfig(("minimal",), Path("/")).digest,
        "active_series_error": error,
        "entries": entries,
        "unfinished": unfinished,
        "total_bytes": total,
    }
    return json.dumps(whole, indent=2) + "\n"


def _json_row(row: Row, active: frozenset[str] | None) -> dict[str, Any]:
    if row.entry is None:
        error: dict[str, Any] = {"error": row.error, "error_kind": row.error_kind}
        return {"key": row.key, "path": str(row.path), **error, "size_bytes": row.size_bytes}
    facts = row.entry.facts
    return {
        "key": row.key,
        "path": str(row.path),
        "version": row.version,
        "release": row.entry.version,
        "source": facts["source"],
        "arch": facts["arch"],
        "built_at": facts["built_at"],
        "kconfig": facts["kconfig"],
        "kconfig_status": kconfig_status(facts),
        "config_hash": facts["config_hash"],
        "toolchain": facts["toolchain"],
        "hz": row.entry.hz,
        "preempt": row.entry.preempt,
        "sched_ext": row.entry.sched_ext,
        "has_btf": row.entry.btf is not None,
        "eol": is_eol(row.version, active),
        "size_bytes": row.size_bytes,
    }


_LEGENDS = (
    ("EOL", "EOL: its series gets no more releases"),
    ("untracked kconfig", "untracked kconfig: prebuilt, or configured by fragments or a .config of one's own"),
    (
        "stale kconfig",
        "stale kconfig: built with another configuration than ktstr's of today; it is built anew when asked for",
    ),
)


def to_text(
    cache: Cache, rows: Sequence[Row], beside: Sequence[Leftover], active: frozenset[str] | None, error: str | None
) -> str:
    """Each kernel, its key to copy and below it what it is; then what lies beside them, the sum, and the legend."""
    lines = [line for row in rows for line in _text_row(row, active)]
    marks = [mark for row in rows if row.entry is not None for mark in _marks(row, active)]
    if not rows:
        lines.append("no kernels in the cache; doit kernel_build version=6.12 builds one")
    lines += [
        f"{left.path}  {_size(left.size_bytes)}{'  (left by a killed process)' * left.temporary}" for left in beside
    ]
    total = sum(row.size_bytes for row in rows) + sum(left.size_bytes for left in beside)
    lines.append(f"\n{_size(total)} of kernels, sources and builds in {cache.root}")
    lines += [line for mark, legend in _LEGENDS if mark in marks for line in prose(legend, "")]
    if error is not None:
        lines += prose(f"EOL annotation disabled: {error}", "")
    corrupt = sum(row.entry is None for row in rows)
    if corrupt:
        lines += prose(
            f"{corrupt} corrupt: doit kernel_clean corrupt_only=1 removes them; they are made anew when asked for", ""
        )
    return "\n".join(lines) + "\n"


def _marks(row: Row, active: frozenset[str] | None) -> list[str]:
    assert row.entry is not None
    status = kconfig_status(row.entry.facts)
    return [f"{status} kconfig"] * (status != MATCHES) + ["EOL"] * (is_eol(row.version, active) is True)


def _text_row(row: Row, active: frozenset[str] | None) -> list[str]:
    if row.entry is None:
        return [row.key, *prose(f"(corrupt: {row.error_kind}: {row.error})", "  ")]
    facts = row.entry.facts
    facts_shown = (row.version or "-", facts["source"].get("type", "-"), facts["arch"], facts["built_at"])
    marks = (f" ({mark})" for mark in _marks(row, active))
    return [row.key, *prose(f"{', '.join(facts_shown)}, {_size(row.size_bytes)}{''.join(marks)}", "  ")]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def range_text(versions: Iterable[object]) -> str:
    """One version a line."""
    return "".join(f"{version}\n" for version in versions)


def range_json(text: str, versions: Iterable[object]) -> str:
    """``range``, its ends, and the versions."""
    start, _, end = text.partition("..")
    whole = {"range": text, "start": start, "end": end, "versions": [str(version) for version in versions]}
    return json.dumps(whole, indent=2) + "\n"
