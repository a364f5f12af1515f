"""``doit report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ktstr import resources
from ktstr.stats.perf.document import to_json
from tests.commands.projects import CommandProject, command_project
from tests.results.cells import sidecar
from tests.stats.perf.findings import FULL
from tests.stats.pools import put
from tests.stats.report.runs import failed, with_metrics


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    return command_project(tmp_path / "project")


def said(stdout: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stdout)
    jsonschema.validate(found, json.loads(resources.schema("report").read_text()))
    return found


def test_the_newest_run_with_results_is_reported_and_the_path_printed(project: CommandProject) -> None:
    put(project.runs, "7.1-abc/a", failed("Unfair", "worker 3 starved"))
    (project.runs / "7.2-empty").mkdir()
    done = project.doit("report")
    assert (done.returncode, done.stdout, done.stderr) == (0, "target/ktstr/report.html\n", "")
    page = (project.runs / "report.html").read_text(encoding="utf-8")
    assert "<h1>7.1-abc</h1>" in page and "worker 3 starved" in page


def test_a_named_run_of_an_archive_goes_where_the_user_says(project: CommandProject, tmp_path: Path) -> None:
    put(tmp_path, "archive/old/a")
    put(tmp_path, "archive/new/a")
    done = project.doit("report", "dir=../archive", "run=old", "output=out/page.html", "json=1")
    assert (done.returncode, done.stderr) == (0, "")
    written = project.path / "out/page.html"
    assert said(done.stdout) == {"path": "out/page.html", "bytes": written.stat().st_size, "cells": 1}
    assert "<h1>old</h1>" in written.read_text(encoding="utf-8")


def test_without_results_there_is_a_note_and_no_file(project: CommandProject) -> None:
    done = project.doit("report", "json=1")
    assert done.returncode == 0 and "no results in" in done.stderr and "doit test" in done.stderr
    assert said(done.stdout) == {"path": None, "bytes": 0, "cells": 0}
    assert not (project.runs / "report.html").exists()


@pytest.mark.parametrize("name", ["../project", "/etc", "nope"])
def test_a_run_that_is_none_is_refused(project: CommandProject, name: str) -> None:
    put(project.runs, "7.1-abc/a")
    done = project.doit("report", f"run={name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"run={name}" in done.stderr


def test_a_place_that_cannot_be_written_keeps_what_was_there(project: CommandProject) -> None:
    put(project.runs, "7.1-abc/a")
    (project.path / "page.html").mkdir()
    done = project.doit("report", "output=page.html")
    assert (done.returncode, done.stdout) == (3, "")
    assert "page.html" in done.stderr and (project.path / "page.html").is_dir()


def test_two_sides_are_compared(project: CommandProject) -> None:
    for scheduler, rate in (("old", 1000.0), ("new", 5000.0)):
        for seed in range(6):
            whole = sidecar(scheduler=scheduler, seed=seed)
            put(project.runs, f"r/{scheduler}-{seed}", with_metrics(whole, worst_p99_wake_latency_us=rate + seed))
    put(project.runs, "r/bad", failed("Unfair", "x", scheduler="new", test_name="other"))
    put(project.runs, "r/good", sidecar(scheduler="old", test_name="other"))
    put(project.runs, "r/none", b"{")
    done = project.doit("report", "a_scheduler=old", "b_scheduler=new", "json=1")
    assert (done.returncode, done.stderr) == (0, "")
    assert said(done.stdout)["cells"] == 14
    page = (project.runs / "report.html").read_text(encoding="utf-8")
    assert 'new <span class="muted">against</span> old' in page
    changes = page[page.index('id="changes-table"') : page.index('id="distributions"')]
    assert "regressed" in changes and "worst_p99_wake_latency_us" in changes
    assert "+399 %" in changes  # from a median of 1002.5 by 4000
    assert "1 file named as sidecars could not be read; the first: " in page
    assert "new: 1 failed" in page[page.index('id="left-out"') :]


def test_a_comparison_of_nothing_is_refused_as_stats_compare_does(project: CommandProject) -> None:
    put(project.runs, "r/a")
    same = project.doit("report", "scheduler=eevdf")
    assert same.returncode == 2 and "identical runs" in same.stderr
    both = project.doit("report", "run=r", "a_scheduler=eevdf")
    assert both.returncode == 2 and "run= and variables of a comparison" in both.stderr
    assert not (project.runs / "report.html").exists()


def test_commits_make_a_history(project: CommandProject) -> None:
    for at, commit in enumerate(("aaaaaaa", "bbbbbbb", "ccccccc")):
        whole = sidecar(kernel_label="k", project_commit=commit, timestamp=f"2026-01-0{at + 1}T00:00:00Z")
        put(project.runs, f"k-{commit}/a", with_metrics(whole, iteration_rate=100.0 + at))
    assert project.doit("report", "run=k-ccccccc").returncode == 0
    page = (project.runs / "report.html").read_text(encoding="utf-8")
    history = page[page.index('id="history"') : page.index('id="cells"')]
    assert "iteration_rate" in history
    table = history[history.index("<tbody>") :]
    assert table.index("aaaaaaa") < table.index("bbbbbbb") < table.index("ccccccc")


def test_a_result_of_perf_delta_is_shown(project: CommandProject) -> None:
    (project.path / "delta.json").write_text(to_json(FULL), encoding="utf-8")
    done = project.doit("report", "result=delta.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "target/ktstr/report.html\n", "")
    page = (project.runs / "report.html").read_text(encoding="utf-8")
    assert 'abcdef0-dirty <span class="muted">against</span> 1234567' in page
    (project.path / "delta.json").write_text("{}", encoding="utf-8")
    bad = project.doit("report", "result=delta.json")
    assert bad.returncode == 2 and "delta.json: result.baseline: missing field" in bad.stderr
    assert (project.runs / "report.html").read_text(encoding="utf-8") == page
