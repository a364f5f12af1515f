"""What several shards of one run left, taken into this project's store as if it had been measured here.

Nothing is written before all of it was read: records, sidecars and dumps by this project's own readers, each held
against what its part says of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from msgspec import UnsetType

from ktstr.cancel import Cancel
from ktstr.cells.declared import DeclaredRun
from ktstr.cells.failed import reasons_of, with_programs
from ktstr.cells.job import JobError
from ktstr.config.model import Config
from ktstr.config.project import Project
from ktstr.errors import InputError, KtstrError
from ktstr.files import full_or_denied, write_atomic
from ktstr.kernels.spec import parse_spec
from ktstr.record.cell import CellRecord
from ktstr.record.failed import FailedCell, FailedVerdict
from ktstr.record.outcome import JUDGED, Outcome
from ktstr.record.part import PartCell, PartError, Whole
from ktstr.record.sidecar import Sidecar
from ktstr.results import sidecar as sidecars
from ktstr.results.failure_dumps import read_dump
from ktstr.results.last import Failure
from ktstr.results.ledger import CellOutcome
from ktstr.results.names import DUMP
from ktstr.results.shards import Found, entries_of, inside, refuse_outside
from ktstr.results.store import ERRORS, RECORD, SETTING, SIDECAR, CellStore, folder_name, load_record

FILE_CAP = 16 << 30  # bytes of one file beside a record: the memory of a guest is the largest
_ANEW = "run that shard again"


@dataclass(frozen=True)
class Taken:
    """One entry of a part, read: ``folder`` has its files, by their names in ``files``; None where it left none."""

    entry: PartCell
    whole: Whole
    sidecar: Sidecar | None
    folder: Path | None
    files: tuple[str, ...]

    @property
    def error(self) -> KtstrError | None:
        return None if self.entry.error is None else error_of(self.entry.error)


def error_of(told: PartError) -> KtstrError:
    """The error that a shard told of."""
    return JobError(told.message, told.fix, told.exit_code).error()


def take(config: Config, found: Sequence[Found], cancel: Cancel) -> list[Taken]:
    """Everything that the parts of ``joined`` name, in the order of one run. Raises InputError for what is not what it
    says, and Cancelled."""
    taken = []
    for one, entry in entries_of(found):
        cancel.check()
        if entry.test not in config.tests:
            raise InputError(f"{one.path}: {entry.name}: found a test that ktstr.yaml does not declare", fix=_ANEW)
        taken.append(_taken(one, entry))
    return taken


def _taken(found: Found, entry: PartCell) -> Taken:
    def where() -> str:
        return f"{found.path}: {entry.name}"

    sidecar = _sidecar(found, entry, where)
    folder = _folder(entry)
    names = tuple(_names(found, entry, folder))
    if entry.verdict in JUDGED:
        assert folder is not None, "what is judged has a digest"
        _record(found.root, folder, entry)
    for name in names:
        path = inside(found.root, f"{folder}/{name}", where)
        if path.stat().st_size > FILE_CAP:
            raise InputError(f"{path}: found more than {FILE_CAP} bytes, expected at most that")
        if name.endswith(DUMP):
            read_dump(path)
    return Taken(entry, found.part.whole, sidecar, None if folder is None else found.root / folder, names)


def _sidecar(found: Found, entry: PartCell, where: Callable[[], str]) -> Sidecar | None:
    """What was published, or where a later run cleared that, what lies beside the record. A skip may have none then."""
    if entry.sidecar is None or entry.verdict not in (*JUDGED, Outcome.SKIP):
        return None
    refuse_outside(entry.sidecar, where)
    relative = entry.sidecar
    if not os.path.lexists(found.root / relative):
        if entry.input_digest is None:
            return None
        relative = f"{_folder(entry)}/{SIDECAR}"
    path = inside(found.root, relative, where)
    sidecar = sidecars.read_sidecar(path)
    _refuse_other(path, sidecar, entry, found.part.whole)
    return sidecar


def _folder(entry: PartCell) -> str | None:
    """Where its files are, from the folder of run directories: by its digest, whatever it says."""
    if entry.input_digest is None:
        return None
    below = ".cells" if entry.verdict in JUDGED else f".cells/{ERRORS}"
    return f"{below}/{folder_name(entry.input_digest)}"


def _names(found: Found, entry: PartCell, folder: str | None) -> Iterator[str]:
    for file in entry.files:
        place, _, name = file.rpartition("/")
        if place != folder or name in (RECORD, SIDECAR) or name.startswith("."):
            raise InputError(
                f"{found.path}: {entry.name}: found the file {file[:200]!r}, expected one in {folder}", fix=_ANEW
            )
        yield name


def _record(root: Path, folder: str, entry: PartCell) -> CellRecord:
    """The record of a judged cell. Raises InputError for one of another cell."""
    path = inside(root, f"{folder}/{RECORD}", lambda: entry.name)
    record = load_record(path)
    if record.input_digest != entry.input_digest:
        raise InputError(
            f"{path}: found the record of {record.input_digest[:16]!r}, expected {entry.input_digest}", fix=_ANEW
        )
    return record


def _refuse_other(path: Path, sidecar: Sidecar, entry: PartCell, whole: Whole) -> None:
    """Raise InputError for the sidecar of another cell, or of another verdict than its part says."""
    flags = tuple(entry.verdict == word for word in ("pass", "skip", "inconclusive"))
    pairs = {
        "test_name": (sidecar.test_name, entry.test),
        "preset": (sidecar.preset, entry.preset),
        "kernel_label": (sidecar.kernel_label, entry.kernel),
        "scheduler": (sidecar.scheduler, entry.scheduler),
        "accel": (sidecar.accel, entry.accel),
        "seed": (sidecar.seed, entry.seed),
        "input_digest": (sidecar.input_digest, entry.input_digest),
        "project_commit": (sidecar.project_commit, whole.commit),
        "passed, skipped, inconclusive": ((sidecar.passed, sidecar.skipped, sidecar.inconclusive), flags),
    }
    for name, (is_there, wanted) in pairs.items():
        if is_there != wanted:
            raise InputError(f"{path}: {name}: found {is_there!r}, expected {wanted!r}, as its part says", fix=_ANEW)


def store(project: Project, taken: Sequence[Taken], cancel: Cancel) -> list[CellOutcome]:
    """Copy it all into the project's store, and give what came of each cell, with its files here.

    What is there already stays. Raises HostError when the disk is full, and Cancelled.
    """
    cells = CellStore(project.cells)
    outcomes = []
    for one in taken:
        cancel.check()
        folder = None if one.folder is None else _stored(cells, project.cells, one)
        entry = one.entry
        outcomes.append(
            CellOutcome(
                entry.name, Outcome(entry.verdict), entry.reasons, entry.ran, entry.seconds, one.sidecar,
                files=tuple(str(folder / name) for name in one.files) if folder is not None else (), error=one.error,
            )
        )  # fmt: skip
    return outcomes


def _stored(cells: CellStore, root: Path, one: Taken) -> Path | None:
    """The folder with what one cell left, here; None for a cell in error that left nothing."""
    digest = one.entry.input_digest
    assert digest is not None and one.folder is not None
    judged = one.entry.verdict in JUDGED
    target = cells.folder(digest) if judged else root / ERRORS / folder_name(digest)
    if not judged and not one.files:
        return None
    if _is_there(one, target, judged=judged):
        return target
    with cells.working(digest) as workdir:
        for name in one.files:
            _copy(one.folder / name, workdir / name)
        if not judged:
            return cells.set_aside(digest, workdir)
        assert one.sidecar is not None
        write_atomic(workdir / SIDECAR, sidecars.dump(one.sidecar), setting=SETTING)
        record = load_record(one.folder / RECORD)
        return cells.commit(digest, workdir, record)


def _is_there(one: Taken, target: Path, *, judged: bool) -> bool:
    """Whether the same was taken before, or the part lies in this very project."""
    assert one.folder is not None
    with suppress(OSError):
        if target.samefile(one.folder):
            return True
        alike = all((target / name).stat().st_size == (one.folder / name).stat().st_size for name in one.files)
        if not judged:
            return alike
        return alike and (target / RECORD).read_bytes() == (one.folder / RECORD).read_bytes()
    return False


def _copy(source: Path, target: Path) -> None:
    """Copy a regular file, and no link that took its place since it was looked at."""
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as old, target.open("xb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
    except OSError as err:
        raise full_or_denied(err, target, SETTING) from err


def declared(config: Config, taken: Sequence[Taken], outcomes: Sequence[CellOutcome]) -> Iterator[DeclaredRun]:
    """The cells as comparisons and goals have them: those that could run."""
    for one, outcome in zip(taken, outcomes, strict=True):
        entry = one.entry
        if entry.kind == "cell":
            yield DeclaredRun(
                test=config.tests[entry.test],
                preset=entry.preset,
                kernel=entry.kernel,
                scheduler=entry.scheduler,
                accel=entry.accel,
                seed=entry.seed,
                outcome=outcome,
            )


def failures(
    project: Project, config: Config, taken: Sequence[Taken], outcomes: Sequence[CellOutcome]
) -> Iterator[Failure]:
    """The cells that did not pass, as they are remembered."""
    for one, outcome in zip(taken, outcomes, strict=True):
        if outcome.failed:
            kept = partial(_failed, project, config, one, outcome)
            yield Failure(outcome.name, outcome.verdict, one.entry.input_digest, outcome.ran, kept)


def _failed(project: Project, config: Config, one: Taken, outcome: CellOutcome) -> FailedCell:
    entry, sidecar = one.entry, one.sidecar
    return FailedCell(
        test=entry.test,
        preset=entry.preset,
        kernel=_kernel_word(project, config, entry),
        label=entry.kernel,
        scheduler=entry.scheduler,
        accel=entry.accel,
        seed=entry.seed,
        verdict=cast(FailedVerdict, entry.verdict),
        reasons=reasons_of(outcome, sidecar),
        asked=_asked(project, one.whole.asked),
        input_digest=entry.input_digest,
        inputs=None if sidecar is None or isinstance(sidecar.inputs, UnsetType) else sidecar.inputs,
        kernel_version=None if sidecar is None else sidecar.kernel_version,
        emulator=None if sidecar is None else sidecar.emulator,
        project_commit=one.whole.commit,
        measured_at=None if sidecar is None else sidecar.timestamp,
        host=None if sidecar is None else sidecar.host,
    )


def _kernel_word(project: Project, config: Config, entry: PartCell) -> str:
    """What ``kernel=`` takes, wherever the user stands."""
    if entry.kernel_word in config.kernels:
        return entry.kernel_word
    try:
        return str(parse_spec(entry.kernel_word, project.stand))
    except InputError:
        return entry.kernel_word


def _asked(project: Project, asked: Mapping[str, str]) -> dict[str, str]:
    given = dict(asked)
    words = given.pop("scheduler", "")
    return with_programs(given, words.split(",") if words else (), project.stand)
