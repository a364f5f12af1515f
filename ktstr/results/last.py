"""The last verdict of each cell, for ``failed=1``. Losing the file costs only that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ktstr.errors import HostError
from ktstr.files import write_atomic

FILE = "last.json"


def last_verdicts(state: Path) -> dict[str, str]:
    """The verdicts by cell name, from the state folder. Empty before the first run, or when damaged."""
    try:
        loaded = json.loads((state / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(verdict) for name, verdict in loaded.items()} if isinstance(loaded, dict) else {}


def remember_verdicts(state: Path, verdicts: Mapping[str, str]) -> None:
    """Add these to the verdicts there."""
    last = {**last_verdicts(state), **verdicts}
    with suppress(HostError):
        write_atomic(state / FILE, json.dumps(last, indent=1, sort_keys=True).encode())
