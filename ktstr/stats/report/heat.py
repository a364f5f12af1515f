"""The map of scenarios by topologies: for each scheduler on each kernel, one verdict for all seeds of a place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.config import topology
from ktstr.record.outcome import Outcome
from ktstr.stats.report.cells import Cell, CellGroup, severity


@dataclass(frozen=True)
class Place:
    """All cells of one scenario on one topology. ``verdict`` is the worst one's."""

    verdict: Outcome
    worst: Cell
    counts: Counter[Outcome]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def like_worst(self) -> int:
        """How many have that verdict."""
        return self.counts[self.verdict]


@dataclass(frozen=True)
class Column:
    preset: str
    label: str


@dataclass(frozen=True)
class HeatRow:
    """``places``: one for each of the map's columns; None where nothing was run."""

    test: str
    places: tuple[Place | None, ...]


@dataclass(frozen=True)
class HeatMap:
    scheduler: str
    kernel: str
    accel: str
    columns: tuple[Column, ...]
    rows: tuple[HeatRow, ...]


def heat_maps(groups: Sequence[CellGroup]) -> tuple[HeatMap, ...]:
    """A map for each scheduler, kernel and accel; topologies by size, scenarios by name."""
    keys = sorted({(g.key.scheduler, g.key.kernel, g.key.accel) for g in groups})
    return tuple(_map(key, groups) for key in keys)


def _map(key: tuple[str, str, str], groups: Sequence[CellGroup]) -> HeatMap:
    inside = [group for group in groups if (group.key.scheduler, group.key.kernel, group.key.accel) == key]
    columns = tuple(sorted({Column(g.key.preset, g.worst.topology) for g in inside}, key=_size))
    found = {(group.key.test, group.key.preset): _place(group) for group in inside}
    rows = tuple(
        HeatRow(test, tuple(found.get((test, column.preset)) for column in columns))
        for test in sorted({group.key.test for group in inside})
    )
    return HeatMap(*key, columns, rows)


def _place(group: CellGroup) -> Place:
    worst = min(group.cells, key=lambda cell: severity(cell.verdict))
    return Place(worst.verdict, worst, group.counts)


def _size(column: Column) -> tuple[int, str]:
    """Its vCPUs, then its name; a label that is no machine's comes first."""
    try:
        return topology.Topology.parse(column.label).cpus, column.preset
    except ValueError:
        return 0, column.preset
