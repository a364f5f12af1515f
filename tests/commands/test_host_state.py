"""``show_host``, ``host_state_*`` and ``funify``."""

from __future__ import annotations

import io
import json
import platform
import sys
from pathlib import Path

import pytest

from ktstr.errors import EXIT_ENVIRONMENT, EXIT_INPUT, HostError, InputError
from tests.commands.invocations import run_report
from tests.commands.projects import command_project


def test_this_host_is_shown(tmp_path: Path) -> None:
    assert f"\nkernel_release: {platform.release()}\n" in run_report(tmp_path, "show_host").text


def test_snapshots_are_made_and_compared_as_a_user_does(tmp_path: Path) -> None:
    project = command_project(tmp_path)
    for name in ("a", "b"):
        done = project.doit("host_state_capture", f"output={name}.hst.zst")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{tmp_path / name}.hst.zst: ")
    for group_by in ("pcomm", "cgroup", "comm"):
        report = run_report(tmp_path, f"host_state_compare a=a.hst.zst b=b.hst.zst group_by={group_by}")
        assert report.code == 0
        header = "group threads metric baseline candidate delta %"
        assert " ".join(report.text.splitlines()[0].split()) == header


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put text on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("host_state_capture", "output=: found none, expected a file"),
        ("host_state_compare a=x", "x: cannot be read"),
        ("host_state_compare b=x", "a=: found none, expected a file"),
        ("host_state_compare a=x b=x group_by=tid", "group_by=: found 'tid', expected pcomm, cgroup or comm"),
        ("host_state_compare a=x b=x cgroup_flatten=/x", "cgroup_flatten=: found group_by=pcomm"),
        ("funify input=none", "none: cannot be read"),
        ("funify", "standard input:1:1: is no JSON"),
    ],
)
def test_wrong_input_is_the_users_error(tmp_path: Path, words: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, "")
    with pytest.raises(InputError) as caught:
        run_report(tmp_path, words)
    assert why in str(caught.value)
    assert caught.value.exit_code == EXIT_INPUT


def test_a_place_that_cannot_be_written_is_the_environments(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written") as caught:
        run_report(tmp_path, "host_state_capture output=file/x")
    assert caught.value.exit_code == EXIT_ENVIRONMENT


def test_a_document_is_the_same_from_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.dumps({"comm": "bash", "run_ns": 5, "list": ["a", 1.5]})
    (tmp_path / "x.json").write_text(document)
    feed(monkeypatch, document)
    named, piped = (
        run_report(tmp_path, words).text for words in ("funify input=x.json seed=s", "funify seed=s pretty=1")
    )
    found = json.loads(named)
    assert json.loads(piped) == found
    assert (found["run_ns"], found["list"][1]) == (5, 1.5)
    assert "bash" not in named
    assert (named.count("\n"), piped.count("\n")) == (1, 8)
    assert run_report(tmp_path, "funify input=x.json").text != named


def test_the_commands_change_nothing_of_the_project(tmp_path: Path) -> None:
    run_report(tmp_path, "show_host")
    run_report(tmp_path, "host_state_capture output=only")
    assert [path.name for path in tmp_path.iterdir()] == ["only"]
