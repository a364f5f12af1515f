"""Plain ``doit`` in the environment, ``./doit`` and the front end itself say the same, with the same codes.

Costs 4 boots of one vCPU: 15 s on two cores.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project
from tests.e2e.small import MARK, emulators, gone_within, tiny_yaml

pytestmark = pytest.mark.e2e

DOIT = Path(sys.executable).with_name("doit")  # the script of the environment that ktstr is installed in
WRAPPER = ROOT / "doit"


def _front_ends() -> dict[str, list[str]]:
    """The wrapper joins in where it has set itself up, as it has wherever ``./doit check`` runs these tests."""
    found = {"plain doit": [str(DOIT)]}
    return found | ({"./doit": [str(WRAPPER)]} if (ROOT / ".venv").is_dir() else {})


def _run(command: list[str], project: UserProject, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    # Without PYTHONPATH: it is the installed ktstr that answers.
    return subprocess.run(
        [*command, *args], cwd=folder, env=project.environment(PYTHONPATH=""), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    """A project with one cell, measured by plain doit from a sub-directory."""
    project = make_project(tmp_path_factory.mktemp("plain"), lock)
    project.write(tiny_yaml(1))
    below = project.path / "a/b"
    below.mkdir(parents=True)
    done = _run([str(DOIT)], project, below, "test", "json=1")
    assert done.returncode == 0, done.stderr
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["ran"]
    assert (below / cell["sidecar"]).is_file()
    return project


@pytest.fixture
def project(measured: UserProject, tmp_path: Path) -> UserProject:
    """A copy of it."""
    shutil.copytree(measured.path, tmp_path, dirs_exist_ok=True)
    return UserProject(tmp_path)


IMPOSSIBLE = tiny_yaml(1).replace("duration: 300ms", "duration: 300ms\n    checks: {max_gap_ms: 0}")


@pytest.mark.parametrize(
    ("yaml", "line", "code"),
    [
        ("", "", 0),
        ("", "test", 0),
        ("", "run test", 0),
        ("", "test json=1", 0),
        ("", "test dry_run=1 rerun=1", 0),
        ("", "list", 0),
        ("", "help", 0),
        ("", "help test", 0),
        ("", "stats_list", 0),
        ("", "show_thresholds test=pair", 0),
        (IMPOSSIBLE, "test", 1),
        ("", "test kernle=6.12", 2),
        ("", "test test=nosuch", 2),
        ("", "test kernel=/etc/passwd", 2),
        (tiny_yaml(1).replace("workers: 1", "wrokers: 1"), "test", 2),
        ("", "kernle=6.12", 2),
        ("", "tset", 2),
        ("", "test -n 4", 2),
        ("", "test -f dodo.py", 2),
        ("", "forget", 2),
        ("", "info test", 2),
        ("", "help tset", 2),
        ("", "test offline=1 kernel=deb:nosuch/cloud-amd64", 3),
        ("", "test junit=/proc/nowhere/x.xml", 3),
    ],
)
def test_every_front_end_says_the_same_with_the_same_code(
    project: UserProject, yaml: str, line: str, code: int
) -> None:
    if yaml:
        project.write(yaml)
    words = line.split()
    expected = project.doit(*words)
    assert expected.returncode == code, expected
    assert "Traceback" not in expected.stderr
    for name, command in _front_ends().items():
        done = _run(command, project, project.path, *words)
        said = done.stdout.replace(str(WRAPPER), "doit")  # the command that repeats a cell is the one that was typed
        assert (done.returncode, said, done.stderr) == (code, expected.stdout, expected.stderr), name


def test_a_sub_directory_works_and_paths_are_relative_to_it(project: UserProject) -> None:
    project.write(IMPOSSIBLE)
    below = project.path / "a/b"
    for name, command in _front_ends().items():
        done = _run(command, project, below, "test", "junit=out.xml")
        assert done.returncode == 1, name
        words = [line.split() for line in done.stdout.splitlines()]
        paths = [line[1] for line in words if line[:1] in (["sidecar"], ["file"])]
        assert paths
        assert all((below / path).is_file() for path in paths)
        assert (below / "out.xml").is_file()
        (below / "out.xml").unlink()
        command_line = next(line for line in words if line[:1] == ["reproduce"])[2:]  # after "reproduce doit"
        again = _run(command, project, below, *command_line, "dry_run=1")
        assert again.stdout.split()[:2] == ["pair/one/default/eevdf/icount-s1", "run:"], name


def test_an_environment_error_is_3(project: UserProject) -> None:
    done = _run([str(DOIT)], project, project.path, "test", "rerun=1", "timeout=100ms", "no_skip=1")
    assert done.returncode == 3
    assert "did not finish within its limit of host time" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_has_its_code_and_leaves_no_machine(
    project: UserProject, number: signal.Signals, code: int
) -> None:
    mark = uuid4().hex
    process = subprocess.Popen(
        [str(DOIT), "test", "rerun=1"], cwd=project.path, env=project.environment(PYTHONPATH="", **{MARK: mark}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not emulators(mark):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        assert gone_within(mark, 3.0) == {}
        stdout, stderr = process.communicate()
    finally:
        process.kill()
    assert process.returncode == code
    assert "1 cell: 1 not run" in stdout
    assert "INTERRUPTED" in stdout
    assert "Traceback" not in stderr


def test_elsewhere_doit_is_itself(tmp_path_factory: pytest.TempPathFactory, project: UserProject) -> None:
    """A folder that is no ktstr project keeps doit's own commands, options and codes."""
    other = tmp_path_factory.mktemp("other")
    (other / "dodo.py").write_text("def task_fails():\n    'its own'\n    return {'actions': ['false']}\n")
    listed = _run([str(DOIT)], project, other, "list")
    assert listed.returncode == 0
    assert listed.stdout.split() == ["fails", "its", "own"]
    assert _run([str(DOIT)], project, other, "-n", "2", "fails").returncode == 1
    assert _run([str(DOIT)], project, other, "forget", "fails").returncode == 0  # refused in a ktstr project
