"""Results that a worker keeps until whoever asked has them: in its cache, a folder for each, with the result and the
files that the run left. Who asked may have been killed meanwhile; the next one to ask for the same inputs gets them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ktstr.cells.job import CellResult, decode_result
from ktstr.cluster.manifest import PIECE
from ktstr.cluster.wire import Done, check_name, pack_files
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host import leftovers

PLACE, KEPT_S = leftovers.RESULTS, leftovers.RESULTS_KEPT_S
_RESULT = ".result"


@dataclass(frozen=True)
class _Kept:
    """A folder. ``unix_s``: when it came."""

    path: Path
    digest: str
    ticket: str
    unix_s: float


class Finished:
    """The results below the cache ``root``. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._cache, self._root = root, root / PLACE

    def keep(self, result: CellResult, ticket: str, workdir: Path) -> Done:
        """Take ``workdir`` with its files, and the result of that submission. Raises HostError when the disk does not
        take it; ``workdir`` is then as it was."""
        name = f"{result.input_digest}.{check_name(ticket)}"
        try:
            files = pack_files(workdir)
            self._root.mkdir(parents=True, exist_ok=True)
            (workdir / _RESULT).write_bytes(result.encode())
            workdir.rename(self._root / name)
        except OSError as err:
            raise full_or_denied(err, self._root) from err
        return Done(result, files, name)

    def digests(self) -> tuple[str, ...]:
        """The input digests of all that is kept, and has not expired."""
        return tuple(sorted({one.digest for one in self._young()}))

    def find(self, digest: str, ticket: str = "") -> Done:
        """What is kept of these inputs, the newest of several; of one submission where its ``ticket`` is given. Raises
        HostError where that is nothing that can be read."""
        for one in sorted(self._young(), key=lambda one: -one.unix_s):
            if one.digest == digest and ticket in ("", one.ticket):
                with suppress(OSError, ValueError):
                    result = decode_result((one.path / _RESULT).read_bytes())
                    return Done(result, pack_files(one.path), one.path.name)
        raise HostError("keeps nothing of that run", fix="run the command again")

    def piece(self, name: str, file: str, offset: int) -> bytes:
        """``PIECE`` bytes of a file from ``offset`` on, fewer at its end. Raises HostError when it is gone."""
        path = self._root / check_name(name) / check_name(file)
        try:
            with path.open("rb") as opened:
                opened.seek(offset)
                return opened.read(PIECE)
        except OSError as err:
            raise HostError(f"{path}: {err.strerror}", fix="run the command again") from None

    def drop(self, names: Iterable[str]) -> None:
        """These have arrived."""
        for name in names:
            shutil.rmtree(self._root / check_name(name), ignore_errors=True)

    def sweep(self, max_age_s: float = KEPT_S) -> None:
        """Remove what nobody asked for in that time."""
        leftovers.clean(leftovers.unfetched_results(self._cache, max_age_s), dry_run=False)

    def _young(self) -> list[_Kept]:
        return [one for one in self._all() if time.time() - one.unix_s <= KEPT_S]

    def _all(self) -> list[_Kept]:
        kept = []
        with suppress(OSError):
            for path in self._root.iterdir():
                digest, dot, ticket = path.name.partition(".")
                with suppress(OSError):  # it has just arrived, and is dropped
                    kept += [_Kept(path, digest, ticket, path.stat().st_mtime)] if digest and dot else []
        return kept
