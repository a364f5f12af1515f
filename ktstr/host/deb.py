"""One Debian package: its place in the archive, its hash, and unpacking it without root."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.errors import HostError
from ktstr.files import file_sha256, full_or_denied
from ktstr.host.command import run


@dataclass(frozen=True)
class DebPackage:
    """A package of the archive. ``path`` is relative to the archive's root; ``size`` in bytes.

    ``suite`` is the suite it was asked from; its archive is where the file is fetched.
    """

    name: str
    version: str
    arch: str
    suite: str
    path: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        return self.path.rpartition("/")[2]


def verify(package: DebPackage, file: Path) -> None:
    """Check a downloaded file against its package's size and SHA-256. Raises HostError when they differ."""
    try:
        size = file.stat().st_size
        digest = file_sha256(file)
    except FileNotFoundError:
        raise HostError(f"{package.name}: {file} is missing after its download", fix="run the command again") from None
    if (size, digest) != (package.size, package.sha256):
        raise HostError(
            f"{package.name} {package.version}: the downloaded file does not match its hash:"
            f" found {size} bytes, sha256 {digest}; expected {package.size} bytes, sha256 {package.sha256}",
            fix="try again; if it persists, a proxy or mirror serves another file",
        )


def unpack(file: Path, folder: Path, cancel: Cancel | None = None) -> None:
    """Unpack a .deb's files into ``folder`` (made when missing).

    Raises HostError when dpkg-deb cannot; Cancelled when ``cancel`` is set, which leaves what was unpacked by then.
    """
    if shutil.which("dpkg-deb") is None:
        raise HostError("dpkg-deb is not installed: packages cannot be unpacked", fix="apt-get install dpkg")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise full_or_denied(err, folder) from err
    ended = run(("dpkg-deb", "-x", str(file), str(folder)), {**os.environ, "LC_ALL": "C"}, cancel or Cancel())
    if ended.status == 0:
        return
    if "No space left" in ended.errors or "quota exceeded" in ended.errors:
        raise full_or_denied(OSError(errno.ENOSPC, "No space left on device"), folder)
    words = ended.errors.strip().splitlines()
    raise HostError(f"{file.name}: cannot be unpacked: {words[-1] if words else 'dpkg-deb failed'}", fix="try again")
