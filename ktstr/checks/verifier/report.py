"""The verifier's report, from what was found of each cell: how near each program is to the limit, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ktstr.checks.verifier.log import LIMIT, WARN_PCT
from ktstr.record.sidecar import VerifierStats
from ktstr.record.verification import Axis, Difference, ProgramDelta, VerifiedCell, VerifiedProgram, VerifierReport


def verified(stats: Iterable[VerifierStats]) -> tuple[VerifiedProgram, ...]:
    """Each program with its share of the limit, the largest first."""
    rows = sorted(stats, key=lambda row: (-row.verified_insns, row.name))
    return tuple(
        VerifiedProgram(
            name=row.name,
            verified_insns=row.verified_insns,
            limit_pct=round(100 * row.verified_insns / LIMIT, 1),
            near_limit=100 * row.verified_insns >= WARN_PCT * LIMIT,
        )
        for row in rows
    )


def report(cells: Sequence[VerifiedCell]) -> VerifierReport:
    """The whole report. Two commits, two kernels or two schedulers, and no third, are compared."""
    return VerifierReport(limit_insns=LIMIT, warn_pct=WARN_PCT, cells=tuple(cells), differences=differences(cells))


def differences(cells: Sequence[VerifiedCell]) -> tuple[Difference, ...]:
    """What the two values of the first axis that has two differ in, on both of which a scheduler was loaded."""
    axes: dict[Axis, Callable[[VerifiedCell], str | None]] = {
        "commit": lambda cell: cell.commit, "kernel": lambda cell: cell.kernel,
        "scheduler": lambda cell: cell.scheduler,
    }  # fmt: skip
    for axis, value in axes.items():
        values = list(dict.fromkeys(found for cell in cells if (found := value(cell)) is not None))
        if len(values) == 2:
            return _along(axis, values, cells, value)
    return ()


def _along(
    axis: Axis, values: Sequence[str], cells: Sequence[VerifiedCell], value: Callable[[VerifiedCell], str | None]
) -> tuple[Difference, ...]:
    sides = [{_rest(axis, cell): cell for cell in cells if value(cell) == one} for one in values]
    both = [(a, sides[1][key]) for key, a in sides[0].items() if key in sides[1]]
    return tuple(
        Difference(
            axis=axis,
            a=values[0],
            b=values[1],
            scheduler=None if axis == "scheduler" else a.scheduler,
            kernel=None if axis == "kernel" else a.kernel,
            preset=a.preset,
            programs=_deltas(a.programs, b.programs),
        )
        for a, b in both
        if a.programs and b.programs
    )


def _rest(axis: Axis, cell: VerifiedCell) -> tuple[str | None, ...]:
    """What two cells have in common that are compared."""
    whole: dict[Axis | str, str | None] = {
        "commit": cell.commit, "kernel": cell.kernel, "scheduler": cell.scheduler, "preset": cell.preset,
    }  # fmt: skip
    return tuple(found for name, found in whole.items() if name != axis)


def _deltas(a: Iterable[VerifiedProgram], b: Iterable[VerifiedProgram]) -> tuple[ProgramDelta, ...]:
    ours, theirs = ({program.name: program.verified_insns for program in side} for side in (a, b))
    return tuple(
        ProgramDelta(
            name=name,
            a=ours.get(name),
            b=theirs.get(name),
            delta=theirs[name] - ours[name] if name in ours and name in theirs else None,
        )
        for name in {**ours, **theirs}
    )
