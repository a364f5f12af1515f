"""The last verdict of each cell, for ``failed=1``. Losing the file costs only that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.files import SIDECAR_CAP, read_json, write_atomic

FILE = "last.json"


def last_verdicts(state: Path) -> dict[str, str]:
    """The verdicts by cell name, from the state folder. Empty before the first run, or when damaged in any way."""
    try:
        last = read_json(state / FILE, SIDECAR_CAP)
    except InputError:
        return {}
    return last if all(isinstance(verdict, str) for verdict in last.values()) else {}


def remember_verdicts(state: Path, verdicts: Mapping[str, str]) -> None:
    """Add these to the verdicts there."""
    last = {**last_verdicts(state), **verdicts}
    with suppress(HostError):
        write_atomic(state / FILE, json.dumps(last, indent=1, sort_keys=True).encode())
