"""Kernel release numbers: ``MAJOR.MINOR[.PATCH][-rcN]``, and their order."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:-rc(\d{1,6}))?", re.ASCII)
_RELEASED = 1 << 32  # above any rc: 6.15 comes after 6.15-rc9


@dataclass(frozen=True)
class Version:
    """One release. ``patch`` and ``rc`` are None where the text has none; ``6.14`` is equal to ``6.14.0`` in order."""

    major: int
    minor: int
    patch: int | None = None
    rc: int | None = None

    def __str__(self) -> str:
        patch = "" if self.patch is None else f".{self.patch}"
        return f"{self.major}.{self.minor}{patch}" + ("" if self.rc is None else f"-rc{self.rc}")

    @property
    def order(self) -> tuple[int, int, int, int]:
        """What releases are sorted by; a release comes after its candidates."""
        return (self.major, self.minor, self.patch or 0, _RELEASED if self.rc is None else self.rc)

    @property
    def series(self) -> str:
        """``6.14`` of ``6.14.2``."""
        return f"{self.major}.{self.minor}"

    @property
    def is_prefix(self) -> bool:
        """Whether it names a series, of which the newest release is meant."""
        return self.patch is None and self.rc is None


def parse_version(text: str) -> Version | None:
    """Read a version; None for anything else, ``v6.14`` included."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, rc = (None if part is None else int(part) for part in found.groups())
    assert major is not None and minor is not None
    version = Version(major, minor, patch, rc)
    return version if str(version) == text else None  # 6.014 is no way to write 6.14
