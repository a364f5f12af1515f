"""What shards left, copied into this project's cell store: one folder for each digest, as if it were measured here.

Tests with equal bodies share a digest, and shards may have measured each. Its folder has the record of the first in
the order of the run, and the files of all of them by their names.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ktstr.cancel import Cancel
from ktstr.cells.merged import Taken, target_of
from ktstr.config.project import Project
from ktstr.files import full_or_denied, staged, write_atomic
from ktstr.record.outcome import Outcome
from ktstr.results import sidecar as sidecars
from ktstr.results.ledger import CellOutcome
from ktstr.results.store import RECORD, SETTING, SIDECAR, CellStore

_CHUNK = 1 << 20  # bytes


def adopt(project: Project, taken: Sequence[Taken], cancel: Cancel) -> list[CellOutcome]:
    """Copy it all into the project's store, and give what came of each cell, with its files here.

    A folder that has the record of one of them already stays as it is, but for files that it lacks: one from an earlier
    merge, or one that a part lies in. Raises HostError when the disk is full, and Cancelled.
    """
    store = CellStore(project.cells)
    groups: dict[Path, list[Taken]] = {}
    for one in taken:
        target = target_of(store, one.entry)
        if target is not None and (one.judged or one.files):
            groups.setdefault(target, []).append(one)
    for target, group in groups.items():
        cancel.check()
        (_adopt_judged if group[0].judged else _adopt_error)(store, target, group, cancel)
    return [_outcome(one, target_of(store, one.entry)) for one in taken]


def _adopt_judged(store: CellStore, target: Path, group: Sequence[Taken], cancel: Cancel) -> None:
    first = group[0]
    if any(_is_same_file(one.path(RECORD), target / RECORD) for one in group):
        return _add_files(target, group, cancel)
    assert first.entry.input_digest is not None and first.sidecar is not None, "it is judged"
    with store.working(first.entry.input_digest) as workdir:
        _add_files(workdir, group, cancel)
        write_atomic(workdir / SIDECAR, sidecars.dump(first.sidecar), setting=SETTING)
        _copy(first.path(RECORD), workdir / RECORD, cancel)
        store.adopt(first.entry.input_digest, workdir)


def _adopt_error(store: CellStore, target: Path, group: Sequence[Taken], cancel: Cancel) -> None:
    """Nothing tells one error from another: what no part lies in is replaced."""
    if any(_is_same_folder(one.path(""), target) for one in group):
        return _add_files(target, group, cancel)
    digest = group[0].entry.input_digest
    assert digest is not None, "it left files"
    with store.working(digest) as workdir:
        _add_files(workdir, group, cancel)
        store.set_aside(digest, workdir)


def _is_same_file(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return path.samefile(other) or filecmp.cmp(path, other, shallow=False)
    return False


def _is_same_folder(path: Path, other: Path) -> bool:
    with suppress(OSError):
        return path.samefile(other)
    return False


def _add_files(folder: Path, group: Sequence[Taken], cancel: Cancel) -> None:
    """Copy those that the folder lacks; of one name the first."""
    for one in group:
        for name in one.files:
            if not os.path.lexists(folder / name):
                _copy(one.path(name), folder / name, cancel)


def _copy(source: Path, target: Path, cancel: Cancel) -> None:
    """Copy a regular file, and no link that took its place since it was looked at. Raises HostError and Cancelled."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as old, staged(target) as path, path.open("xb") as new:
            while chunk := old.read(_CHUNK):
                cancel.check()
                new.write(chunk)
    except OSError as err:
        raise full_or_denied(err, target, SETTING) from err


def _outcome(one: Taken, folder: Path | None) -> CellOutcome:
    entry = one.entry
    return CellOutcome(
        entry.name, Outcome(entry.verdict), entry.reasons, entry.ran, entry.seconds, one.sidecar,
        files=() if folder is None else tuple(str(folder / name) for name in one.files), error=one.error,
    )  # fmt: skip
