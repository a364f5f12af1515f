"""``doit report``: a run, or a comparison of two sides, as one HTML file that needs nothing else."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.commands.stats_compare import A, B, Both, filters_of
from ktstr.errors import InputError
from ktstr.options import FLAG, PATH, TEXT, variable

if TYPE_CHECKING:
    from ktstr.stats.report.cells import RunCells
    from ktstr.stats.report.history import History

FILE = "report.html"  # in the folder of run directories, unless output= says otherwise


@dataclass(frozen=True)
class Options:
    """What is reported, and where to. With a variable of a side it is the comparison that ``stats_compare`` makes, with
    ``result`` what ``perf_delta`` found."""

    both: Both = Both()
    a: A = A()
    b: B = B()
    run: str | None = variable(TEXT, "the run directory's name; default: the newest", None)
    result: str | None = variable(PATH, "a file that perf_delta json=1 was written to", None, environment=False)
    dir: str | None = variable(PATH, "a folder of run directories; default: the project's own", None)
    output: str | None = variable(PATH, f"the file to write; default: target/ktstr/{FILE}", None)
    json: bool = variable(FLAG, "print one JSON object instead of the file's path", False)


@dataclass(frozen=True)
class Made:
    """A page, and how many results it is about."""

    html: str
    cells: int


def run(invocation: Invocation, options: Options) -> Report:
    """Write the page and print its path."""
    from ktstr.files import write_atomic
    from ktstr.stats.needs import need_reports

    need_reports()
    project = invocation.project
    root = project.runs(options.dir)
    made = _made(invocation, options, root)
    if made is None:
        sys.stderr.write(f"report: no results in {root}: doit test makes some\n")
        return _said(options, None, 0, 0)
    target = project.runs_root / FILE if options.output is None else project.stand / Path(options.output).expanduser()
    data = made.html.encode()
    write_atomic(target, data)
    shown = options.output or os.path.relpath(target, project.stand)
    return _said(options, shown, len(data), made.cells)


def _made(invocation: Invocation, options: Options, root: Path) -> Made | None:
    """The page that the variables ask for. Raises InputError when they ask for two."""
    compared = (options.both, options.a, options.b) != (Both(), A(), B())
    asked = {"run=": options.run, "result=": options.result, "variables of a comparison": compared or None}
    kinds = [kind for kind, value in asked.items() if value is not None]
    if len(kinds) > 1:
        raise InputError(f"report: found {' and '.join(kinds)}, expected one of them", fix=f"leave out {kinds[-1]}")
    if options.result is not None:
        return _delta(invocation.project.stand / Path(options.result).expanduser())
    return _comparison(invocation, options, root) if compared else _run_page(invocation, root, options.run)


def _delta(path: Path) -> Made:
    """The page of a result of ``perf_delta``."""
    from ktstr.stats.report.comparison import comparison_page
    from ktstr.stats.report.delta import read_delta

    report = read_delta(path)
    return Made(comparison_page(report), report.a_runs + report.b_runs)


def _said(options: Options, path: str | None, size: int, cells: int) -> Report:
    if options.json:
        return Report(json.dumps({"path": path, "bytes": size, "cells": cells}, indent=2, ensure_ascii=False) + "\n")
    return Report("" if path is None else f"{path}\n")


def _run_page(invocation: Invocation, root: Path, name: str | None) -> Made | None:
    """The page of a run; None when there is none."""
    from ktstr.results.store import CellStore
    from ktstr.stats.named_run import find_run
    from ktstr.stats.report.cells import read_run
    from ktstr.stats.report.run import Surroundings, run_page
    from ktstr.stats.runs import run_folders, sidecars_of

    having = (folder for folder in run_folders(root) if any(True for _ in sidecars_of(folder)))
    folder = find_run(root, name) if name is not None else next(having, None)
    if folder is None:
        return None
    found = read_run(folder)
    around = Surroundings(
        store=CellStore(invocation.project.cells),
        base=invocation.project.stand,
        called_as=invocation.environ.get("KTSTR_CALLED_AS") or "doit",
        history=_history(invocation, root, found),
    )
    return Made(run_page(found, around), len(found.cells))


def _comparison(invocation: Invocation, options: Options, root: Path) -> Made:
    """The page of two sides of the pool. Raises InputError as ``stats_compare`` does."""
    from ktstr.stats.compare import engine
    from ktstr.stats.pool import load_pool
    from ktstr.stats.report.comparison import comparison_page
    from ktstr.stats.report.contrast import Sides, report_of

    shared = filters_of(invocation, options.both, "")
    own = (filters_of(invocation, options.a, "a_"), filters_of(invocation, options.b, "b_"))
    sides = Sides(*(filters.over(shared) for filters in own))
    pool = load_pool(root, archive=options.dir is not None)
    found = engine.compare(pool, sides.a, sides.b, engine.Options(place=str(root)))
    return Made(comparison_page(report_of(pool, sides, found)), found.a_runs + found.b_runs)


def _history(invocation: Invocation, root: Path, found: RunCells) -> History:
    """The metrics of the run's scenarios over all commits that there are results of."""
    from ktstr.stats.pool import load_pool
    from ktstr.stats.report.history import history
    from ktstr.stats.report.observations import change_indexes, commit_order, observations

    values = observations(load_pool(root), {cell.group for cell in found.cells})
    return history(values, commit_order(invocation.project.root), change_indexes)


COMMAND = Command("report", "Results", "a run, or a comparison, as one HTML file", Options, run)
