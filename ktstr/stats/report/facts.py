"""What a run stands on: hosts, kernels and machines; and what nobody measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET

from ktstr.record.host import Host
from ktstr.record.metrics import METRICS
from ktstr.stats.null_fields import NULL_FIELDS
from ktstr.stats.report.cells import Cell
from ktstr.stats.report.text import figure

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Fact:
    """A row of a table of facts: what it is called, its values, and how many cells it holds for."""

    values: tuple[str, ...]
    cells: int


@dataclass(frozen=True)
class Missing:
    """A field of sidecars that ``cells`` of them have no value for: why that may be, and what fills it."""

    field: str
    causes: tuple[str, ...]
    fix: str | None
    cells: int


@dataclass(frozen=True)
class Facts:
    """``hosts``: CPU, CPUs, memory, kernel, transparent huge pages. ``kernels``: name, release, commit, ticks a second,
    preemption. ``machines``: accel, emulator, what runs began from. ``missing``: what is worth a look first.
    ``unmeasured``: metrics of the registry that no cell has. ``accel_reasons``: why ``accel=auto`` chose as it did."""

    hosts: tuple[Fact, ...]
    kernels: tuple[Fact, ...]
    machines: tuple[Fact, ...]
    missing: tuple[Missing, ...]
    unmeasured: tuple[str, ...]
    accel_reasons: tuple[str, ...]


def facts_of(cells: Sequence[Cell]) -> Facts:
    """The facts of these cells, most frequent first."""
    reasons = {str(cell.host.accel_reason) for cell in cells if cell.host is not None and cell.host.accel_reason}
    return Facts(
        hosts=_counted([_host(cell.host) for cell in cells]),
        kernels=_counted([_kernel(cell) for cell in cells]),
        machines=_counted([(cell.accel, cell.emulator or UNKNOWN, cell.origin or UNKNOWN) for cell in cells]),
        missing=_missing(cells),
        unmeasured=_unmeasured(cells),
        accel_reasons=tuple(sorted(reasons)),
    )


def _counted(rows: Sequence[tuple[str, ...]]) -> tuple[Fact, ...]:
    return tuple(Fact(values, n) for values, n in sorted(Counter(rows).items(), key=lambda item: (-item[1], item[0])))


def _host(host: Host | None) -> tuple[str, ...]:
    if host is None:
        return (UNKNOWN,) * 5
    memory = UNKNOWN if host.total_memory_kb is UNSET else f"{figure(round(host.total_memory_kb / (1 << 20), 1))} GiB"
    named = (host.cpu_model, host.online_cpus, memory, host.kernel_release, host.thp_enabled)
    return tuple(UNKNOWN if value is UNSET else str(value) for value in named)


def _kernel(cell: Cell) -> tuple[str, ...]:
    hz = UNKNOWN if cell.kernel_hz is None else str(cell.kernel_hz)
    return (
        cell.kernel,
        cell.kernel_version or UNKNOWN,
        cell.kernel_commit or UNKNOWN,
        hz,
        cell.kernel_preempt or UNKNOWN,
    )


def _missing(cells: Sequence[Cell]) -> tuple[Missing, ...]:
    found = Counter(name for cell in cells for name in cell.absent)
    order = {"actionable": 0, "expected": 1}
    names = sorted(found, key=lambda name: (order[NULL_FIELDS[name].classification], -found[name], name))
    return tuple(Missing(name, NULL_FIELDS[name].causes, NULL_FIELDS[name].fix, found[name]) for name in names)


def _unmeasured(cells: Sequence[Cell]) -> tuple[str, ...]:
    measured = {name for cell in cells for name in cell.metrics}
    return tuple(name for name, metric in METRICS.items() if metric.rendered and name not in measured)
