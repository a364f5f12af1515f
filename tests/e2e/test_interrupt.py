"""Ctrl-C, SIGTERM, kill -9 and two at once. Costs about 26 boots of one vCPU: 60 s on two cores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import jsonschema
import pytest

from ktstr.host.cache import Cache
from ktstr.pins.lock import read_lock
from tests.e2e.conftest import ROOT, UserProject
from tests.e2e.small import MARK, emulators, gone_within, half_written, private_cache, processes, tiny_yaml
from tests.host.waits import held_elsewhere

pytestmark = pytest.mark.e2e
CELLS = 8


@dataclass(frozen=True)
class Run:
    """A ``doit test`` in the background, and the mark of all its processes."""

    process: subprocess.Popen[str]
    mark: str

    def until_running(self, done: int) -> None:
        """Read progress until ``done`` cells have ended and another one's emulator runs."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith(f"[{done}/"):
                break
        deadline = time.monotonic() + 60
        while not emulators(self.mark):
            assert time.monotonic() < deadline, "no emulator started"
            time.sleep(0.02)


def _start(project: UserProject, *args: str) -> Run:
    mark = uuid4().hex
    return Run(project.start("test", *args, **{MARK: mark}), mark)


@pytest.fixture
def started(project: UserProject) -> Iterator[tuple[UserProject, Run]]:
    """A project of 8 cells whose first run is in the middle: 2 done, at least one running."""
    project.write(tiny_yaml(CELLS))
    run = _start(project, "jobs=2")
    try:
        run.until_running(2)
        yield project, run
    finally:
        run.process.kill()
        run.process.communicate()


def _stored(project: UserProject) -> set[str]:
    return {p.parent.name for p in (project.path / "target/ktstr/.cells").glob("*/record.json")}


def _check_partial_table(stdout: str, stored: int) -> None:
    rows = [line.split()[0] for line in stdout.splitlines() if "pair/one/default/eevdf/icount-s" in line]
    verdicts = [row for row in rows if row in ("PASS", "NOT", "ERROR", "FAIL", "INCONCLUSIVE")]
    assert sorted(verdicts) == ["NOT"] * (CELLS - stored) + ["PASS"] * stored
    assert f"{CELLS} cells: {stored} passed, {CELLS - stored} not run" in stdout
    assert "INTERRUPTED: the table is partial" in stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_the_machines_and_shows_the_partial_table(
    started: tuple[UserProject, Run], number: signal.Signals, code: int
) -> None:
    project, run = started
    run.process.send_signal(number)
    at = time.monotonic()
    left = gone_within(run.mark, 3.0)
    took = time.monotonic() - at
    stdout, stderr = run.process.communicate()
    assert not left, f"still there {took:.1f} s after {number.name}: {left}"
    assert run.process.returncode == code
    assert "Traceback" not in stdout + stderr
    stored = len(_stored(project))
    assert 2 <= stored < CELLS
    _check_partial_table(stdout, stored)
    assert half_written(project) == []


def test_an_interruption_that_reaches_the_whole_group_twice_still_shows_the_table(project: UserProject) -> None:
    """timeout(1) signals the process and then its group: that is one press of Ctrl-C, not two."""
    project.write(tiny_yaml(2))
    run = _start(project, "jobs=1")
    try:
        run.until_running(1)
        run.process.send_signal(signal.SIGINT)
        os.killpg(run.process.pid, signal.SIGINT)
        stdout, stderr = run.process.communicate(timeout=30)
    finally:
        run.process.kill()
    assert run.process.returncode == 130
    assert "2 cells: 1 passed, 1 not run" in stdout, stderr
    assert not processes(run.mark)


def test_killed_outright_the_next_run_redoes_only_the_unfinished_cells(started: tuple[UserProject, Run]) -> None:
    project, run = started
    run.process.send_signal(signal.SIGKILL)
    left = gone_within(run.mark, 3.0)
    run.process.communicate()
    assert not left, f"an emulator outlived its front end: {left}"
    before = _stored(project)
    assert 2 <= len(before) < CELLS
    stamps = {name: (project.path / "target/ktstr/.cells" / name / "record.json").stat().st_mtime_ns for name in before}

    code, report = project.test()
    assert code == 0
    assert report["counts"]["pass"] == CELLS
    fresh = [cell for cell in report["cells"] if cell["ran"]]
    assert len(fresh) == CELLS - len(before)
    assert len(_stored(project)) == CELLS
    for name, stamp in stamps.items():
        assert (project.path / "target/ktstr/.cells" / name / "record.json").stat().st_mtime_ns == stamp
    assert half_written(project) == []


def test_two_runs_at_once_in_one_checkout_both_end_right(project: UserProject) -> None:
    cells = 4
    project.write(tiny_yaml(cells))
    runs = [_start(project, "json=1", "jobs=1") for _ in range(2)]
    ended = [run.process.communicate(timeout=280) for run in runs]
    schema = json.loads((ROOT / "schemas/sidecar.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    paths: set[Path] = set()
    for run, (stdout, stderr) in zip(runs, ended, strict=True):
        assert run.process.returncode == 0, stderr
        report = json.loads(stdout)
        assert report["counts"]["pass"] == cells
        assert len(report["cells"]) == cells
        paths |= {project.path / cell["sidecar"] for cell in report["cells"]}
    assert len(paths) == cells
    for path in paths:
        validator.validate(json.loads(path.read_text(encoding="utf-8")))
    assert half_written(project) == []
    assert not any(processes(run.mark) for run in runs)

    code, report = project.test()
    assert code == 0
    assert [cell["ran"] for cell in report["cells"]] == [False] * cells


def test_an_interruption_while_another_process_has_the_lock_begins_nothing(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It went on to download and unpack what it had waited for, and ended half a minute later."""
    project.write(tiny_yaml(1))
    cache = private_cache(tmp_path_factory.mktemp("private") / "cache", "kernels", "agents", "images")
    pin = read_lock(project.path / "ktstr.lock").tools["qemu"]
    mark = uuid4().hex
    with held_elsewhere(Cache(cache).lock_file("tools", pin.digest)):
        process = project.start("test", KTSTR_CACHE_DIR=str(cache), **{MARK: mark})
        assert process.stderr is not None
        assert any(line.startswith("tools:qemu") for line in process.stderr), "it came as far as the lock"
        process.send_signal(signal.SIGINT)
        left = gone_within(mark, 3.0)
        process.kill()
    stdout, stderr = process.communicate()
    assert not left
    assert process.returncode == 130 and "1 cell: 1 not run" in stdout, stderr
    assert not (cache / "apt").exists() and not (cache / "tools").exists()
