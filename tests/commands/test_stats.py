"""``doit stats``, and what shows and explains one run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ktstr import resources
from ktstr.errors import EXIT_INPUT, InputError
from ktstr.record.host import Host
from tests.commands.invocations import run_report
from tests.commands.projects import command_project
from tests.results.cells import sidecar
from tests.stats.pools import put


def parsed(text: str, name: str) -> Any:
    found = json.loads(text)
    jsonschema.validate(found, json.loads(resources.schema(name).read_text()))
    return found


def fill(project: Path) -> Path:
    """Two runs of 7.1, then one of 7.1.3."""
    runs = project / "target" / "ktstr"
    for mtime, run in enumerate(("7.1-aaa", "7.1-bbb", "7.1.3-ccc"), 100):
        put(runs, f"{run}/icount-s0/x", sidecar(test_name=f"of_{run[-3:]}"))
        os.utime(runs / run, (mtime, mtime))
    return runs


def test_as_a_user_runs_it(tmp_path: Path) -> None:
    project = command_project(tmp_path)
    done = project.doit("stats", "json=1")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"stats: no sidecar data found (skipped): searched {project.runs}\n"
    runs = fill(tmp_path)
    put(runs, "7.1.3-ccc/torn", b"{")
    done = project.doit("stats", "json=1")
    found = parsed(done.stdout, "stats")
    assert (found["run"], found["sidecars"], found["unreadable"]) == ("7.1.3-ccc", 1, 1)
    assert done.stderr.startswith("skipped 1 stale sidecar(s) under")


@pytest.mark.parametrize("words", ["stats", "stats json=1", "stats dir=none", "stats kernel=9.9"])
def test_without_data_there_is_a_note_and_nothing_else(
    tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "target" / "ktstr" / "empty").mkdir(parents=True)
    report = run_report(tmp_path, words)
    assert (report.text, report.code) == ("", 0)
    note = capsys.readouterr().err
    assert note.startswith("stats: no sidecar data found (skipped): searched ")
    assert note.endswith(" for a run of kernel 9.9\n") is (words == "stats kernel=9.9")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("stats", "of_ccc"),
        ("stats kernel=7.1", "of_bbb"),
        ("stats kernel=7.1.3", "of_ccc"),
        ("stats dir=target/ktstr/7.1-aaa kernel=7.1.3", "of_aaa"),
    ],
)
def test_the_newest_run_is_analysed_unless_another_is_named(tmp_path: Path, words: str, shown: str) -> None:
    fill(tmp_path)
    assert f"\n  {shown} " in run_report(tmp_path, words).text


def test_only_stats_itself_reads_the_environments_folder(tmp_path: Path) -> None:
    fill(tmp_path)
    put(tmp_path / "side", "r/x", sidecar(test_name="of_side"))
    environ = {"KTSTR_SIDECAR_DIR": str(tmp_path / "side" / "r")}
    assert "\n  of_side " in run_report(tmp_path, "stats kernel=7.1", environ).text
    assert "of_side" not in run_report(tmp_path, "stats_explain_sidecar run=7.1-aaa", environ).text
    for command in ("stats_show_host", "stats_explain_sidecar"):
        with pytest.raises(InputError, match="found no run directory of that name"):
            run_report(tmp_path, f"{command} run=r", {"KTSTR_SIDECAR_DIR": str(tmp_path / "side")})


def test_a_runs_host_is_shown_and_a_misspelt_run_gets_the_nearest(tmp_path: Path) -> None:
    put(tmp_path / "target" / "ktstr", "7.1-aaa/x", sidecar(host=Host(arch="x86_64")))
    text = run_report(tmp_path, "stats_show_host run=7.1-aaa").text
    assert text.splitlines()[:3] == ["kernel_name: (unknown)", "kernel_release: (unknown)", "arch: x86_64"]
    for command in ("stats_show_host", "stats_explain_sidecar"):
        with pytest.raises(InputError, match=r"Did you mean `7\.1-aaa`\?") as caught:
            run_report(tmp_path, f"{command} run=7.1-aab")
        assert caught.value.exit_code == EXIT_INPUT


@pytest.mark.parametrize("args", ["", " run=../..", " run=/etc", " run=."])
def test_a_run_is_named_within_the_folder_of_runs(tmp_path: Path, args: str) -> None:
    for command in ("stats_show_host", "stats_explain_sidecar"):
        with pytest.raises(InputError, match="expected the name of a run directory"):
            run_report(tmp_path, command + args)


def test_a_run_of_corrupt_files_is_explained_and_exits_0(tmp_path: Path) -> None:
    put(tmp_path / "old", "r/x", b"{")
    report = run_report(tmp_path, "stats_explain_sidecar run=r dir=old json=1")
    walk = parsed(report.text, "stats_explain_sidecar")["_walk"]
    assert (report.code, walk["walked"], walk["valid"], len(walk["errors"])) == (0, 1, 0, 1)
    text = run_report(tmp_path, "stats_explain_sidecar run=r dir=old").text
    assert text.startswith("walked 1 sidecar file(s), parsed 0 valid\n\ncorrupt sidecars (1):\n")
