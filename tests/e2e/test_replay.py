"""``doit replay``: what failed is run again, exactly, and whether it is fixed is said; ``doit cleanup`` after kill -9.

Costs five clones of two machines of 2 vCPUs, which ``test_fixture_switches`` has too. Slow: repeats in real time, and
the killed run.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.conftest import ROOT, UserProject, make_project
from tests.e2e.small import MARK, emulators, gone_within, tiny_yaml
from tests.e2e.test_interrupt import Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SCHEMA = json.loads((ROOT / "schemas/replay.schema.json").read_text(encoding="utf-8"))


def yaml(args: str, limit: int, name: str) -> str:
    """``args``: the scheduler's; ``limit``: of the test strict, in ms; ``name``: of the third test."""
    busy = "cgroups: [{name: left, workers: 1, cpuset: {exact: 0}}, {name: spin, workers: 2}]"
    return f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers: {{mine: {{source: {ROOT / "schedulers" / "scx_ktstr"}, args: [{args}]}}}}
presets: {{pair: 1n1l2c1t}}
tests:
  pinned: {{duration: 300ms, {busy}}}
  strict: {{duration: 310ms, {busy}, checks: {{max_gap_ms: {limit}}}}}
  {name}: {{duration: 320ms, {busy}}}
matrices: {{all: {{tests: [pinned, strict, {name}], presets: pair, schedulers: mine}}}}
"""


def replay(project: UserProject, *args: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and each cell's row by the test's name."""
    done = project.doit("replay", "json=1", *args)
    whole = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(whole)
    return done.returncode, {row["name"].partition("/")[0]: row for row in whole["cells"]}


def changed(row: dict[str, Any]) -> list[str]:
    return [change["input"] for change in row["changes"]]


def test_a_replay_says_of_each_failure_whether_it_is_fixed_and_what_changed(project: UserProject) -> None:
    project.write(yaml("--ignore-affinity", 1, "third"))
    code, first = project.test()
    assert (code, [cell["verdict"] for cell in first["cells"]]) == (1, ["fail"] * 3)
    assert project.doit("test").stdout.count("all of them again, and whether they are fixed: doit replay\n") == 1

    code, rows = replay(project)
    assert (code, {row["fate"] for row in rows.values()}) == (1, {"persistent"})
    assert [(changed(row), row["runs"][0]["ran"]) for row in rows.values()] == [([], False)] * 3
    assert rows["pinned"]["why"] == "fails for the same reason (Evicted)"

    project.write(yaml("", 1, "fourth"))
    code, rows = replay(project)
    assert code == 1
    assert {name: row["fate"] for name, row in rows.items()} == {
        "pinned": "fixed", "strict": "persistent", "third": "dropped"
    }  # fmt: skip
    assert [changed(rows[name]) for name in ("pinned", "strict")] == [["settings"]] * 2
    assert rows["strict"]["why"].startswith("fails for the same reason (Stuck), no longer for Evicted")
    assert rows["third"]["why"].startswith("the test third is no longer declared")
    assert rows["pinned"]["before"]["reasons"][0]["check"] == "Evicted"

    code, now = project.test("test=pinned,strict")
    known = {cell["name"]: cell for cell in now["cells"]}
    assert {name.partition("/")[0]: (cell["verdict"], cell["ran"]) for name, cell in known.items()} == {
        "pinned": ("pass", False), "strict": ("fail", False)
    }  # fmt: skip
    assert [known[row["name"]]["sidecar"] for row in (rows["pinned"], rows["strict"])] == [
        rows["pinned"]["sidecar"], rows["strict"]["sidecar"]
    ]  # fmt: skip

    project.write(yaml("", 3000, "fourth"))
    code, rows = replay(project, "test=strict")
    assert (code, rows["strict"]["fate"], changed(rows["strict"])) == (0, "fixed", ["limits"])
    assert not rows["strict"]["runs"][0]["ran"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_in_real_time_a_failure_is_repeated_as_often_as_asked(project: UserProject) -> None:
    project.write(yaml("--ignore-affinity", 3000, "third"))
    code, _ = project.test("test=pinned", "accel=tcg")
    assert code == 1
    code, rows = replay(project, "accel=tcg", "times=3")
    assert (code, rows["pinned"]["fate"], len(rows["pinned"]["runs"])) == (1, "persistent", 3)
    assert rows["pinned"]["host"] is not None
    project.write(yaml("", 3000, "third"))
    code, rows = replay(project, "accel=tcg", "times=2")
    assert (code, rows["pinned"]["fate"]) == (0, "fixed")
    assert [run["ran"] for run in rows["pinned"]["runs"]] == [True, True]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_after_kill_9_cleanup_leaves_nothing_of_it_and_a_live_run_beside_it_untouched(
    project: UserProject, tmp_path_factory: pytest.TempPathFactory, lock: str
) -> None:
    beside = make_project(tmp_path_factory.mktemp("beside"), lock)
    for one in (project, beside):
        one.write(tiny_yaml(6))
        (one.path / "tmp").mkdir()
    runs = {}
    for one in (project, beside):
        mark = uuid4().hex
        extra = {MARK: mark, "TMPDIR": str(one.path / "tmp"), "KTSTR_LOCK_DIR": str(project.path / "tmp")}
        runs[one.path] = Run(one.start("test", "jobs=2", **extra), mark)
    killed, live = runs[project.path], runs[beside.path]
    try:
        killed.until_running(1)
        killed.process.send_signal(signal.SIGKILL)
        killed.process.communicate()
        assert gone_within(killed.mark, 10.0) == {}
        assert _leftovers(project.path), "a killed run leaves the folder that it worked in"
        assert emulators(live.mark) or live.process.poll() is None
        environ = {"TMPDIR": str(project.path / "tmp"), "KTSTR_LOCK_DIR": str(project.path / "tmp")}
        done = project.doit("cleanup", "json=1", **environ)
        assert done.returncode == 0, done.stderr
        assert _leftovers(project.path) == []
        stdout, stderr = live.process.communicate(timeout=600)
        assert (live.process.returncode, "6 cells: 6 passed" in stdout) == (0, True), stderr
    finally:
        for run in runs.values():
            run.process.kill()
            run.process.communicate()
    assert project.doit("test").returncode == 0


def _leftovers(folder: Path) -> list[str]:
    cells = folder / "target/ktstr/.cells"
    return sorted(path.name for path in (*cells.glob(".run-*"), *cells.glob(".old-*"), *(folder / "tmp").iterdir()))
