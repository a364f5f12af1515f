"""The cell store: ``target/ktstr/.cells/<input digest>/``, one folder per measured cell.

A folder appears whole or not at all: a run works in a folder of its own beside it, its record is
written last, and one rename puts it in place. Whatever is there can be judged again without a boot.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ktstr.errors import HostError, InputError
from ktstr.files import RECORD_CAP, read_json, write_atomic
from ktstr.record.cell import CellRecord
from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.machine import VERDICT_EXITS

VERSION = 1
RECORD = "record.json"
ERRORS = ".errors"
_DIGEST = re.compile(r"[0-9a-f]{16,128}")
REAL_TIME = frozenset({"tcg", "kvm"})


def dump_record(record: CellRecord) -> bytes:
    """A record as the bytes of ``record.json``."""
    text = json.dumps({"version": VERSION, "record": encode(record)}, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def load_record(path: Path) -> CellRecord:
    """Read a ``record.json``. Raises InputError naming file and field when it is not exactly a record."""
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
    if record.end.reason not in VERDICT_EXITS or outcome == "error":
        return False
    return not (outcome == "fail" and accel in REAL_TIME)


class CellStore:
    """The store under ``root`` (``target/ktstr/.cells``). Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, digest: str) -> Path:
        """Where the cell of ``digest`` is, or would be."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no digest")
        return self._root / digest

    def read(self, digest: str) -> CellRecord | None:
        """The stored record; None when there is none. Raises InputError when it cannot be read as one."""
        path = self.folder(digest) / RECORD
        if not path.is_file():
            return None
        record = load_record(path)
        if record.input_digest != digest:
            raise InputError(f"{path}: found the record of {record.input_digest}, expected {digest}")
        return record

    def begin(self, digest: str) -> Path:
        """A new, empty folder for one run of this cell, on the store's filesystem."""
        return self._fresh(f".run-{self.folder(digest).name[:16]}")

    def commit(self, digest: str, workdir: Path, record: CellRecord) -> Path:
        """Put ``workdir`` in the store with its record, in place of what was there. Gives the folder.

        What an earlier run without a result left under ``.errors/`` goes.
        Raises HostError when the disk is full; the store then still has what it had.
        """
        write_atomic(workdir / RECORD, dump_record(record), f"tmp.{os.getpid()}")
        folder = self._put(workdir, self.folder(digest))
        shutil.rmtree(self._root / ERRORS / folder.name, ignore_errors=True)
        return folder

    def set_aside(self, digest: str, workdir: Path) -> Path:
        """Keep the files of a run that is no result (console, log) where the user can look: ``.errors/``."""
        (self._root / ERRORS).mkdir(parents=True, exist_ok=True)
        return self._put(workdir, self._root / ERRORS / self.folder(digest).name)

    def sweep(self) -> None:
        """Remove what killed runs left behind. Folders of live processes stay."""
        for path in self._root.glob(".*-*.*.*"):
            pid = path.name.rsplit(".", 2)[-2]
            if path.name.startswith((".run-", ".old-")) and pid.isdecimal() and not _alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)

    def _fresh(self, stem: str) -> Path:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            for name in _names(stem):
                path = self._root / name
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
                return path
        except OSError as e:
            raise HostError(f"{self._root}: cannot be written: {e.strerror}", fix="make it writable") from e
        raise AssertionError("unreachable")

    def _put(self, source: Path, target: Path) -> Path:
        """Rename a folder over another. Of two writers the later one wins, and both see a whole folder."""
        old: Path | None = None
        while True:
            try:
                source.rename(target)
                break
            except OSError as e:
                if e.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise HostError(f"{target}: cannot be written: {e.strerror}", fix="make it writable") from e
            old = self._fresh(f".old-{target.name[:16]}")
            try:
                target.rename(old)
            except FileNotFoundError:
                continue  # another writer moved it away first
            finally:
                shutil.rmtree(old, ignore_errors=True)
        return target


def _names(stem: str) -> Iterator[str]:
    return (f"{stem}.{os.getpid()}.{n}" for n in itertools.count())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
