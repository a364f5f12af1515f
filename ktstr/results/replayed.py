"""What a replay says of each cell that did not pass before: fixed, persistent, mixed, inconclusive or dropped."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ktstr.columns import printable, prose
from ktstr.record.inputs import INPUTS
from ktstr.record.outcome import Outcome
from ktstr.results.junit import Case, document


class Fate(enum.StrEnum):
    """What became of a cell, in the order in which they are counted."""

    FIXED = "fixed"
    PERSISTENT = "persistent"
    MIXED = "mixed"
    INCONCLUSIVE = "inconclusive"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Reason:
    """Why a run did not pass. ``check``: the kind of the sidecar's reason, None for an error."""

    check: str | None
    message: str


@dataclass(frozen=True)
class Run:
    """One run. ``ran`` is False for a stored result that stands; ``seconds`` of host time."""

    verdict: str
    reasons: tuple[Reason, ...] = ()
    ran: bool = True
    seconds: float | None = None


@dataclass(frozen=True)
class Change:
    """An input that is not what it was. ``old`` and ``new`` where people have words for it, else None."""

    input: str
    old: str | None = None
    new: str | None = None

    def __str__(self) -> str:
        values = "" if self.old is None and self.new is None else f": {self.old or '?'} → {self.new or '?'}"
        return f"{INPUTS.get(self.input, self.input)}{values}"


