"""The cell store: ``target/ktstr/.cells/``, one folder per measured cell, named by the first 16 digits of its digest.

A folder appears whole or not at all: a run works in a folder of its own beside it, its record is
written last, and one rename puts it in place. Whatever is there can be judged again without a boot.

The name is short so that paths fit a line. The record has the whole digest: a folder with another one of the same
beginning is no result, and is replaced.

A run's folder is covered by a lease of its name. It is made after the lease and removed before it, so what has a
lapsed lease, or none, is what a killed run left.
"""

from __future__ import annotations

import errno
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import InputError
from ktstr.files import RECORD_CAP, full_or_denied, read_json, write_atomic
from ktstr.host.lease import is_old, lapsed, leased
from ktstr.host.scratch import LEASE
from ktstr.record.outcome import Outcome

if TYPE_CHECKING:
    from ktstr.record.cell import CellRecord

VERSION = 1
RECORD, SIDECAR = "record.json", "sidecar.json"
ERRORS = ".errors"
SETTING = "KTSTR_RUNS_ROOT"  # where the store is
NAME_DIGITS = 16
RUN, LEFT = ".run-", ".old-"  # what folders that are worked in, and those that were replaced, are called
_DIGEST = re.compile(r"[0-9a-f]{16,128}")
REAL_TIME = frozenset({"tcg", "kvm"})


def dump_record(record: CellRecord) -> bytes:
    """A record as the bytes of ``record.json``."""
    from ktstr.record.codec import encode

    text = json.dumps({"version": VERSION, "record": encode(record)}, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def load_record(path: Path) -> CellRecord:
    """Read a ``record.json``. Raises InputError naming file and field when it is not exactly a record."""
    from ktstr.record.cell import CellRecord  # all that a record is made of: not for a run with nothing to do
    from ktstr.record.codec import DecodeError, decode

    data = read_json(path, RECORD_CAP)
    if data.get("version") != VERSION or type(data["version"]) is not int:
        raise InputError(f"{path}: found record version {data.get('version')!r}, expected {VERSION}")
    try:
        return decode(CellRecord, data.get("record"), "record")
    except DecodeError as e:
        raise InputError(f"{path}: {e}") from e


def reusable(record: CellRecord, outcome: str, accel: str) -> bool:
    """Whether a stored result stands for a run that would be made now.

    Only ends that are facts about kernel or scheduler count, and no error. In real time a Fail is
    always measured again; counted instructions fail again in the same way.
    """
    from ktstr.record.machine import VERDICT_EXITS

    if record.end.reason not in VERDICT_EXITS or outcome == Outcome.ERROR:
        return False
    return not (outcome == Outcome.FAIL and accel in REAL_TIME)


class CellStore:
    """The store under ``root`` (``target/ktstr/.cells``). Any number of processes may use it at once, in any number
    of containers."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, digest: str) -> Path:
        """Where the cell of ``digest`` is, or would be."""
        return self._root / folder_name(digest)

    def error_folder(self, digest: str) -> Path:
        """Where the files of a run of it are that is no result, or would be."""
        return self._root / ERRORS / folder_name(digest)

    def read(self, digest: str) -> CellRecord | None:
        """The stored record; None when there is none, or one of another digest that begins alike.

        Raises InputError when it cannot be read as one, or was filed under a name that is not its own.
        """
        path = self.folder(digest) / RECORD
        if not path.is_file():
            return None
        record = load_record(path)
        if record.input_digest == digest:
            return record
        if record.input_digest[:NAME_DIGITS] != path.parent.name:
            raise InputError(f"{path}: found the record of {record.input_digest}, expected {digest}")
        return None

    @contextmanager
    def working(self, digest: str) -> Iterator[Path]:
        """A new, empty folder for one run of this cell, on the store's filesystem; what is still there afterwards goes.

        Raises HostError when it cannot be made.
        """
        path = self._root / f"{RUN}{folder_name(digest)}.{secrets.token_hex(8)}"
        self._make_root()
        with leased(path.with_name(path.name + LEASE)):
            try:
                _make(path)
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)

    def commit(self, digest: str, workdir: Path, record: CellRecord) -> Path:
        """Put ``workdir`` in the store with its record, in place of what was there. Gives the folder.

        What an earlier run without a result left under ``.errors/`` goes.
        Raises HostError when the disk is full; the store then still has what it had.
        """
        write_atomic(workdir / RECORD, dump_record(record), setting=SETTING)
        folder = self.adopt(digest, workdir)
        shutil.rmtree(self.error_folder(digest), ignore_errors=True)
        return folder

    def adopt(self, digest: str, workdir: Path) -> Path:
        """Put a folder that has its record in the store, in place of what was there; nothing else goes. Gives the
        folder. Raises HostError."""
        return self._put(workdir, self.folder(digest))

    def set_aside(self, digest: str, workdir: Path) -> Path:
        """Keep the files of a run that is no result (console, log) where the user can look: ``.errors/``.

        Raises HostError.
        """
        folder = self.error_folder(digest)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise full_or_denied(err, folder, SETTING) from err
        return self._put(workdir, folder)

    def sweep(self) -> None:
        """Remove what killed runs left behind. What somebody works in stays, wherever he runs."""
        for path in self._root.glob(f"{RUN}*{LEASE}"):
            with lapsed(path) as gone:
                if gone:
                    shutil.rmtree(path.with_name(path.name.removesuffix(LEASE)), ignore_errors=True)
                    path.unlink(missing_ok=True)
        for path in (path for path in self._root.glob(f"{RUN}*") if path.suffix != LEASE):
            if _abandoned(path):  # by a ktstr that had no leases
                shutil.rmtree(path, ignore_errors=True)
        for path in self._root.glob(f"{LEFT}*"):  # nobody's, from the moment it has that name
            shutil.rmtree(path, ignore_errors=True)

    def _make_root(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise full_or_denied(err, self._root, SETTING) from err

    def _put(self, source: Path, target: Path) -> Path:
        """Rename a folder over another. Of two writers the later one wins, and both see a whole folder."""
        while True:
            try:
                source.rename(target)
                return target
            except OSError as err:
                if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise full_or_denied(err, target, SETTING) from err
            old = self._root / f"{LEFT}{target.name}.{secrets.token_hex(8)}"
            try:
                target.rename(old)
            except FileNotFoundError:
                continue  # another writer moved it away first
            finally:
                shutil.rmtree(old, ignore_errors=True)


def folder_name(digest: str) -> str:
    """What the folder of this digest is called. Raises ValueError for what is no digest."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest")
    return digest[:NAME_DIGITS]


def _make(path: Path) -> None:
    try:
        path.mkdir()
    except OSError as err:
        raise full_or_denied(err, path, SETTING) from err


def _abandoned(path: Path) -> bool:
    """Whether no lease covers a folder, and nobody changed it for long."""
    try:
        return not path.with_name(path.name + LEASE).exists() and is_old(path.stat().st_mtime)
    except OSError:
        return False
