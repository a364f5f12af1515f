"""doit's own database, as a cache that two processes may use and anyone may delete.

doit's JSON back end dies on a file cut short by a kill and writes it in place; results do
not depend on it, so here a damaged file counts as empty and a write is a rename.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from doit.dependency import JsonDB  # type: ignore[import-untyped]

from ktstr.errors import HostError
from ktstr.files import write_atomic


class StateDB(JsonDB):  # type: ignore[misc]
    """The JSON back end with atomic writes."""

    desc = "JSON, replaced atomically"

    def _load(self) -> dict[str, Any]:
        try:
            loaded = self.codec.decode(Path(self.name).read_text(encoding="utf-8"))
        except (ValueError, OSError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def dump(self) -> None:
        """Replace the file; a disk that cannot take it costs only the cache."""
        path = Path(self.name)
        if path.parent.is_dir():  # else somebody removed all results meanwhile
            with suppress(HostError):
                write_atomic(path, self.codec.encode(self._db).encode())
