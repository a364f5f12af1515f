"""``doit stats_compare`` on run directories: its exit codes, what goes to which stream, and what it refuses."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pygit2
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Invocation, Report
from ktstr.commands.declare.variables import read_options
from ktstr.commands.stats_compare import COMMAND, Options, run
from ktstr.config.project import Project
from ktstr.errors import InputError
from ktstr.progress import Progress
from ktstr.results.ledger import Ledger
from ktstr.results.sidecar import dump
from ktstr.results.view import Epoch
from tests.results.cells import sidecar

BASE = sidecar(passed=True, skipped=False, inconclusive=False, kernel_version="6.1", project_commit="abc1234")
SCHEMA = Draft202012Validator(json.loads(resources.schema("stats_compare").read_text()))


def put(root: Path, name: str, *, spread: float = 10.0, **changes: Any) -> None:
    """A run directory with one sidecar; ``spread`` is its worst_spread in percent."""
    whole = replace(BASE, stats=replace(BASE.stats, worst_spread=spread), **changes)
    target = root / name / "t-0000000000000000.ktstr.json"
    target.parent.mkdir(parents=True)
    target.write_bytes(dump(whole))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two kernels, of which the second is the worse."""
    runs = tmp_path / "target/ktstr"
    put(runs, "6.1-abc1234")
    put(runs, "6.2-abc1234", spread=30.0, kernel_version="6.2")
    return Project(tmp_path, tmp_path, runs)


def ask(project: Project, *words: str, **environ: str) -> Report:
    given = {name: [value] for name, _, value in (word.partition("=") for word in words)}
    invocation = Invocation(
        project, environ, ("stats_compare",), Progress(StringIO(), environ), Cancel(), Ledger(), Epoch("e", 0)
    )
    return run(invocation, read_options(Options, given, environ))


def test_a_regression_exits_1_and_its_absence_0(project: Project) -> None:
    report = ask(project, "a_kernel=6.1", "b_kernel=6.2")
    assert report.code == 1
    assert "REGRESSION" in report.text
    backwards = ask(project, "a_kernel=6.2", "b_kernel=6.1")
    assert backwards.code == 0
    assert "summary: 0 regressions, 1 improvements" in backwards.text


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert ("\x1b[31mREGRESSION" in ask(project, "a_kernel=6.1", "b_kernel=6.2", **environ).text) is coloured
    assert "\x1b" not in ask(project, "a_kernel=6.1", "b_kernel=6.2", "json=1", **environ).text


