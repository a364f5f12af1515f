"""tar archives for tests, member by member."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

EARLY = 1_700_000_000

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime, info.size = kind, link, mode, EARLY, len(content)
    return info, content


def symlink(name: str, target: str) -> Member:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def packed(members: Sequence[Member], format: int = tarfile.PAX_FORMAT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


TREE = (member("linux-6.12/", kind=tarfile.DIRTYPE), member("linux-6.12/Makefile", b"VERSION = 6\n"))
