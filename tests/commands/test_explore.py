from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.projects import CommandProject, command_project


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    return command_project(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "test=: found none, expected the test to explore"),
        (("test=t", "seed=1", "keep=0"), "keep=0: explore finds which"),
        (("test=t", "until=dawn"), "until=dawn: expected fail"),
        (("test=t", "minimise=-1"), "minimise=: found '-1', expected a whole number"),
        (("test=t", "metirc=worst_gap_ms"), "nearest match 'metric'"),
    ],
)
def test_what_is_asked_for_wrongly_exits_2(project: CommandProject, words: tuple[str, ...], said: str) -> None:
    done = project.doit("explore", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keep=3",), "keep=3: found no one seed, expected the one whose changes they are"),
        (("seeds=1,2", "keep=3"), "keep=3: found no one seed"),
        (("seed=1", "keep=x"), "keep=x: expected numbers of changes, such as 3 or 0..2,5, or none"),
        (("seed=1", "keep=none,3"), "keep=none,3: expected numbers of changes"),
    ],
)
def test_a_part_is_of_one_seed(project: CommandProject, words: tuple[str, ...], said: str) -> None:
    done = project.doit("test", "test=t", "kernel=deb:forky/cloud-amd64", "offline=1", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "Traceback" not in done.stderr
