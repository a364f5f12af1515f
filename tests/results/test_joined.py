"""Parts of one run, held against each other."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ktstr.errors import InputError
from ktstr.record.part import Whole
from ktstr.results.joined import AGREED, entries_of, joined
from ktstr.results.shards import Found, parts_in
from tests.results.parts import ROWS, Shard, copy_of, make_project, three


@pytest.fixture
def parts(tmp_path: Path) -> list[Shard]:
    """Three shards of one run in ``parts/1`` to ``parts/3``."""
    found = three(make_project(tmp_path / "project"), tmp_path / "parts")
    for one in found:
        one.write()
    return found


def read(*folders: Path) -> list[Found]:
    return [found for folder in folders for found in parts_in(folder, folder.name)]


def test_the_parts_of_one_run_are_joined_in_the_order_of_one_run(parts: list[Shard]) -> None:
    found = joined(read(*(one.root for one in reversed(parts))))
    assert [one.part.shard for one in found] == ["1/3", "2/3", "3/3"]
    names = [cell.name for _, cell in entries_of(found)]
    assert names == ROWS


def test_a_missing_shard_is_named(parts: list[Shard]) -> None:
    with pytest.raises(InputError, match=r"^shard 2/3 is missing: found 2 of 3 parts in 1, 3"):
        joined(read(parts[0].root, parts[2].root))
    with pytest.raises(InputError, match=r"^shards 2/3, 3/3 are missing"):
        joined(read(parts[0].root))


def test_a_shard_that_is_there_twice_is_named_with_both_folders(parts: list[Shard], tmp_path: Path) -> None:
    again = copy_of(parts[1], tmp_path / "again")
    with pytest.raises(InputError, match="shard 2/3: found it in 2 and in again, expected it once"):
        joined(read(*(one.root for one in parts), again))


def test_parts_of_different_n_are_no_run(parts: list[Shard], tmp_path: Path) -> None:
    other = Shard(tmp_path / "other", replace(parts[1].part, of=4, cells=()))
    other.write()
    with pytest.raises(InputError, match=r"other: found shard 2/4, expected one of 3 as in 1 \(1/3\)"):
        joined(read(parts[0].root, other.root))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"commit": "fffffff"}, "the commit: found fffffff, expected abc1234"),
        ({"kernels": {"default": "e" * 64}}, "kernels: found default=eeeeeeeeeeeeeeee, expected default=kkkk"),
        ({"accel": "kvm"}, "accel: found kvm, expected icount"),
        ({"declarations": "d" * 64}, "ktstr.yaml: found dddddddddddddddd"),
        ({"asked": {"release": "1"}}, "variables: found release=1, expected none"),
        ({"selection": "5" * 64}, "the cells' names: found 5555555555555555"),
        ({"ktstr": "9"}, "ktstr: found 9, expected 0.1.0"),
    ],
)
def test_a_part_of_another_run_is_refused_by_what_differs(
    parts: list[Shard], change: dict[str, Any], words: str
) -> None:
    parts[1].with_part(whole=replace(parts[1].part.whole, **change)).write()
    with pytest.raises(InputError, match="2: shard 2/3 is of another run: ") as err:
        joined(read(*(one.root for one in parts)))
    assert words in str(err.value) and "as in 1 (1/3)" in str(err.value) and err.value.fix


def test_names_that_were_not_selected_are_refused(parts: list[Shard]) -> None:
    cells = [
        replace(cell, seed=9, name=cell.name[:-1] + "9") if cell.seed == 1 else cell for cell in parts[1].part.cells
    ]
    parts[1].with_part(cells=tuple(cells)).write()
    with pytest.raises(InputError, match="found other cells than were selected"):
        joined(read(*(one.root for one in parts)))


def test_a_cell_of_another_shard_and_one_too_few_are_refused(parts: list[Shard]) -> None:
    cells = parts[1].part.cells
    parts[1].with_part(cells=(replace(cells[0], place=0), *cells[1:])).write()
    with pytest.raises(InputError, match="found cells of other shards, expected one of every 3"):
        joined(read(*(one.root for one in parts)))
    parts[1].with_part(cells=cells[1:]).write()
    with pytest.raises(InputError, match="found 1 cells, expected 2"):
        joined(read(*(one.root for one in parts)))


def test_what_a_budget_left_out_is_not_missed(parts: list[Shard]) -> None:
    narrowed = [one.with_part(whole=replace(one.part.whole, narrowed="budget_secs=9")) for one in parts]
    narrowed[1] = narrowed[1].with_part(cells=narrowed[1].part.cells[1:])
    for one in narrowed:
        one.write()
    assert len(entries_of(joined(read(*(one.root for one in parts))))) == 6


def test_every_field_of_a_run_is_held_against_the_other_parts() -> None:
    assert {agreed.field for agreed in AGREED} == set(Whole.__struct_fields__)


def test_a_scheduler_that_is_another_program_is_another_run(parts: list[Shard]) -> None:
    parts[1].with_part(schedulers={"scx_ktstr": "6" * 64, "other": "1" * 64}).write()
    with pytest.raises(InputError, match=r"2: shard 2/3 is of another run: scheduler scx_ktstr: found 6{16},") as err:
        joined(read(*(one.root for one in parts)))
    assert "expected 5555555555555555 as in 1 (1/3)" in str(err.value)
    parts[1].with_part(schedulers={}).write()  # it has none of its cells
    assert len(joined(read(*(one.root for one in parts)))) == 3


def test_places_of_a_huge_run_are_not_listed(parts: list[Shard]) -> None:
    huge = replace(parts[0].part.whole, cells=10_000_000, narrowed="budget_secs=1")
    for one in parts:
        one.with_part(whole=huge).write()
    found = read(*(one.root for one in parts))
    tracemalloc.start()
    joined(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
