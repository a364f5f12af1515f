"""Results that a worker keeps until whoever asked has them: in its cache, a folder for each, with the result and the
files that the run left. Who asked may have been killed meanwhile; the next one to ask for the same inputs gets them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ktstr.cells.job import CellResult, decode_result
from ktstr.cluster.wire import Done, OutFile, check_name, pack_files
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host import leftovers

PLACE, KEPT_S = leftovers.RESULTS, leftovers.RESULTS_KEPT_S
PIECE = 4 << 20  # bytes that are read of a large file at once
_RESULT = ".result"


class Finished:
    """The results below the cache ``root``. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._cache, self._root = root, root / PLACE

    def keep(self, result: CellResult, workdir: Path) -> Done:
        """Take ``workdir`` with its files, and the result. Raises HostError when the disk does not take it."""
        name = f"{result.input_digest}.{secrets.token_hex(8)}"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            (workdir / _RESULT).write_bytes(result.encode())
            workdir.rename(self._root / name)
        except OSError as err:
            raise full_or_denied(err, self._root) from err
        return self._done(name, result)

    def digests(self) -> tuple[str, ...]:
        """The input digests of all that is kept."""
        return tuple(sorted({path.name.partition(".")[0] for path in self._folders()}))

    def find(self, digest: str) -> Done | None:
        """What is kept of these inputs, the newest of several; None where that is nothing that can be read."""
        found = [path for path in self._folders() if path.name.partition(".")[0] == digest]
        for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
            with suppress(OSError, ValueError):
                return self._done(path.name, decode_result((path / _RESULT).read_bytes()))
        return None

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

    def _folders(self) -> list[Path]:
        try:
            return [path for path in self._root.iterdir() if not path.name.startswith(".")]
        except OSError:
            return []

    def _done(self, name: str, result: CellResult) -> Done:
        files: tuple[OutFile, ...] = tuple(one for one in pack_files(self._root / name) if one.name != _RESULT)
        return Done(result, files, name)
