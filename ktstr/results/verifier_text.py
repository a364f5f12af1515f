"""The verifier's report as text: what loads where, each program's share of the limit, and what changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ktstr.columns import printable, prose, table
from ktstr.record.verification import Difference, VerifiedCell, VerifierReport

_WIDTH = 100
_STATUS = {"loaded": "loads", "refused": "REFUSED", "lost": "LOST", "not_measured": "NOT MEASURED"}


def render(report: VerifierReport) -> str:
    """The whole report, ending in a newline."""
    lines = _summary(report)
    for cell in report.cells:
        lines += ["", *_cell(cell)]
    for difference in report.differences:
        lines += ["", *_difference(difference)]
    return "\n".join([*lines, *_warnings(report), "", _counts(report)]) + "\n"


def _name(cell: VerifiedCell) -> str:
    commit = "" if cell.commit is None else f" @ {cell.commit}"
    return printable(f"{cell.scheduler}{commit} on {cell.kernel}, {cell.preset}")


def _summary(report: VerifierReport) -> list[str]:
    rows = [
        (printable(cell.scheduler), printable(cell.kernel), cell.preset, cell.commit or "", _STATUS[cell.status])
        for cell in report.cells
    ]
    shown = slice(0, 5) if any(cell.commit for cell in report.cells) else slice(0, 3)
    header = ("SCHEDULER", "KERNEL", "PRESET", "COMMIT", "STATUS")
    if shown.stop == 5:
        return table(header, rows, width=_WIDTH)
    return table((*header[:3], header[4]), [(*row[:3], row[4]) for row in rows], width=_WIDTH)


def _cell(cell: VerifiedCell) -> list[str]:
    lines = [f"{_name(cell)}: {_STATUS[cell.status]}"]
    if cell.reason is not None:
        refused = "" if cell.refused_program is None else f"program {printable(cell.refused_program)}: "
        lines += prose(f"{refused}{printable(cell.reason)}", "  ")
    if cell.programs:
        rows = [
            (printable(row.name), str(row.verified_insns), f"{row.limit_pct:.1f} %", "!" if row.near_limit else "")
            for row in cell.programs
        ]
        rows.append(("total", str(cell.total_verified_insns), "", ""))
        header = ("  PROGRAM", "VERIFIED", "OF LIMIT", "")
        indented = [(f"  {row[0]}", *row[1:]) for row in rows]
        lines += table(header, indented, frozenset({1, 2}), _WIDTH)
    return lines + _log(cell)


def _log(cell: VerifiedCell) -> list[str]:
    stats, lines = cell.log_stats, []
    if stats is not None and stats.processed_insns:
        facts = [f"processed={stats.processed_insns}"]
        if stats.peak_states is not None:
            facts.append(f"states={stats.peak_states}/{stats.total_states}")
        if stats.time_us is not None:
            facts.append(f"time={stats.time_us} us")
        if stats.stack_depth is not None:
            facts.append(f"stack={stats.stack_depth}")
        lines += ["  --- verifier stats ---", f"  {printable(' '.join(facts))}"]
    if cell.log:
        lines += ["  --- verifier log ---", *(f"  {printable(line.expandtabs())}" for line in cell.log)]
    return lines


def _difference(found: Difference) -> list[str]:
    rest = ", ".join(printable(part) for part in (found.scheduler, found.kernel, found.preset) if part is not None)
    rows = [
        (printable(row.name), _number(row.a), _number(row.b), "" if row.delta is None else f"{row.delta:+d}")
        for row in found.programs
    ]
    header = ("PROGRAM", "A", "B", "DELTA")
    title = f"{rest}: {found.axis} A = {printable(found.a)}, B = {printable(found.b)}"
    return [title, *table(header, rows, frozenset({1, 2, 3}), _WIDTH)]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _warnings(report: VerifierReport) -> list[str]:
    near = [(cell, program) for cell in report.cells for program in cell.programs if program.near_limit]
    if not near:
        return []
    head = f"warning: at {report.warn_pct} % of {report.limit_insns} verified instructions or more:"
    return ["", head, *(f"  {_name(cell)}: {printable(row.name)} ({row.limit_pct:.1f} %)" for cell, row in near)]


def _counts(report: VerifierReport) -> str:
    counted = _count(report.cells)
    words = ("loaded", "load"), ("refused", "refused"), ("lost", "lost"), ("not_measured", "not measured")
    return f"{len(report.cells)} cell{'s' * (len(report.cells) != 1)}: " + ", ".join(
        f"{counted[key]} {word}" for key, word in words if counted[key]
    )


def _count(cells: Sequence[VerifiedCell]) -> dict[str, int]:
    statuses: Iterable[str] = [cell.status for cell in cells]
    return {status: sum(found == status for found in statuses) for status in _STATUS}
