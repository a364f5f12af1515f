"""What a shard leaves: a part of all its cells, and their sidecars."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from ktstr.cells.parts import part_of, sidecars_of
from ktstr.errors import InputError
from ktstr.options import Shard
from ktstr.planning.plan import Plan
from ktstr.planning.request import Narrowing
from ktstr.planning.shards import Sliced
from ktstr.record.codec import decode
from ktstr.record.part import MAX_TEXT, Part, Whole, selection_digest
from ktstr.results.ledger import CellOutcome, failure
from ktstr.results.shards import sidecar_path, write_part
from ktstr.results.sidecar import dump
from ktstr.results.store import RECORD
from ktstr.results.view import Standing
from tests.cells.plans import NAME, plan
from tests.results.cells import sidecar


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    """The plan of the only shard."""
    whole = Whole(
        ktstr="0", commit=None, declarations="d" * 64, accel="icount", machine="m", kernels={}, asked={}, narrowed="",
        cells=1, skips=0, selection=selection_digest([NAME], []),
    )  # fmt: skip
    known = plan(tmp_path)
    request = replace(known.request, narrowing=Narrowing(shard=Shard(1, 1)))
    return replace(known, request=request, sliced=Sliced(whole, {NAME: 0}))


def passed(folder: Path, **changes: object) -> CellOutcome:
    return replace(CellOutcome(NAME, "pass", (), True, 1.0, sidecar()), **changes)  # type: ignore[arg-type]


def test_a_sidecar_that_was_published_out_of_reach_lies_beside_the_part(made: Plan, tmp_path: Path) -> None:
    outcome = passed(tmp_path, path=str(tmp_path / "elsewhere/x.ktstr.json"))
    part = part_of(made, [outcome], {}, interrupted=False)
    project = made.request.project
    write_part(project.runs_root, part, sidecars_of(project, part, [outcome]))
    assert (project.runs_root / sidecar_path(part, part.cells[0])).read_bytes() == dump(sidecar())


@pytest.mark.parametrize("is_there", [True, False])
def test_the_sidecar_of_a_result_that_stands_is_what_was_published_or_is_made_anew(
    made: Plan, tmp_path: Path, is_there: bool
) -> None:
    published = tmp_path / "x.ktstr.json"
    if is_there:
        published.write_bytes(b"published")
    standing = Standing(str(tmp_path / "before"), ("icount-s7", "x"), "one", "c" * 64, None, sidecar)
    outcome = passed(tmp_path, sidecar=None, standing=standing, path=str(published))
    part = part_of(made, [outcome], {}, interrupted=False)
    found = sidecars_of(made.request.project, part, [outcome])
    assert found == {"cell-0.json": b"published" if is_there else dump(sidecar())}


def test_a_file_that_a_cell_of_the_same_digest_replaced_is_not_named(made: Plan, tmp_path: Path) -> None:
    folder = made.request.project.cells / ("c" * 16)
    folder.mkdir(parents=True)
    (folder / "console.log").touch()
    outcome = passed(tmp_path, files=(str(folder / "console.log"), str(folder / "gone"), str(tmp_path / "out")))
    assert part_of(made, [outcome], {}, interrupted=False).cells[0].files == (f".cells/{'c' * 16}/console.log",)
    assert not (folder / RECORD).exists()


def test_what_an_error_says_is_made_what_a_part_can_have(made: Plan) -> None:
    error = InputError("\x1b[2J" + "x" * (2 * MAX_TEXT), fix="a\tb")
    outcome = failure(NAME, error)
    part = part_of(made, [outcome], {"kernel:\x07": error}, interrupted=False)
    again = decode(Part, json.loads(msgspec.json.encode(part)), "part")
    assert again == part and again.failures[0].task == "kernel:?"
