"""The cells that did not pass last time, for ``failed=1`` and ``doit replay``: each until it passes.

What a later run is held against is kept here, because that run may clear the run directory that has the sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ktstr.errors import HostError, InputError
from ktstr.files import SIDECAR_CAP, read_json, write_atomic

if TYPE_CHECKING:
    from ktstr.record.failed import FailedCell

FILE = "failed.json"
VERSION = 1


@dataclass(frozen=True)
class Failure:
    """A cell that did not pass. ``ran``: now; ``build`` makes what is kept of it, and is called only if it is new."""

    name: str
    verdict: str
    input_digest: str | None
    ran: bool
    build: Callable[[], FailedCell]


def failed_names(state: Path) -> frozenset[str]:
    """The names of the cells, from the state folder. Empty before the first run, or when damaged in any way."""
    try:
        return frozenset(_entries(state))
    except InputError:
        return frozenset()


def failed_cells(state: Path) -> dict[str, FailedCell]:
    """The cells by name; empty before the first run. Raises InputError when the file is damaged: then nobody knows."""
    from ktstr.record.codec import DecodeError, decode
    from ktstr.record.failed import FailedCell

    try:
        return {name: decode(FailedCell, entry, name) for name, entry in _entries(state).items()}
    except DecodeError as err:
        raise InputError(f"{state / FILE}: {err}", fix="doit test, which writes it anew") from err


def remember(state: Path, passed: Iterable[str], failed: Iterable[Failure]) -> None:
    """Forget the cells that passed, or that are not run any more, and keep those that failed."""
    try:
        old = _entries(state)
    except InputError:
        old = {}
    gone = set(passed)
    new = {name: entry for name, entry in old.items() if name not in gone}
    new.update({failure.name: _entry(failure) for failure in failed if not _is_kept(new.get(failure.name), failure)})
    if new != old:
        with suppress(HostError):
            write_atomic(state / FILE, json.dumps({"version": VERSION, "cells": new}, sort_keys=True).encode())


def _entries(state: Path) -> dict[str, Any]:
    path = state / FILE
    if not path.exists():
        return {}
    whole = read_json(path, SIDECAR_CAP)
    cells = whole.get("cells")
    if whole.get("version") != VERSION or not isinstance(cells, dict):
        raise InputError(
            f"{path}: found no list of failed cells of version {VERSION}", fix="doit test, which writes it anew"
        )
    return cells


def _is_kept(entry: Any, failure: Failure) -> bool:
    """Whether the result of then is that of now: nothing ran."""
    return (
        isinstance(entry, dict)
        and not failure.ran
        and (entry.get("verdict"), entry.get("input_digest")) == (failure.verdict, failure.input_digest)
    )


def _entry(failure: Failure) -> Any:
    from ktstr.record.codec import encode  # records are types of their own: not for a run with nothing to do

    return json.loads(json.dumps(encode(failure.build()), allow_nan=False))
