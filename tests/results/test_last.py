"""What is kept of cells that did not pass, and for how long; damage costs the memory, and is no good news."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP
from ktstr.record.failed import FailedCell
from ktstr.results.last import FILE, Failure, failed_cells, failed_names, remember
from tests.results.failed import failed_cell

NAME = "t/p/default/mine/icount-s3"


def failure(cell: FailedCell, *, ran: bool = True) -> Failure:
    return Failure(cell.name, cell.verdict, cell.input_digest, ran, lambda: cell)


def test_a_cell_is_kept_until_it_passes(tmp_path: Path) -> None:
    other = failed_cell(seed=4)
    remember(tmp_path, (), [failure(failed_cell()), failure(other)])
    assert failed_cells(tmp_path) == {NAME: failed_cell(), other.name: other}
    remember(tmp_path, [NAME, "never/failed"], ())
    assert failed_names(tmp_path) == {other.name}


def test_a_result_that_stands_keeps_what_was_said_of_it_and_one_that_ran_replaces_it(tmp_path: Path) -> None:
    remember(tmp_path, (), [failure(failed_cell())])
    later = failed_cell(project_commit="abc1234")

    def never() -> FailedCell:
        raise AssertionError("made anew")

    remember(tmp_path, (), [Failure(NAME, "fail", "a" * 64, False, never)])
    remember(tmp_path, (), [failure(failed_cell(input_digest="b" * 64, project_commit="x"), ran=False)])
    assert failed_cells(tmp_path)[NAME].project_commit == "x"
    remember(tmp_path, (), [failure(later)])
    assert failed_cells(tmp_path) == {NAME: later}


def test_nothing_is_written_where_nothing_failed(tmp_path: Path) -> None:
    remember(tmp_path, ["t/p/k/s/icount-s0"], ())
    assert list(tmp_path.iterdir()) == []
    assert (failed_names(tmp_path), failed_cells(tmp_path)) == (frozenset(), {})


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, b"{}", b'{"version": 2, "cells": {}}'),
        b'{"version": 1, "cells": []}',
        b'{"version": 1, "cells": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_damage_is_no_memory_for_failed_but_an_error_for_a_replay_and_the_next_run_mends_it(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert failed_names(tmp_path) == frozenset()
    with pytest.raises(InputError, match=FILE):
        failed_cells(tmp_path)
    remember(tmp_path, (), [failure(failed_cell())])
    assert failed_cells(tmp_path) == {NAME: failed_cell()}


def test_a_cell_that_says_too_little_is_an_error_that_names_the_field(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"version": 1, "cells": {"a": {"test": "t"}}}')
    with pytest.raises(InputError, match=r"failed\.json: a"):
        failed_cells(tmp_path)


def test_memory_that_is_too_large_counts_as_none(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(SIDECAR_CAP + 1)
    assert failed_names(tmp_path) == frozenset()
