"""The libraries that this machine gives a program which is built here: decided before it is built."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ktstr.errors import InputError
from ktstr.files import file_sha256
from ktstr.host.elf import find_library


def runtime_digest(names: Sequence[str], folders: Sequence[Path]) -> str:
    """SHA-256 over the libraries ``names`` in ``folders``, by content; one that is not there counts as nothing.

    Raises InputError for one that cannot be read.
    """
    total = hashlib.sha256()
    for name in names:
        library = find_library(name, folders)
        try:
            digest = "" if library is None else file_sha256(library)
        except OSError as err:
            raise InputError(f"{library}: {err.strerror}, expected a library for the scheduler") from None
        total.update(f"{name} {digest}\n".encode())
    return total.hexdigest()
