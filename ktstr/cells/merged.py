"""What several shards of one run left: read as what strangers wrote, and said as what came of this project's cells.

Nothing is written before all of it was read: records, sidecars and dumps by this project's own readers, each held
against what its part says of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from msgspec import UnsetType

from ktstr.cancel import Cancel
from ktstr.cells.declared import DeclaredRun, run_of
from ktstr.cells.failed import Kept, kept_cell
from ktstr.cells.inspecting import VMCORE
from ktstr.cells.job import JobError
from ktstr.cells.parts import key_of
from ktstr.config.model import Config
from ktstr.config.project import CELLS, Project
from ktstr.errors import HostError, InputError, KtstrError
from ktstr.files import RECORD_CAP, SIDECAR_CAP
from ktstr.record.failed import FailedCell
from ktstr.record.outcome import JUDGED
from ktstr.record.part import PartCell, PartError, Whole
from ktstr.record.sidecar import Sidecar
from ktstr.results import sidecar as sidecars
from ktstr.results.failure_dumps import read_dump
from ktstr.results.joined import entries_of
from ktstr.results.last import Failure
from ktstr.results.ledger import CellOutcome
from ktstr.results.names import DUMP, DUMP_TEXT
from ktstr.results.shards import Found, inside, sidecar_path
from ktstr.results.store import RECORD, SETTING, SIDECAR, CellStore, load_record

MEMORY_CAP = 16 << 30  # bytes of a guest's memory
# Variables that make a replay run programs, or build from files, that a stranger names.
_OF_STRANGERS = frozenset({"CC", "LLVM", "kconfig", "scheduler"})
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
    def judged(self) -> bool:
        return self.entry.verdict in JUDGED

    @property
    def error(self) -> KtstrError | None:
        return None if self.entry.error is None else error_of(self.entry.error)

    def path(self, name: str) -> Path:
        """One of its files, where the shard left it."""
        assert self.folder is not None, "it has files"
        return self.folder / name


def error_of(told: PartError) -> KtstrError:
    """The error that a shard told of."""
    return JobError(told.message, told.fix, told.exit_code).error()


def target_of(store: CellStore, entry: PartCell) -> Path | None:
    """The folder of its files in a store, by its digest, whatever its part says; None for what never had inputs."""
    if entry.input_digest is None:
        return None
    return store.folder(entry.input_digest) if entry.verdict in JUDGED else store.error_folder(entry.input_digest)


def take(project: Project, config: Config, found: Sequence[Found], cancel: Cancel) -> list[Taken]:
    """Everything that the parts of ``joined`` name, in the order of one run. Raises InputError for what is not what it
    says, HostError where the project has no room for it, and Cancelled."""
    taken = []
    digests: dict[Path | None, str | None] = {}
    for one, entry in entries_of(found):
        cancel.check()
        where = f"{one.path}: {entry.name}"
        if entry.test not in config.tests:
            raise InputError(f"{where}: found a test that ktstr.yaml does not declare", fix=_ANEW)
        if digests.setdefault(target_of(CellStore(Path()), entry), entry.input_digest) != entry.input_digest:
            raise InputError(f"{where}: found an input_digest that begins as that of another cell", fix=_ANEW)
        taken.append(_taken(one, entry, where))
    _refuse_too_much(project, taken)
    return taken


def _taken(found: Found, entry: PartCell, where: str) -> Taken:
    sidecar = _sidecar(found, entry, where) if entry.has_sidecar else None
    folder = target_of(CellStore(found.root / CELLS), entry)
    names = tuple(_names(entry, "" if folder is None else str(folder.relative_to(found.root)), where))
    if entry.verdict in JUDGED:
        assert folder is not None, "what is judged has a digest"
        _check_record(inside(found.root, f"{folder.relative_to(found.root)}/{RECORD}", where), entry)
    for name in names:
        assert folder is not None, "files are in one"
        _check_file(inside(found.root, f"{folder.relative_to(found.root)}/{name}", where))
    return Taken(entry, found.part.whole, sidecar, folder, names)


def _sidecar(found: Found, entry: PartCell, where: str) -> Sidecar:
    path = inside(found.root, sidecar_path(found.part, entry), where)
    sidecar = sidecars.read_sidecar(path)
    _refuse_other(path, sidecar, entry, found.part.whole)
    return sidecar


def _names(entry: PartCell, folder: str, where: str) -> Iterator[str]:
    """The names of its files, all of which are in one folder."""
    for file in entry.files:
        place, _, name = file.rpartition("/")
        if not folder or place != folder or name in (RECORD, SIDECAR) or name.startswith("."):
            raise InputError(f"{where}: found the file {file[:200]!r}, expected one in {folder or 'none'}", fix=_ANEW)
        yield name


def _check_record(path: Path, entry: PartCell) -> None:
    """Raise InputError for the record of another cell."""
    digest = load_record(path).input_digest
    if digest != entry.input_digest:
        raise InputError(f"{path}: found the record of {digest[:16]!r}, expected {entry.input_digest}", fix=_ANEW)


def _check_file(path: Path) -> None:
    """Raise InputError for a dump that is none, and for what is larger than a run leaves it."""
    cap = MEMORY_CAP if path.name == VMCORE else SIDECAR_CAP if path.name.endswith(DUMP_TEXT) else RECORD_CAP
    if path.stat().st_size > cap:
        raise InputError(f"{path}: found more than {cap} bytes, expected at most that", fix=_ANEW)
    if path.name.endswith(DUMP):
        read_dump(path)


def _refuse_too_much(project: Project, taken: Sequence[Taken]) -> None:
    """Raise HostError when what is not there yet has no room."""
    store, sizes = CellStore(project.cells), {}
    for one in taken:
        target = target_of(store, one.entry)
        for name in (*one.files, *((RECORD,) if one.judged else ())):
            if target is not None and not os.path.lexists(target / name):
                sizes[target / name] = one.path(name).stat().st_size
    place = next(path for path in (project.runs_root, *project.runs_root.parents) if path.exists())
    wanted, free = sum(sizes.values()), shutil.disk_usage(place).free
    if wanted > free:
        raise HostError(
            f"{project.runs_root}: found {free} bytes free, expected {wanted} for what the shards left",
            fix=f"free some space, or set {SETTING} to a larger disk",
        )


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


def declared(config: Config, taken: Sequence[Taken], outcomes: Sequence[CellOutcome]) -> Iterator[DeclaredRun]:
    """The cells as comparisons and goals have them: those that could run."""
    for one, outcome in zip(taken, outcomes, strict=True):
        entry = one.entry
        if entry.kind == "cell":
            yield run_of(config.tests[entry.test], key_of(entry), entry.kernel, entry.accel, outcome)


def failures(config: Config, taken: Sequence[Taken], outcomes: Sequence[CellOutcome]) -> Iterator[Failure]:
    """The cells that did not pass, as they are remembered: those that can be made of what is declared here."""
    for one, outcome in zip(taken, outcomes, strict=True):
        if outcome.failed and _is_of_declared(config, one):
            kept = partial(_failed, one, outcome)
            yield Failure(outcome.name, outcome.verdict, one.entry.input_digest, outcome.ran, kept)


def _is_of_declared(config: Config, one: Taken) -> bool:
    """Whether a cell is of this project's own declarations, and of no program or file that only its part names."""
    entry = one.entry
    known = entry.kernel_word in config.kernels and entry.scheduler in config.schedulers
    return known and entry.preset in config.presets and _OF_STRANGERS.isdisjoint(one.whole.asked)


def _failed(one: Taken, outcome: CellOutcome) -> FailedCell:
    entry, whole, sidecar = one.entry, one.whole, one.sidecar
    inputs = None if sidecar is None or isinstance(sidecar.inputs, UnsetType) else sidecar.inputs
    kept = Kept(key_of(entry), entry.kernel, entry.accel, whole.commit, dict(whole.asked), entry.input_digest, inputs)
    return kept_cell(kept, outcome, sidecar)
