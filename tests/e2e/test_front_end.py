"""What the front end makes of words, variables and the project's own tasks. No machine is booted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import DODO, UserProject

pytestmark = pytest.mark.e2e

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  gone: {path: nowhere/scx_gone}
  scx_ktstr: {source: scx_ktstr}
tests:
  pair: {duration: 100ms, cgroups: [{name: one, workers: 1}]}
presets: {one: 1n1l1c1t}
matrices:
  all: {tests: pair, presets: one, schedulers: [gone]}
"""
OWN_TASK = """
def task_mine():
    "what this project does after its tests"
    return {"actions": ["touch mine"], "task_dep": ["test"]}
"""
LATER_TASK = """
from doit import create_after

@create_after(executed="test")
def task_later():
    "made of what the tests left"
    return {"actions": [open("left").read()]}
"""
STANDING_TASK = """
import os
import pty
import signal
from doit import get_initial_workdir

def task_stood():
    "where the user stood, and where the tasks stand"
    return {"actions": [f"printf '%%s %%s' {get_initial_workdir()} {os.getcwd()} > stood"]}
"""
OWN_COMMAND = """
from dataclasses import dataclass
from ktstr.commands.declare.command import Command, Report
from ktstr.options import FLAG, variable

@dataclass(frozen=True)
class Options:
    loud: bool = variable(FLAG, "in capitals", False)

def run(invocation, options):
    return Report("HELLO\\n" if options.loud else "hello\\n", 1)

GREET = Command("greet", "Project", "says hello", Options, run)
"""


@pytest.fixture
def without_clang(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with everything of this one but clang."""
    folder = tmp_path_factory.mktemp("bin")
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*") if Path(place).is_dir() else ():
            if not program.name.startswith("clang"):
                link = folder / program.name
                link.unlink(missing_ok=True)
                link.symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("task", ["scheduler", "image", "source scheduler", "source image", "scheduler:scx_ktstr"])
def test_a_scheduler_that_cannot_be_had_is_said_by_the_tasks_that_make_it(
    project: UserProject, without_clang: str, task: str
) -> None:
    project.write(YAML)
    done = project.doit(*task.split(), "scheduler=scx_ktstr", "offline=1", PATH=without_clang)
    assert done.returncode == 3
    assert "clang is not installed" in done.stderr
    assert "fix: apt-get install --no-install-recommends clang-19" in done.stderr


def test_what_is_wrong_with_one_scheduler_is_an_error_of_its_own_cells(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("test", "scheduler=gone,eevdf", "dry_run=1", "offline=1")
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0]: line.split("  ")[1] for line in done.stdout.splitlines() if line.startswith("pair/")}
    assert lines["pair/one/default/eevdf/icount-s0"].startswith("run: ")
    assert lines["pair/one/default/gone/icount-s0"].startswith("error: ktstr.yaml:4:9")
    assert "nowhere/scx_gone: found no such file" in done.stdout


@pytest.mark.parametrize(
    "needs", ['"task_dep": ["test"]', '"task_dep": ["cell:*"]', '"task_dep": ["c*"]', '"setup": ["test"]']
)
def test_a_task_of_the_projects_own_that_needs_test_has_its_cells_run_and_judged(
    project: UserProject, without_clang: str, needs: str
) -> None:
    project.write(YAML)
    (project.path / "dodo.py").write_text(DODO + OWN_TASK.replace('"task_dep": ["test"]', needs), encoding="utf-8")
    done = project.doit("mine", "scheduler=gone,scx_ktstr", "offline=1", PATH=without_clang)
    assert done.returncode == 2, done.stderr
    assert "2 cells: 2 in error (0 ran, 0 up to date)" in done.stdout


def test_a_task_that_is_made_after_test_is_not_made_before(project: UserProject, without_clang: str) -> None:
    project.write(YAML)
    (project.path / "dodo.py").write_text(DODO + LATER_TASK, encoding="utf-8")
    done = project.doit("later", "scheduler=gone,scx_ktstr", "offline=1", PATH=without_clang)
    assert done.returncode == 2, done.stderr
    assert "2 cells: 2 in error (0 ran, 0 up to date)" in done.stdout
    done = project.doit("test", "scheduler=gone", "dry_run=1", "offline=1")
    assert "no such file" in done.stderr + done.stdout


def test_a_task_of_the_projects_own_stands_in_the_project_and_knows_where_the_user_stood(project: UserProject) -> None:
    project.write(YAML)
    (project.path / "dodo.py").write_text(DODO + STANDING_TASK, encoding="utf-8")
    below = project.path / "below"
    below.mkdir()
    subprocess.run(project.command("stood"), cwd=below, env=project.environment(), check=True, timeout=60)
    assert (project.path / "stood").read_text(encoding="utf-8").split() == [str(below), str(project.path)]


def test_a_command_of_the_projects_own_is_listed_helped_and_run_with_its_variables(project: UserProject) -> None:
    project.write(YAML)
    (project.path / "dodo.py").write_text(DODO + OWN_COMMAND, encoding="utf-8")
    assert "  greet                 says hello" in project.doit("list").stdout
    assert "loud=               flag: in capitals [default 0] (KTSTR_LOUD)" in project.doit("help", "greet").stdout
    done = project.doit("greet", "loud=1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "HELLO\n", "")
    assert project.doit("greet", "laud=1").returncode == 2


def test_a_kernel_in_the_environment_does_not_forbid_naming_another_way(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit(
        "kernel_build", "version=6.14", "offline=1", KTSTR_KERNEL="6.12", KTSTR_KERNEL_ORG="http://127.0.0.1:1"
    )
    assert done.returncode == 3
    assert "offline=1" in done.stderr


def test_the_lab_takes_the_update_that_its_own_errors_advise(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("lab", "command=true", "lock_update=lab", "offline=1")
    assert done.returncode == 3
    assert "offline=1: the package lists of" in done.stderr
    done = project.doit("lab", "command=true", "lock_update=lba", "offline=1")
    assert done.returncode == 2
    assert "nearest match 'lab'" in done.stderr


def test_kernel_build_stands_alone(project: UserProject) -> None:
    project.write(YAML)
    done = project.doit("kernel_build", "test", "offline=1")
    assert (done.returncode, "expected it alone" in done.stderr) == (2, True)


def test_an_interrupt_at_the_question_removes_nothing(project: UserProject, tmp_path: Path) -> None:
    """The answer that is typed afterwards is nobody's."""
    project.write(YAML)
    damaged = tmp_path / "cache/kernels/damaged"
    damaged.mkdir(parents=True)
    ours, theirs = pty.openpty()
    command = project.command("kernel_clean")
    environ = project.environment(KTSTR_CACHE_DIR=str(tmp_path / "cache"))
    with subprocess.Popen(
        command, cwd=project.path, env=environ, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stderr is not None
        asked = b""
        while b"[y/N]" not in asked:
            piece = os.read(running.stderr.fileno(), 4096)
            assert piece, asked
            asked += piece
        running.send_signal(signal.SIGINT)
        time.sleep(0.5)
        os.write(ours, b"y\n")
        assert running.wait(60) == 130
    assert damaged.is_dir()
    os.close(ours)
    os.close(theirs)
