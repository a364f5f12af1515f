"""After the run: the view, the table of cells, the footer, JSON, JUnit and the exit code's share."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK, EXIT_VERDICT, HostError, InputError, KtstrError
from ktstr.results import summary as render
from ktstr.tasks.session import Outcome, Session

if TYPE_CHECKING:
    from ktstr.tasks.plan import CellPlan

FAILED = ("fail", "inconclusive", "error")


def reproduce(cell: CellPlan) -> str:
    """One copyable command that runs this cell and no other."""
    pins = (
        f"test={cell.key.test}",
        f"preset={cell.key.preset}",
        f"kernel={cell.key.kernel}",
        f"scheduler={cell.key.scheduler}",
        f"accel={cell.accel}",
        f"seed={cell.key.seed}",
    )
    return "doit test " + " ".join(shlex.quote(pin) for pin in (*pins, "rerun=1"))


def _cause(session: Session, cell: CellPlan) -> KtstrError | None:
    """The failure that kept a cell from running, through everything it needs."""
    assert session.plan is not None
    for need in session.plan.closure(cell.needs):
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
    assert session.plan is not None
    ran = [session.outcomes.get(cell.name) or _missing(session, cell) for cell in session.plan.cells]
    return [*ran, *session.plan.skips]


def _remember(session: Session, outcomes: list[Outcome]) -> None:
    """Last verdicts by name, for ``failed=1``. Losing the file costs only that."""
    path = session.project.state / "last.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        last = {str(k): str(v) for k, v in known.items()} if isinstance(known, dict) else {}
    except (OSError, ValueError):
        last = {}
    last |= {o.name: o.verdict for o in outcomes if o.verdict != "not run"}
    temp = path.with_name(f"last.json.tmp.{os.getpid()}")
    temp.write_text(json.dumps(last, indent=1, sort_keys=True), encoding="utf-8")
    temp.replace(path)


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
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_name(f".{path.name}.tmp.{os.getpid()}")
        temp.write_text(render.junit(cells), encoding="utf-8")
        temp.replace(path)
    except OSError as err:
        raise HostError(f"junit={target}: {err.strerror}", fix="name a path that can be written") from None


def finish_test(session: Session) -> str:
    """Publish the view, remember the verdicts and give the report's text."""
    from ktstr.tasks.publish import publish

    outcomes = publish(session, _outcomes(session))
    _remember(session, outcomes)
    session.exit_codes += [_code(session, outcome) for outcome in outcomes]
    loud = _all_skipped(session, outcomes)
    cells = _cells(session, outcomes)
    _write_junit(session, cells)
    if session.flag("json"):
        return render.to_json(cells, interrupted=bool(session.signal))
    return render.table(cells, verbose=session.flag("verbose"), interrupted=bool(session.signal)) + loud


def dry_run(session: Session) -> str:
    """Each cell and why it would run, or that it is up to date."""
    from ktstr.tasks.cell import why

    assert session.plan is not None
    if not session.plan.cells:
        raise InputError("nothing was selected", fix="doit test dry_run=1 without a selection shows every cell")
    lines = [f"{cell.name}  {why(session, cell)}" for cell in session.plan.cells]
    lines += [f"{skip.name}  skip: {'; '.join(skip.reasons)}" for skip in session.plan.skips]
    return "\n".join(lines) + "\n"
