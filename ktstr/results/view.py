"""The run directory ``{root}/{kernel}-{commit}/{accel}-s{seed}/``: a view of the store that people and
statistics read.

The first publication of a session into a run directory removes the sidecars of earlier sessions
there, and only those: what a concurrent session published since this one began stays, so that two
sessions in one directory both end with their own sidecars in it. ``.ktstr_run_epoch`` holds the token of
the session that last did so.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ktstr.cancel import Cancel
from ktstr.files import full_or_denied, staging_name, write_atomic
from ktstr.host.flock import locked
from ktstr.results.names import CellIdentity, file_name, is_sidecar

if TYPE_CHECKING:
    from ktstr.record.sidecar import Sidecar

EPOCH = ".ktstr_run_epoch"
LOCK_TIMEOUT_S = 30.0
SETTING, VERBATIM = "KTSTR_RUNS_ROOT", "KTSTR_SIDECAR_DIR"  # what moves run directories elsewhere
_SUBDIR = re.compile(r"(kvm|icount|tcg)-s[0-9]{1,20}(-[0-9a-f]{8})?")


@dataclass(frozen=True)
class Epoch:
    """One session: processes with the same token share a run directory. ``began_ns``: since the Unix epoch."""

    token: str
    began_ns: int


@dataclass(frozen=True)
class Standing:
    """A sidecar that is as ``publish`` left it: where in its run directory, and what tells its cell from others.

    ``own``: subdirectory and file name it would have alone; ``build`` makes its content anew, should it be needed.
    """

    path: str
    own: tuple[str, str]
    preset: str
    input_digest: str
    kernel_version: str | None
    build: Callable[[], Sidecar]


Publishable: TypeAlias = "Sidecar | Standing"


def epoch(environ: Mapping[str, str], began_ns: int | None = None) -> Epoch:
    """The session's token: KTSTR_RUN_EPOCH, else one of this process's own."""
    began = time.time_ns() if began_ns is None else began_ns
    return Epoch(environ.get("KTSTR_RUN_EPOCH") or f"{os.getpid()}-{began}", began)


def place(sidecar: Sidecar) -> tuple[str, str]:
    """Where a sidecar belongs inside its run directory: subdirectory and file name."""
    identity = CellIdentity(
        test=sidecar.test_name, preset=sidecar.preset, topology=sidecar.topology, vcpus=sidecar.vcpus,
        scheduler=sidecar.scheduler, accel=sidecar.accel, seed=sidecar.seed, work_type=sidecar.work_type,
        cpu_budget=sidecar.cpu_budget, sysctls=sidecar.sysctls, kargs=sidecar.kargs, payload=sidecar.payload,
    )  # fmt: skip
    return f"{sidecar.accel}-s{sidecar.seed}", file_name(identity)


def _places(sidecars: Sequence[Publishable]) -> list[str]:
    """A place for each, in order. Different cells that share a name (two presets of one topology) get a
    subdirectory of their own from their digest."""
    wanted = [s.own if isinstance(s, Standing) else place(s) for s in sidecars]
    cells = [_cell(s) for s in sidecars]
    owner: dict[tuple[str, str], object] = {}
    for i in sorted(range(len(sidecars)), key=lambda i: (str(cells[i][0]), str(cells[i][1]))):
        owner.setdefault(wanted[i], cells[i])
    found = []
    for (subdir, name), cell in zip(wanted, cells, strict=True):
        own = owner[subdir, name] == cell
        found.append(f"{subdir}/{name}" if own else f"{subdir}-{str(cell[1] or '0' * 8)[:8]}/{name}")
    return found


def _cell(sidecar: Publishable) -> tuple[object, object]:
    return sidecar.preset, sidecar.input_digest


def _stale(folder: Path, before_ns: int, keep: frozenset[str]) -> Iterator[Path]:
    """Sidecars and their staging files in a run directory, last published before that time, but for ``keep``."""
    subdirs = [p for p in folder.iterdir() if _SUBDIR.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]
    for where in (folder, *subdirs):
        with os.scandir(where) as entries:
            for entry in entries:
                if entry.path in keep:
                    continue
                path = Path(entry.path)
                ours = is_sidecar(path) or ".ktstr.json.tmp." in path.name
                if ours and entry.is_file() and entry.stat().st_mtime_ns < before_ns:
                    yield path


def _pre_clear(folder: Path, session: Epoch, keep: frozenset[str]) -> None:
    """Once per token: remove what earlier sessions left, but for the paths to keep, then record the token."""
    mark = folder / EPOCH
    try:
        if mark.read_text(encoding="utf-8", errors="replace") == session.token:
            return
    except FileNotFoundError:
        pass
    for path in list(_stale(folder, session.began_ns, keep)):
        path.unlink(missing_ok=True)
    write_atomic(mark, session.token.encode(), setting=SETTING)


def _write(path: str, sidecar: Publishable, now_ns: int, setting: str) -> None:
    """Write what is missing or different; what is the same is only marked as this session's.

    The mark is the time: the kernel's own stamp may lie some milliseconds before a session's beginning.
    """
    if isinstance(sidecar, Standing) and sidecar.path == path:
        with suppress(FileNotFoundError):
            return os.utime(path, ns=(now_ns, now_ns))
    from ktstr.results.sidecar import dump  # records, judgement and codec: not for sidecars that stay as they are

    whole = sidecar.build() if isinstance(sidecar, Standing) else sidecar
    data = dump(whole)
    if not _holds(Path(path), data):
        write_atomic(Path(path), data, staging_name(whole.run_id), setting=setting)
    os.utime(path, ns=(now_ns, now_ns))


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except (FileNotFoundError, NotADirectoryError):
        return False


def _write_all(folder: Path, sidecars: Sequence[Publishable], paths: Sequence[str], setting: str) -> list[Path]:
    now = time.time_ns()
    for path, sidecar in zip(paths, sidecars, strict=True):
        _write(path, sidecar, now, setting)
    if (mark := folder / EPOCH).exists():
        os.utime(mark, ns=(now, now))
    return [Path(path) for path in paths]


def _paths(folder: Path, sidecars: Sequence[Publishable]) -> list[str]:
    return [f"{folder}/{place}" for place in _places(sidecars)]


def stamp_ns(folder: Path) -> int | None:
    """When a run directory was last published to: a sidecar nobody touched since bears that time."""
    try:
        return (folder / EPOCH).stat().st_mtime_ns
    except OSError:
        return None


def publish(
    root: Path, leaf: str, sidecars: Sequence[Publishable], session: Epoch, cancel: Cancel | None = None
) -> list[Path]:
    """Fill the run directory ``root/leaf``; gives each sidecar's path, in order.

    Under an exclusive lock ``root/.locks/{leaf}.lock``; what ran before a cancel is published, but nobody waits then.
    Raises HostError when another process holds it for 30 s (named), when the filesystem is remote, or when the disk
    is full; Cancelled while waiting.
    """
    folder, lock = root / leaf, root / ".locks" / f"{leaf}.lock"
    over = cancel is not None and cancel.is_set()
    with locked(lock, timeout_s=0.0) if over else locked(lock, timeout_s=LOCK_TIMEOUT_S, cancel=cancel):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = _paths(folder, sidecars)
            _pre_clear(folder, session, frozenset(paths))
            return _write_all(folder, sidecars, paths, SETTING)
        except OSError as err:
            raise full_or_denied(err, folder, SETTING, verb="filled") from err


def publish_verbatim(folder: Path, sidecars: Sequence[Publishable]) -> list[Path]:
    """Fill the directory KTSTR_SIDECAR_DIR names: no lock, and nothing is removed."""
    try:
        return _write_all(folder, sidecars, _paths(folder, sidecars), VERBATIM)
    except OSError as err:
        raise full_or_denied(err, folder, VERBATIM, verb="filled") from err
