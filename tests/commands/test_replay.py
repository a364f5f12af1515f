"""``doit replay`` where nothing is run: nothing failed, what failed is there no more, or nobody can know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktstr.results.last import FILE, Failure, remember
from tests.commands.projects import CommandProject, command_project
from tests.results.cells import sidecar
from tests.results.failed import failed_cell
from tests.stats.pools import put


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    return command_project(tmp_path)


def fails(project: CommandProject, **changes: object) -> None:
    """A cell of this project that did not pass."""
    cell = failed_cell(**changes)
    (project.runs / ".state").mkdir(parents=True, exist_ok=True)
    remember(project.runs / ".state", (), [Failure(cell.name, "fail", None, True, lambda: cell)])


def test_nothing_failed_is_said_loudly_and_exits_0(project: CommandProject) -> None:
    done = project.doit("replay")
    assert done.returncode == 0, done.stderr
    assert "NOTHING FAILED last time: nothing was run" in done.stdout
    whole = json.loads(project.doit("replay", "json=1").stdout)
    assert (whole["cells"], whole["notes"]) == ([], ["NOTHING FAILED last time: nothing was run"])


def test_cells_that_are_there_no_more_are_named_and_select_nothing(project: CommandProject) -> None:
    fails(project, test="gone")
    done = project.doit("replay", "junit=out.xml")
    assert done.returncode == 2
    assert "DROPPED               -  gone/p/default/mine/icount-s3" in done.stdout
    assert "the test gone is no longer declared" in done.stdout
    assert "NOTHING WAS RUN" in done.stdout
    assert (
        '<skipped message="dropped: the test gone is no longer declared" />' in (project.path / "out.xml").read_text()
    )
    assert project.doit("replay").stdout == done.stdout, "it is dropped until it is there again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("test=other",), "leaves none of 1 cells that did not pass"),
        (("run=nowhere",), "run=nowhere: found no run directory"),
        (("dir=nowhere",), "dir=nowhere: found no folder"),
        (("times=0",), "times=: found '0', expected a whole number of at least 1"),
    ],
)
def test_what_is_asked_for_wrongly_exits_2(project: CommandProject, words: tuple[str, ...], said: str) -> None:
    fails(project)
    done = project.doit("replay", *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_memory_is_an_error_and_no_good_news(project: CommandProject) -> None:
    (project.runs / ".state").mkdir(parents=True)
    (project.runs / ".state" / FILE).write_text("{")
    done = project.doit("replay")
    assert (done.returncode, done.stdout) == (2, "")
    assert FILE in done.stderr


def test_the_failures_of_a_run_are_taken_from_its_sidecars(project: CommandProject) -> None:
    put(project.runs, "7.2-abc/icount-s7/a", sidecar(passed=False, kernel_label="default"))
    put(project.runs, "7.2-abc/icount-s8/a", sidecar(seed=8, kernel_label="default"))
    done = project.doit("replay", "run=7.2-abc")
    assert done.returncode == 2
    assert "DROPPED               -  steady/tiny/default/scx_ktstr/icount-s7" in done.stdout
    assert "icount-s8" not in done.stdout
    put(project.runs, "7.2-abc/icount-s7/a", sidecar(kernel_label="default"))
    done = project.doit("replay", "dir=target/ktstr")
    assert (done.returncode, "NOTHING FAILED in that run" in done.stdout) == (0, True), done.stderr
