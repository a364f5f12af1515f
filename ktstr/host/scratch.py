"""Folders that are gone after their use; what a killed process leaves of one can be told from what is in use.

Each is covered by a lease of its name beside it (``host.lease``), made before it and removed after it.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktstr.files import full_or_denied
from ktstr.host.lease import leased

LEASE = ".lease"
PREFIX = "ktstr-"  # of those in the folder for temporary files


@contextmanager
def scratch(prefix: str, folder: Path | None = None) -> Iterator[Path]:
    """A new, empty folder for this user alone, below ``folder``, which is there; without one it is where temporary
    files go, and ``prefix`` begins with ``ktstr-``.

    Raises HostError when it cannot be made or covered.
    """
    above = Path(tempfile.gettempdir()) if folder is None else folder
    path = above / f"{prefix}{secrets.token_hex(8)}"
    with leased(path.with_name(path.name + LEASE)):
        try:
            path.mkdir(mode=0o700)
        except OSError as err:
            raise full_or_denied(err, path, "TMPDIR" if folder is None else None) from err
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
