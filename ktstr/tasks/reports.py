"""The cheap report tasks: each puts its text into the session, written once at the end."""

from __future__ import annotations

from ktstr.errors import InputError
from ktstr.tasks.session import Session


def stats_list(run: Session) -> None:
    """``doit stats_list``: run directories, newest first."""
    from ktstr.stats import runs

    rows = runs.list_runs(run.project.runs_root)
    run.report.append(runs.to_json(rows) if run.flag("json") else runs.to_text(rows))


def doctor(run: Session) -> None:
    """``doit doctor``: what this host can do, each line with its fix."""
    from ktstr.host import doctor as doc

    findings = doc.examine(run.project.root)
    run.report.append(doc.to_json(findings) if run.flag("json") else doc.to_text(findings))
    run.exit_codes.append(doc.exit_code(findings))


def show_thresholds(run: Session) -> None:
    """``doit show_thresholds test=NAME``: the merged thresholds, and where each came from."""
    from ktstr.checks import thresholds
    from ktstr.config.load import load
    from ktstr.config.suggest import nearest

    config = load(run.project.config)
    names = run.words_of("test")
    if len(names) != 1:
        raise InputError(f"test=: found {len(names)} names, expected one", fix="doit show_thresholds test=NAME")
    test = config.tests.get(names[0])
    if test is None:
        hint = nearest(names[0], tuple(config.tests))
        raise InputError(f"test={names[0]}: found no such test" + (f", nearest match {hint!r}" if hint else ""))
    scheduler = config.schedulers[(run.words_of("scheduler") or ("eevdf",))[0]]
    merged = thresholds.merge(scheduler.checks, test.checks)
    render = thresholds.to_json if run.flag("json") else thresholds.to_text
    run.report.append(render(test.name, scheduler.name, merged))