def test_json_is_one_document_of_its_schema(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    report = ask(project, "a_kernel=6.1", "b_kernel=6.2", "json=1")
    whole = json.loads(report.text)
    SCHEMA.validate(whole)
    assert [(one["metric"], one["kind"]) for one in whole["findings"]] == [("worst_spread", "regression")]
    assert report.code == 1
    assert capsys.readouterr().out == ""


def test_a_sides_own_filter_replaces_the_shared_one(project: Project) -> None:
    assert "(6.1) and 1 runs (6.2)" in ask(project, "kernel=6.1", "b_kernel=6.2").text


def test_limits_come_from_threshold_or_a_policy_and_never_both(project: Project) -> None:
    sides = ("a_kernel=6.1", "b_kernel=6.2")
    assert ask(project, *sides, "threshold=201").code == 0
    assert ask(project, *sides, "threshold=200%").code == 1
    (project.root / "p.json").write_text('{"per_metric_percent": {"worst_spread": 201}}')
    assert ask(project, *sides, "policy=p.json").code == 0
    with pytest.raises(InputError, match="threshold= and policy=: found both"):
        ask(project, *sides, "threshold=1", "policy=p.json")
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        ask(project, *sides, "policy=none.json")


@pytest.mark.parametrize("text", ["-1", "x", "nan", "inf", "1e3", "", "5%%"])
def test_a_threshold_is_a_percentage(project: Project, text: str) -> None:
    with pytest.raises(InputError, match="threshold="):
        ask(project, "a_kernel=6.1", "b_kernel=6.2", f"threshold={text}")


def test_a_threshold_silences_the_environments_policy(project: Project) -> None:
    ask(project, "a_kernel=6.1", "b_kernel=6.2", "threshold=1", KTSTR_POLICY="none.json")


def test_what_the_environment_says_of_runs_is_no_filter(project: Project) -> None:
    environ = {"KTSTR_KERNEL": "7.7", "KTSTR_PROJECT_COMMIT": "fff", "KTSTR_SCHEDULER": "x", "KTSTR_A_KERNEL": "1.1"}
    assert ask(project, "a_kernel=6.1", "b_kernel=6.2", **environ).code == 1


def test_the_same_sides_and_sides_without_runs_are_the_users_error(project: Project) -> None:
    for words, says in (
        ((), "identical runs"),
        (("a_kernel=6.1", "b_kernel=6.1"), "identical runs"),
        (("a_kernel=5.9",), "A side filter matched 0 sidecars in pool \\(2 pooled\\)"),
        (("a_kernel=6.1", "b_kernel=6.2", "filter=zzz"), "filter=zzz"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            ask(project, *words)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("folder", ["none", "empty"])
def test_no_data_is_an_error_that_names_the_folder(project: Project, folder: str) -> None:
    (project.root / "empty").mkdir()
    with pytest.raises(InputError, match=f"no sidecar data under {project.root / folder}"):
        ask(project, "a_kernel=6.1", "b_kernel=6.2", f"dir={folder}")


def test_a_folder_that_is_a_file_is_said_and_has_no_data(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "file").write_text("")
    with pytest.raises(InputError, match="no sidecar data under"):
        ask(project, "a_kernel=6.1", "b_kernel=6.2", "dir=file")
    assert capsys.readouterr().err.startswith("skipped 1 unreadable file(s) under ")


def test_a_folder_is_an_archive_whose_runs_say_so(project: Project) -> None:
    put(project.root / "old", "r1", spread=50.0)
    put(project.root / "old", "r2", kernel_version="6.2", run_source="ci")
    report = ask(project, "a_kernel=6.1", "b_kernel=6.2", "dir=old", "json=1")
    whole = json.loads(report.text)
    assert report.code == 0
    assert whole["groups"][0]["key"]["components"]["run_source"] == "archive"
    assert ask(project, "a_kernel=6.1", "b_kernel=6.2", "dir=old", "run_source=archive").code == 0
    with pytest.raises(InputError, match="run_source=ci is not in the pool, which has: archive"):
        ask(project, "a_run_source=ci", "dir=old")


def test_files_that_are_no_sidecars_are_counted_and_stop_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bad", "wo\x1brse"):
        (project.runs_root / "6.1-abc1234" / f"{name}.ktstr.json").write_text('{"test_name": 5')
    assert ask(project, "a_kernel=6.1", "b_kernel=6.2").code == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"skipped 2 stale sidecar(s) under {project.runs_root} ")
    assert (said.out, said.err.count("\n"), "\x1b" in said.err) == ("", 1, False)


def test_several_runs_of_a_key_are_refused_when_asked(project: Project) -> None:
    put(project.runs_root, "6.1-again", seed=8)
    assert ask(project, "a_kernel=6.1", "b_kernel=6.2").code == 1
    with pytest.raises(InputError, match="1 pairing key"):
        ask(project, "a_kernel=6.1", "b_kernel=6.2", "no_average=1")


def test_warnings_go_to_standard_error_in_their_order(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    put(project.runs_root, "6.2-dirty", kernel_version="6.2", scheduler="other", project_commit="abc1234-dirty")
    ask(project, "a_kernel=6.1", "b_kernel=6.2", "b_scheduler=other", "a_project_commit=nonsense,abc1234")
    heads = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert heads[0].startswith("warning: a_project_commit=nonsense: found no such commit")
    assert heads[1].startswith("warning: slicing on 3 dimensions [kernel, scheduler, project_commit]")
    assert heads[2] == "warning: comparison includes dirty builds:"
    assert len(heads) == 3


def test_commits_are_named_as_git_names_them(project: Project) -> None:
    repository = pygit2.init_repository(str(project.root), initial_head="main")
    me = pygit2.Signature("A", "a@example.org", 0, 0)
    made: list[str] = []
    for message in ("1", "2"):
        parents = [pygit2.Oid(hex=one) for one in made[-1:]]
        tree = repository.index.write_tree()
        made.append(str(repository.create_commit("HEAD", me, me, message, tree, parents)))
    put(project.runs_root, "old", project_commit=made[0][:7], kernel_version="6.9")
    put(project.runs_root, "new", project_commit=made[1][:7], kernel_version="6.9", spread=40.0)
    report = ask(project, "a_project_commit=HEAD~1", "b_project_commit=main")
    assert f"1 runs ({made[0][:7]}) and 1 runs ({made[1][:7]})" in report.text
    assert report.code == 1


def test_it_is_a_report_of_results() -> None:
    assert (COMMAND.name, COMMAND.group) == ("stats_compare", "Results")