@dataclass(frozen=True)
class Replayed:
    """One cell. ``before``: when it did not pass; ``runs``: of now. ``why``: what is to be said of its fate.

    ``changes``: of its inputs since, None where that was not recorded; ``host``: what differs between the hosts, None
    where that does not count or is not known on both sides.
    """

    name: str
    fate: Fate
    why: str
    before: Run
    runs: tuple[Run, ...] = ()
    changes: tuple[Change, ...] | None = None
    host: tuple[str, ...] | None = None
    since: str | None = None
    commit: str | None = None
    sidecar: str | None = None
    files: tuple[str, ...] = ()
    command: str = ""

    @property
    def seconds(self) -> float | None:
        """Host time of all runs of now."""
        known = [run.seconds for run in self.runs if run.ran and run.seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Judged:
    """A cell's fate, and what is to be said of it."""

    fate: Fate
    why: str


def judge(before: Run, runs: Sequence[Run]) -> Judged:
    """What the runs of now say of a cell that did not pass before. Only runs that passed or failed decide."""
    passed = [run for run in runs if run.verdict == Outcome.PASS]
    failed = [run for run in runs if run.verdict == Outcome.FAIL]
    rest = [run for run in runs if run.verdict not in (Outcome.PASS, Outcome.FAIL)]
    count = f"{len(runs)} runs: "
    if passed and failed:
        return Judged(Fate.MIXED, f"{count}{len(failed)} failed, {len(passed)} passed{_also(rest)}")
    if failed:
        many = f"{len(failed)} of {len(runs)} runs failed: " if len(runs) > 1 else ""
        return Judged(Fate.PERSISTENT, many + _same(before, failed))
    if passed and not rest:
        return Judged(Fate.FIXED, f"{count}all passed" if len(runs) > 1 else "passes")
    if passed:
        return Judged(Fate.INCONCLUSIVE, f"{count}{len(passed)} passed{_also(rest)}")
    if not rest:
        return Judged(Fate.INCONCLUSIVE, "did not run")
    words = ", ".join(f"{n} {verdict}" for verdict, n in Counter(run.verdict for run in rest).items())
    return Judged(Fate.INCONCLUSIVE, count + words if len(runs) > 1 else rest[0].verdict)


def _also(rest: Sequence[Run]) -> str:
    return f", {len(rest)} could not be judged" if rest else ""


def _same(before: Run, failed: Sequence[Run]) -> str:
    """Whether it is the same check that fails."""
    if before.verdict != Outcome.FAIL:
        return f"it was {before.verdict}, and fails now"
    was, now = _checks(before), dict.fromkeys(check for run in failed for check in _checks(run))
    same = [check for check in now if check in was]
    other = [check for check in now if check not in was]
    if not same:
        return f"fails for another reason: {', '.join(other)}, before {', '.join(was)}"
    gone = [check for check in was if check not in now]
    more = f", and another ({', '.join(other)})" if other else ""
    less = f", no longer for {', '.join(gone)}" if gone else ""
    return f"fails for the same reason ({', '.join(same)}){more}{less}"


def _checks(run: Run) -> dict[str, None]:
    return dict.fromkeys(reason.check or "error" for reason in run.reasons)


@dataclass(frozen=True)
class Report:
    """All of one replay. ``notes``: what holds for all of it."""

    cells: tuple[Replayed, ...]
    notes: tuple[str, ...] = ()
    interrupted: bool = False

    def counts(self) -> dict[str, int]:
        """How many cells have each fate; every one is a key."""
        return {fate.value: sum(cell.fate is fate for cell in self.cells) for fate in Fate}


def to_text(report: Report) -> str:
    """Each cell with what it was, what it is and what changed since; then the counts. Ends in a newline."""
    lines = [f"{'FATE':<13}{'TIME':>10}  CELL"]
    for cell in report.cells:
        lines += _told(cell)
    lines += ["", *_changes(report), *_hosts(report)]
    lines += [line for note in report.notes for line in prose(note, "")]
    counted = ", ".join(f"{n} {fate}" for fate, n in report.counts().items())
    lines.append(f"replayed {_cells(len(report.cells))}: {counted}")
    if report.interrupted:
        lines.append("INTERRUPTED: the table is partial; what ended is kept")
    return "\n".join(lines) + "\n"


def _told(cell: Replayed) -> list[str]:
    time = "-" if not cell.runs else "up to date" if cell.seconds is None else f"{cell.seconds:.1f} s"
    lines = [f"{cell.fate.upper():<13}{time:>10}  {cell.name}"]
    if cell.fate is Fate.DROPPED:
        lines += prose(printable(cell.why), "    ")
    lines += prose(printable(f"was {cell.before.verdict}{_of(cell)}: {_said(cell.before)}"), "    ")
    if cell.fate is Fate.DROPPED:
        return lines
    worst = next((run for run in cell.runs if run.verdict != Outcome.PASS), None)
    lines += prose(printable(f"now {cell.why}{'' if worst is None else f': {_anew(worst, cell.before)}'}"), "    ")
    lines += prose(f"changed since: {_named(cell)}", "    ")
    if cell.fate is Fate.FIXED:
        return lines
    if cell.sidecar:
        lines.append(f"    sidecar    {cell.sidecar}")
    lines += [f"    file       {path}" for path in cell.files]
    return [*lines, f"    reproduce  {cell.command}"] if cell.command else lines


def _of(cell: Replayed) -> str:
    at = (cell.since or "").partition(".")[0]
    parts = [part for part in (f"at commit {cell.commit}" if cell.commit else "", at) if part]
    return f" ({', '.join(parts)})" if parts else ""


def _said(run: Run) -> str:
    """The first reason, and how many more there are."""
    if not run.reasons:
        return "it says no reason"
    first, more = run.reasons[0], len(run.reasons) - 1
    check = f"{first.check}: " if first.check else ""
    return f"{check}{first.message}{f' (and {more} more)' if more else ''}"


def _anew(run: Run, before: Run) -> str:
    """What a run says, unless that was said of the one before."""
    return "in the same words" if _said(run) == _said(before) else _said(run)


def _named(cell: Replayed) -> str:
    if cell.changes is None:
        return "not known: what it depended on was not recorded"
    if cell.changes:
        only_limits = [change.input for change in cell.changes] == ["limits"]
        return "; ".join(map(str, cell.changes)) + (", and nothing else" if only_limits else "")
    if not any(run.ran for run in cell.runs):
        return "nothing that it depends on, so the result of then stands"
    if cell.fate is Fate.FIXED:
        return "nothing that it depends on: it may fail again, and times=10 says more"
    return "nothing that it depends on"


def _changes(report: Report) -> list[str]:
    """What changed between then and now, over all cells."""
    ran = [cell for cell in report.cells if cell.fate is not Fate.DROPPED]
    found = Counter(str(change) for cell in ran for change in cell.changes or ())
    return [line for text, n in found.items() for line in prose(f"changed for {n} of {_cells(len(ran))}: {text}", "")]


def _hosts(report: Report) -> list[str]:
    """What differs between the hosts, for the cells in real time."""
    compared = [cell for cell in report.cells if cell.host is not None]
    if not compared:
        return []
    drift = Counter(line for cell in compared for line in cell.host or ())
    if not drift:
        return [f"host: unchanged ({_cells(len(compared))} in real time)"]
    return ["host drift, which may be why:", *(f"  {printable(line)} ({_cells(n)})" for line, n in drift.items())]


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"


def to_json(report: Report) -> str:
    """One JSON object (``schemas/replay.schema.json``), ending in a newline."""
    whole = {
        "interrupted": report.interrupted,
        "counts": report.counts(),
        "cells": [_row(cell) for cell in report.cells],
        "notes": list(report.notes),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row(cell: Replayed) -> dict[str, object]:
    row = {key: value for key, value in asdict(cell).items() if key != "command"}
    return {**row, "reproduce": cell.command or None}


_VERDICTS = {
    Fate.FIXED: Outcome.PASS,
    Fate.PERSISTENT: Outcome.FAIL,
    Fate.MIXED: Outcome.FAIL,
    Fate.INCONCLUSIVE: Outcome.INCONCLUSIVE,
    Fate.DROPPED: Outcome.SKIP,
}


def to_junit(report: Report) -> str:
    """JUnit XML: a case for each cell; one that was dropped is skipped."""
    return document(
        [
            Case(
                cell.name.partition("/")[0],
                cell.name.partition("/")[2],
                _VERDICTS[cell.fate],
                (f"{cell.fate}: {cell.why}", *(reason.message for run in cell.runs for reason in run.reasons)),
                cell.seconds,
            )
            for cell in report.cells
        ]
    )
