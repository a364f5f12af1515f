"""Parts of one run, as three shards leave them: five cells (pass, fail, error, not run, broken), two skips."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace as changed

from ktstr.config.project import Project
from ktstr.config.validated import declarations_digest
from ktstr.record.outcome import Outcome
from ktstr.record.part import Part, PartCell, PartError, Whole, selection_digest
from ktstr.results.names import CellIdentity, file_name
from ktstr.results.shards import sidecar_path, write_part
from ktstr.results.sidecar import build_skip, dump
from ktstr.results.store import ERRORS, CellStore
from tests.results.cells import IDENTITY, cell, sidecar

OF = 3
COMMIT = "abc1234"
VERSION = "7.2.0-cloud"
YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
schedulers: {scx_ktstr: {path: nowhere/scx_ktstr}}
presets: {tiny: 1n1l2c1t, one: 1n1l1c1t}
tests: {steady: {duration: 1s, cgroups: [{name: a, workers: 1}], constraints: {min_cpus: 2}}}
"""
# By place: what came of each cell. Seed 3 has no scheduler.
VERDICTS = ("pass", "fail", "error", "error", "not run")
BROKEN = 3
SKIPS = 2


def name_of(seed: int, preset: str = "tiny") -> str:
    return f"steady/{preset}/default/scx_ktstr/icount-s{seed}"


NAMES = [name_of(place) for place in range(len(VERDICTS))]
SKIPPED = [name_of(place, "one") for place in range(SKIPS)]
ROWS = [*(name_of(place) for place in (0, 1, 2, 4, BROKEN)), *SKIPPED]
"""The names as a table has them: those that are broken after the others."""


def whole(project: Path, **changes: Any) -> Whole:
    """What the three have in common."""
    made = Whole(
        ktstr="0.1.0", commit=COMMIT, declarations=declarations_digest(project_of(project)), accel="icount",
        machine="m" * 64, kernels={"default": "k" * 64}, asked={}, narrowed="", cells=len(VERDICTS), skips=SKIPS,
        selection=selection_digest(NAMES, SKIPPED),
    )  # fmt: skip
    return changed(made, **changes)


def project_of(path: Path) -> Project:
    return Project(path, path, path / "target/ktstr")


