"""What ``test`` says at its end: the table of cells, the failures with their files, and JSON.

Pure functions of what came of the cells. Prose is folded; paths and the commands to copy are never
broken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktstr.columns import prose
from ktstr.record.outcome import JUDGED, UNSUCCESSFUL, Outcome
from ktstr.results.ledger import CellOutcome


@dataclass(frozen=True)
class CellSummary:
    """One cell as reported. ``files``: what to look at besides the sidecar; ``command`` reproduces it.

    ``ran`` is False when a stored result was good; ``seconds`` is None when nothing was measured.
    """

    name: str
    verdict: str
    reasons: tuple[str, ...] = ()
    seconds: float | None = None
    ran: bool = False
    sidecar: str | None = None
    files: tuple[str, ...] = ()
    command: str = ""


def summary_of(outcome: CellOutcome, command: str) -> CellSummary:
    """What is reported of a cell. ``command``: empty for none."""
    return CellSummary(
        name=outcome.name,
        verdict=outcome.verdict,
        reasons=outcome.reasons,
        seconds=outcome.seconds,
        ran=outcome.ran,
        sidecar=outcome.path,
        files=outcome.files,
        command=command,
    )


def counts(cells: Sequence[CellSummary]) -> dict[str, int]:
    """How many cells have each verdict; every verdict is a key."""
    return {outcome.value: sum(c.verdict == outcome for c in cells) for outcome in Outcome}


def counts_line(cells: Sequence[CellSummary]) -> str:
    """``12 cells: 10 passed, 2 failed (9 ran, 3 up to date)``; verdicts nobody has are left out."""
    words: dict[str, str] = {
        Outcome.PASS: "passed",
        Outcome.FAIL: "failed",
        Outcome.SKIP: "skipped",
        Outcome.ERROR: "in error",
    }
    parts = [f"{n} {words.get(verdict, verdict)}" for verdict, n in counts(cells).items() if n]
    ran = sum(c.ran for c in cells)
    fresh = sum(not c.ran and c.verdict in JUDGED for c in cells)
    noun = "cell" if len(cells) == 1 else "cells"
    return f"{len(cells)} {noun}: {', '.join(parts) or 'none'} ({ran} ran, {fresh} up to date)"


def _row(cell: CellSummary) -> str:
    if cell.seconds is not None and cell.ran:
        time = f"{cell.seconds:.1f} s"
    else:
        time = "up to date" if cell.verdict in JUDGED else "-"
    return f"{cell.verdict.upper():<13}{time:>10}  {cell.name}"


def _reasons(cell: CellSummary, verbose: bool) -> list[str]:
    """All reasons of what did not pass; one line's worth of skips unless verbose."""
    shown = cell.reasons if verbose or cell.verdict in UNSUCCESSFUL else cell.reasons[:1]
    return [line for reason in shown for line in prose(reason, "    ")]


def _footer(cells: Sequence[CellSummary], replay: str) -> list[str]:
    """Each failed cell's files, and the one command that repeats it; nothing when no cell failed. ``replay``: the
    command that repeats them all."""
    failed = [cell for cell in cells if cell.verdict in UNSUCCESSFUL]
    lines = ["", "failed cells:"] if failed else []
    for cell in failed:
        lines += ["", f"  {cell.verdict.upper()}  {cell.name}"]
        if cell.sidecar:
            lines.append(f"    sidecar    {cell.sidecar}")
        lines += [f"    file       {path}" for path in cell.files]
        if cell.command:
            lines.append(f"    reproduce  {cell.command}")
    return [*lines, "", f"all of them again, and whether they are fixed: {replay}"] if failed and replay else lines


def table(cells: Sequence[CellSummary], *, verbose: bool = False, interrupted: bool = False, replay: str = "") -> str:
    """The whole report as text, ending in a newline. ``replay``: the command that runs all that failed again."""
    lines = [f"{'VERDICT':<13}{'TIME':>10}  CELL"]
    for cell in cells:
        lines += [_row(cell), *_reasons(cell, verbose)]
    lines += [*_footer(cells, replay), "", counts_line(cells)]
    if interrupted:
        lines.append("INTERRUPTED: the table is partial; finished cells are kept and will not run again")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Findings:
    """What a run says beyond its cells, as JSON values: its goals, and its comparisons of two schedulers."""

    goals: Sequence[Mapping[str, object]] = ()
    comparisons: Sequence[Mapping[str, object]] = ()


def to_json(cells: Sequence[CellSummary], findings: Findings = Findings(), *, interrupted: bool = False) -> str:
    """The report as one JSON object (``schemas/test_output.schema.json``)."""
    rows = [
        {
            "name": c.name,
            "verdict": c.verdict,
            "reasons": list(c.reasons),
            "sidecar": c.sidecar,
            "seconds": c.seconds,
            "ran": c.ran,
            "files": list(c.files),
            "reproduce": c.command or None,
        }
        for c in cells
    ]
    whole = {
        "interrupted": interrupted,
        "counts": counts(cells),
        "cells": rows,
        "goals": list(findings.goals),
        "comparisons": list(findings.comparisons),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
