"""Cells that are a part of another: of its seed's changes they make some."""

from __future__ import annotations

from dataclasses import replace

from ktstr.config.keep import keep_words
from ktstr.planning.points import CellPlan, compile_point, planned_cell, programs
from ktstr.vm.machine import Machine


def count_changes(cell: CellPlan) -> int:
    """How many changes the seed of a cell makes."""
    from ktstr.scenarios import compile

    point = cell.point
    return compile.count_changes(point.test, point.topology, point.scheduler, cell.key.seed, programs(point))


def part_of(cell: CellPlan, keep: tuple[int, ...], machine: Machine) -> CellPlan:
    """The cell with these changes of its seed alone."""
    key = replace(cell.key, keep=keep)
    name = f"{cell.name}-keep-{keep_words(keep)}"
    return planned_cell(name, key, cell.point, compile_point(cell.point, key), machine)