def make_project(path: Path) -> Path:
    """A folder with the declarations that the shards ran."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "ktstr.yaml").write_text(YAML)
    (path / "dodo.py").write_text("from ktstr.tasks.graph import *  # noqa: F403\n")
    return path


def digest_of(place: int) -> str:
    return f"{place:x}" * 64


def _entry(place: int, verdict: str, **changes: Any) -> PartCell:
    made: dict[str, Any] = {
        "place": place, "kind": "cell", "test": "steady", "preset": "tiny", "kernel": "default",
        "kernel_word": "default", "scheduler": "scx_ktstr", "accel": "icount", "seed": place, "keep": None,
        "name": name_of(place), "verdict": verdict, "reasons": (), "seconds": 1.5, "ran": True,
        "input_digest": digest_of(place), "files": (), "error": None,
    }  # fmt: skip
    return PartCell(**{**made, **changes})


@dataclass(frozen=True)
class Shard:
    """What one shard left: its folder of run directories, and its part."""

    root: Path
    part: Part

    def write(self, edit: Callable[[dict[str, Any]], None] | None = None) -> Path:
        """Write the part; ``edit`` spoils it first."""
        sidecars = {cell.sidecar_name: sidecar_of(cell) for cell in self.part.cells if cell.has_sidecar}
        path = write_part(self.root, self.part, sidecars)
        if edit is not None:
            document = msgspec.json.decode(path.read_bytes())
            edit(document)
            path.write_bytes(msgspec.json.encode(document))
        return path

    def with_part(self, **changes: Any) -> Shard:
        return replace(self, part=changed(self.part, **changes))

    def with_cell(self, at: int, **changes: Any) -> Shard:
        """The same with one of its cells another."""
        cells = list(self.part.cells)
        cells[at] = changed(cells[at], **changes)
        return self.with_part(cells=tuple(cells))

    def sidecar(self, at: int) -> Path:
        """Where the sidecar of one of its cells is."""
        return self.root / sidecar_path(self.part, self.part.cells[at])


def shard(root: Path, index: int, common: Whole) -> Shard:
    """The index-th of three, with all its files but the part."""
    store = CellStore(root / ".cells")
    cells = [_cell(root, store, place) for place in range(index - 1, len(VERDICTS), OF)]
    skips = [_skip(place) for place in range(index - 1, SKIPS, OF)]
    part = Part(
        version=1, index=index, of=OF, whole=common, interrupted=False, schedulers={"scx_ktstr": "5" * 64},
        cells=(*cells, *skips), failures=(),
    )  # fmt: skip
    return Shard(root, part)


def _cell(root: Path, store: CellStore, place: int) -> PartCell:
    verdict, digest = VERDICTS[place], digest_of(place)
    if place == BROKEN:
        error = PartError(message="scx_ktstr: found no such program", fix="build it", exit_code=3)
        return _entry(
            place, verdict, kind="broken", input_digest=None, seconds=None, ran=False, error=error,
            reasons=("scx_ktstr: found no such program",),
        )  # fmt: skip
    if verdict == "not run":
        return _entry(place, verdict, seconds=None, ran=False, reasons=("stopped by maxfail=",))
    if verdict == "error":
        with store.working(digest) as work:
            (work / "console.log").write_text("lost\n")
            folder = store.set_aside(digest, work)
        return _entry(
            place, verdict, reasons=("the emulator failed",), files=(f".cells/{ERRORS}/{folder.name}/console.log",)
        )
    return _measured(store, place)


def _measured(store: CellStore, place: int) -> PartCell:
    digest, verdict = digest_of(place), VERDICTS[place]
    record = changed(cell(), input_digest=digest)
    with store.working(digest) as work:
        (work / "console.log").write_text(f"console of {place}\n")
        (work / "channel.bin").write_bytes(b"\0")
        folder = store.commit(digest, work, record)
    return _entry(
        place, verdict, files=(f".cells/{folder.name}/console.log",),
        reasons=() if verdict == "pass" else ("worker 3 starved",),
    )  # fmt: skip


def _skip(place: int) -> PartCell:
    return _entry(
        place, str(Outcome.SKIP), kind="skip", preset="one", name=SKIPPED[place], reasons=("needs at least 2 CPUs",),
        seconds=None, ran=False, input_digest=None,
    )  # fmt: skip


def identity_of(entry: PartCell) -> CellIdentity:
    """Which cell its sidecar says it is."""
    identity = replace(
        IDENTITY, test=entry.test, preset=entry.preset, seed=entry.seed, kernel_label="default",
        project_commit=COMMIT, kernel_version=VERSION,
    )  # fmt: skip
    return replace(identity, topology="1n1l1c1t", vcpus=0) if entry.kind == "skip" else identity


def sidecar_of(entry: PartCell) -> bytes:
    """The sidecar of an entry that is judged or skipped."""
    identity = identity_of(entry)
    if entry.kind == "skip":
        made = build_skip(
            identity, "needs at least 2 CPUs", timestamp="2026-01-01T00:00:00.000+00:00", run="20260101T000000Z-1"
        )
        return dump(made)
    return dump(changed(sidecar(identity, input_digest=entry.input_digest or ""), passed=entry.verdict == "pass"))


def place_of(entry: PartCell) -> str:
    """Where its sidecar is published, from the folder of run directories."""
    return f"{VERSION}-{COMMIT}/icount-s{entry.seed}/{file_name(identity_of(entry))}"


def three(project: Path, folder: Path, **changes: Any) -> list[Shard]:
    """All three, each in a folder of its own below ``folder``, their parts not written yet."""
    common = whole(project, **changes)
    return [shard(folder / str(index), index, common) for index in range(1, OF + 1)]


def copy_of(one: Shard, folder: Path) -> Path:
    """The folder of a shard once more."""
    shutil.copytree(one.root, folder)
    return folder
