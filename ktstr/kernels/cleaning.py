"""``doit kernel_clean``: which entries go, and taking them away without pulling one from under a machine."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import HostError
from ktstr.files import reason
from ktstr.host.cache import Cache
from ktstr.host.flock import holders
from ktstr.kernels.cache import KIND
from ktstr.kernels.fetch import DOWNLOADS
from ktstr.kernels.listing import Leftover, Row

_TEMPORARY = re.compile(r"\.tmp-(.+)-\d+(-old)?")


@dataclass(frozen=True)
class Victim:
    """A folder or file that goes, and why. ``key`` names the lock that its users hold."""

    path: Path
    kind: str
    key: str
    size_bytes: int
    why: str


@dataclass(frozen=True)
class Cleaned:
    """What came of it: removed, in use (with the holders), and what could not be removed."""

    removed: tuple[Victim, ...]
    kept: tuple[tuple[Victim, str], ...]
    failed: tuple[tuple[Victim, str], ...]


def choose(
    rows: Sequence[Row], beside: Sequence[Leftover], *, keep: int | None, corrupt_only: bool
) -> tuple[Victim, ...]:
    """Which go: damaged entries and what killed processes left, always; else all but the ``keep`` newest kernels,
    and the sources and objects beside them. ``rows`` are in the order of ``read_cache``."""
    whole = [row for row in rows if row.entry is not None]
    victims = [
        Victim(row.path, KIND, row.key, row.size_bytes, f"corrupt: {row.error_kind}") for row in rows if not row.entry
    ]
    victims += [_leftover(left, "left by a killed process") for left in beside if left.temporary]
    if corrupt_only:
        return tuple(victims)
    victims += [Victim(row.path, KIND, row.key, row.size_bytes, "not among the newest") for row in whole[keep or 0 :]]
    victims += [_leftover(left, f"of {left.path.parent.name}") for left in beside if not left.temporary]
    return tuple(victims)


def _leftover(left: Leftover, why: str) -> Victim:
    return Victim(left.path, left.path.parent.name, _lock_of(left.path), left.size_bytes, why)


def _lock_of(path: Path) -> str:
    """The key whose lock its maker holds: that of the entry, or of the file that is fetched."""
    if path.parent.name == DOWNLOADS:
        return path.name.removesuffix(".json").removesuffix(".part")
    found = _TEMPORARY.fullmatch(path.name)
    return found[1] if found else path.name.lstrip(".")


def perform(cache: Cache, victims: Sequence[Victim]) -> Cleaned:
    """Take them away. One whose lock somebody holds is kept; an error with one does not stop the others."""
    removed: list[Victim] = []
    kept: list[tuple[Victim, str]] = []
    failed: list[tuple[Victim, str]] = []
    for victim in victims:
        try:
            with cache.writing(victim.kind, victim.key, timeout_s=0):
                _remove(victim.path)
            removed.append(victim)
        except HostError as err:
            held = holders(cache.lock_file(victim.kind, victim.key))
            if held:
                kept.append((victim, ", ".join(map(str, held))))
            else:
                failed.append((victim, err.message))
        except OSError as err:
            failed.append((victim, reason(err)))
        except ValueError:
            _unlocked(victim, removed, failed)
    return Cleaned(tuple(removed), tuple(kept), tuple(failed))


def _unlocked(victim: Victim, removed: list[Victim], failed: list[tuple[Victim, str]]) -> None:
    """A name that is no key was not made by ktstr, and nobody can hold its lock."""
    try:
        _remove(victim.path)
        removed.append(victim)
    except OSError as err:
        failed.append((victim, reason(err)))


def _remove(path: Path) -> None:
    """One that vanished meanwhile is removed too. Renamed first, so that a kill leaves no half of an entry."""
    try:
        if path.is_dir() and not path.is_symlink():
            doomed = path.with_name(f".tmp-{path.name.lstrip('.')}-0-old") if not path.name.startswith(".") else path
            path.rename(doomed)
            shutil.rmtree(doomed)
        else:
            path.unlink()
    except FileNotFoundError:
        return


def to_text(cleaned: Cleaned) -> str:
    """A line for each, and the sum."""
    lines = [f"removed {victim.path} ({victim.why})" for victim in cleaned.removed]
    lines += [f"kept {victim.path}: in use by {who}" for victim, who in cleaned.kept]
    lines += [f"could not remove {victim.path}: {why}" for victim, why in cleaned.failed]
    count = len(cleaned.removed) + len(cleaned.kept) + len(cleaned.failed)
    freed = sum(victim.size_bytes for victim in cleaned.removed) / 1e6
    return "\n".join([*lines, f"removed {len(cleaned.removed)} of {count}, {freed:.1f} MB"]) + "\n"


def to_json(cleaned: Cleaned) -> str:
    """``removed``, ``kept`` and ``failed``, with paths and reasons."""
    whole = {
        "removed": [{"path": str(v.path), "why": v.why, "size_bytes": v.size_bytes} for v in cleaned.removed],
        "kept": [{"path": str(v.path), "held_by": who} for v, who in cleaned.kept],
        "failed": [{"path": str(v.path), "error": why} for v, why in cleaned.failed],
    }
    return json.dumps(whole, indent=2) + "\n"
