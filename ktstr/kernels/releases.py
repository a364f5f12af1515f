"""kernel.org's ``releases.json``: its rows, and the rules by which a word means one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.errors import HostError, InputError
from ktstr.files import parse_json
from ktstr.kernels.version import Version, parse_version

MAINTAINED = 8  # maintenance releases a series has had before it is anybody's default
MAX_BYTES = 1 << 20
_RANGED = ("stable", "longterm")


@dataclass(frozen=True)
class Release:
    """One row. ``moniker``: mainline, stable, longterm; rows of linux-next are left out."""

    moniker: str
    version: Version
    eol: bool


def parse_releases(raw: bytes) -> tuple[Release, ...]:
    """The rows in the file's order; those of another shape are passed over.

    Raises HostError for another file, and when no row at all can be read.
    """
    try:
        whole = parse_json(raw, "releases.json", MAX_BYTES)
    except InputError:
        whole = None
    rows = whole.get("releases") if isinstance(whole, dict) else None
    if not isinstance(rows, list):
        raise HostError("releases.json: found no array of releases (a proxy's page?)", fix="check the network")
    found = tuple(release for row in rows if (release := _release(row)) is not None)
    if rows and not found:
        raise HostError(f"releases.json: found {len(rows)} releases, none in a known form", fix="update ktstr")
    return found


def _release(row: object) -> Release | None:
    if not isinstance(row, dict):
        return None
    moniker, text = row.get("moniker"), row.get("version")
    version = parse_version(text) if isinstance(text, str) else None
    if not isinstance(moniker, str) or moniker == "linux-next" or version is None:
        return None
    return Release(moniker, version, row.get("iseol") is True)


def latest_stable(rows: Iterable[Release]) -> Version:
    """The first stable or longterm release, newest first, with at least eight maintenance releases."""
    for row in rows:
        if row.moniker in _RANGED and (row.version.patch or 0) >= MAINTAINED:
            return row.version
    raise HostError(f"releases.json has no stable series with patch >= {MAINTAINED}", fix="name a version")


def newest_of_series(rows: Iterable[Release], prefix: Version) -> Version | None:
    """The newest release of a series, candidates left out; None when the file has none (any more)."""
    found = [row.version for row in rows if row.version.series == prefix.series and row.version.rc is None]
    return max(found, key=lambda version: version.order, default=None)


def expand_range(rows: Iterable[Release], start: Version, end: Version) -> tuple[Version, ...]:
    """The stable and longterm releases from ``start`` to ``end``, ascending. Raises InputError when there are none.

    ``6.14`` is 6.14.0 in a range, as in the order of releases: 6.14.2 comes after it.
    """
    ranged = {row.version for row in rows if row.moniker in _RANGED}
    found = sorted((v for v in ranged if start.order <= v.order <= end.order), key=lambda version: version.order)
    if not found:
        after = [v for v in ranged if v.series == end.series and v.order > end.order]
        hint = f"{start}..{max(after, key=lambda v: v.order)}" if after else "check both ends at kernel.org"
        raise InputError(
            f"kernel {start}..{end}: expanded to 0 releases: no stable or longterm one listed today is inside",
            fix=f"{hint}, or name one version",
        )
    return tuple(found)


def active_series(rows: Sequence[Release]) -> frozenset[str]:
    """The series that still get releases."""
    return frozenset(row.version.series for row in rows if not row.eol)
