"""After the run: the view, the table of cells, the footer, JSON, JUnit and the exit code's share."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK, EXIT_VERDICT, HostError, KtstrError
from ktstr.files import write_atomic
from ktstr.results import summary as render
from ktstr.tasks.session import Outcome, Session

if TYPE_CHECKING:
    from ktstr.planning.plan import CellPlan

FAILED = ("fail", "inconclusive", "error")


def reproduce(cell: CellPlan) -> str:
    """One copyable command that runs this cell and no other."""
    pins = (
        f"test={cell.key.test}",
        f"preset={cell.key.preset}",
        f"kernel={cell.key.kernel}",
        f"scheduler={cell.key.scheduler}",
        f"accel={cell.point.accel}",
        f"seed={cell.key.seed}",
    )
    return f"{os.environ.get('KTSTR_CALLED_AS') or 'doit'} test " + " ".join(
        shlex.quote(pin) for pin in (*pins, "rerun=1")
    )


def _cause(session: Session, cell: CellPlan) -> KtstrError | None:
    """The failure that kept a cell from running, through everything it needs."""
    assert session.plan is not None
    for need in session.plan.closure(cell.point.needs):
        if need in session.failures:
            return session.failures[need]
    return session.failures.get(f"cell:{cell.name}")


def _missing(session: Session, cell: CellPlan) -> Outcome:
    """The outcome of a cell that never got to run."""
    cause = _cause(session, cell)
    if cause is not None:
        return Outcome(cell.name, "error", (cause.message,), False, None, exit_code=cause.exit_code)
    if session.signal or session.number("maxfail") is not None:
        why = "interrupted" if session.signal else "stopped by maxfail="
        return Outcome(cell.name, "not run", (why,), False, None)
    return Outcome(cell.name, "error", ("was never reached",), False, None, exit_code=EXIT_ENVIRONMENT)


def _outcomes(session: Session) -> list[Outcome]:
    from ktstr.cells.cell import skipped

    assert session.plan is not None
    ran = [session.outcomes.get(cell.name) or _missing(session, cell) for cell in session.plan.cells]
    skips = [skipped(session, skip) for skip in session.plan.skips]
    return [*ran, *session.plan.broken, *skips]


def _remember(session: Session, outcomes: list[Outcome]) -> None:
    """Last verdicts by name, for ``failed=1``. Losing the file costs only that."""
    path = session.project.state / "last.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        last = {str(k): str(v) for k, v in known.items()} if isinstance(known, dict) else {}
    except (OSError, ValueError):
        last = {}
    last |= {o.name: o.verdict for o in outcomes if o.verdict != "not run"}
    with suppress(HostError):
        write_atomic(path, json.dumps(last, indent=1, sort_keys=True).encode())


def last_verdicts(state: Path) -> dict[str, str]:
    """What ``failed=1`` selects by: the last verdict of each cell. Empty before the first run."""
    try:
        loaded = json.loads((state / "last.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in loaded.items()} if isinstance(loaded, dict) else {}


def _code(session: Session, outcome: Outcome) -> int:
    if outcome.exit_code:
        return outcome.exit_code
    if outcome.verdict == "inconclusive":
        return EXIT_OK if session.flag("allow_inconclusive") else EXIT_VERDICT
    return {"fail": EXIT_VERDICT, "error": EXIT_ENVIRONMENT}.get(outcome.verdict, EXIT_OK)


def _all_skipped(session: Session, outcomes: list[Outcome]) -> str:
    if not outcomes or any(o.verdict != "skip" for o in outcomes):
        return ""
    if session.flag("no_skip"):
        session.exit_codes.append(EXIT_ENVIRONMENT)
    return f"EVERY CELL WAS SKIPPED ({len(outcomes)}): nothing was tested\n"


def _cells(session: Session, outcomes: list[Outcome]) -> list[render.CellSummary]:
    assert session.plan is not None
    plans = {cell.name: cell for cell in session.plan.cells}
    return [
        render.CellSummary(
            name=o.name,
            verdict=o.verdict,
            reasons=o.reasons,
            seconds=o.seconds,
            ran=o.ran,
            sidecar=o.path,
            files=o.files,
            command=reproduce(plans[o.name]) if o.name in plans else "",
        )
        for o in outcomes
    ]


def _write_junit(session: Session, cells: list[render.CellSummary]) -> None:
    target = session.text("junit")
    if target is None:
        return
    path = session.project.stand / target
    try:
        write_atomic(path, render.junit(cells).encode())
    except HostError as err:
        session.fail(f"junit={target}", err)


def _published(session: Session) -> list[Outcome]:
    """The outcomes with their paths in the view. One that cannot be filled costs the view, not the report."""
    from ktstr.cells.publish import publish

    outcomes = _outcomes(session)
    try:
        return publish(session, outcomes)
    except KtstrError as err:
        session.fail("test", err)
        return outcomes


def finish_test(session: Session) -> str:
    """Publish the view, remember the verdicts and give the report's text."""
    outcomes = _published(session)
    _remember(session, outcomes)
    session.exit_codes += [_code(session, outcome) for outcome in outcomes]
    loud = _all_skipped(session, outcomes)
    cells = _cells(session, outcomes)
    _write_junit(session, cells)
    if session.flag("json"):
        return render.to_json(cells, interrupted=bool(session.signal))
    return render.table(cells, verbose=session.flag("verbose"), interrupted=bool(session.signal)) + loud


def dry_run(session: Session) -> str:
    """Each cell and why it would run, or that it is up to date; one JSON object with ``json=1``."""
    from ktstr.cells.cell import why

    assert session.plan is not None
    rows = [(cell.name, why(session, cell)) for cell in session.plan.cells]
    rows += [(cell.name, f"error: {'; '.join(cell.reasons)}") for cell in session.plan.broken]
    rows += [(skip.name, f"skip: {skip.reason}") for skip in session.plan.skips]
    if session.flag("json"):
        return json.dumps({"cells": [{"name": n, "why": w} for n, w in rows]}, indent=2, ensure_ascii=False) + "\n"
    return "".join(f"{name}  {reason}\n" for name, reason in rows)
