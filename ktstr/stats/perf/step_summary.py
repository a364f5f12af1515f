"""``perf_delta``'s result in Markdown, as the summary of a step of GitHub Actions shows it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ktstr.columns import printable
from ktstr.errors import HostError
from ktstr.stats.perf.result import Finding, PerfDelta, phase_name
from ktstr.stats.perf.text import counts_text, gate_text, number, shift_text, verdict_text, visible

VARIABLE = "GITHUB_STEP_SUMMARY"
ROWS = 200  # GitHub takes 1 MiB of a step
_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]()#+!|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def escaped(text: str) -> str:
    """Text that means nothing in Markdown or HTML, on one line."""
    return printable(text).translate(_SPECIAL)


def markdown(result: PerfDelta, *, all_metrics: bool = False) -> str:
    """A heading with the verdict, a table of what moved, and what could not be judged."""
    lines = [
        f"## {escaped(result.title)}: {escaped(result.overall)}",
        "",
        f"{escaped(result.head)} against {escaped(result.baseline)} ({escaped(result.chosen)}): {counts_text(result)}.",
        "",
        *(f"- **{escaped(failure)}**" for failure in result.failures),
    ]
    shown = [*visible(result, all_metrics=all_metrics), *result.by_phase]
    if shown:
        header = ("scenario", "metric", "phase", "A", "B", "shift", "n", "verdict")
        lines += ["", *_table(header, _rows(result, shown[:ROWS]))]
    if len(shown) > ROWS:
        lines += ["", f"and {len(shown) - ROWS} more"]
    if result.unevaluated:
        rows = [(one.test, one.gate.metric, gate_text(one.gate), one.why) for one in result.unevaluated]
        lines += ["", "Declared gates that were not evaluated:", "", *_table(("test", "metric", "gate", "why"), rows)]
    lines += ["", *(f"- {escaped(note)}" for note in result.notes)] if result.notes else []
    return "\n".join(lines) + "\n"


def _rows(result: PerfDelta, shown: Sequence[Finding]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for finding in shown:
        v = finding.verdict
        unit = f" {finding.unit}" if finding.unit else ""
        rows.append(
            (
                v.scenario, v.metric, phase_name(finding.phase, finding.phase_label), number(v.center_a) + unit,
                number(v.center_b) + unit, shift_text(finding), f"{v.n_a}/{v.n_b}", verdict_text(finding, result.rule),
            )
        )  # fmt: skip
    return rows


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return lines + [f"| {' | '.join(map(escaped, row))} |" for row in rows]


def append_step_summary(environ: Mapping[str, str], text: str) -> None:
    """Add Markdown to the file that GITHUB_STEP_SUMMARY names; nothing without it.

    Raises HostError when the file cannot be written.
    """
    name = environ.get(VARIABLE)
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
    except OSError as err:
        raise HostError(f"{VARIABLE}={name}: cannot be written ({os.strerror(err.errno or 0)})") from None
