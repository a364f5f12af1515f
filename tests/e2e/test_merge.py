"""One run, and the same in three parts on machines that share nothing but the cache. Costs 7 cells of one vCPU: 15 s.

Two of its tests differ in nothing but checks, so that their cells have the same inputs, and different shards measure
them.

The parts are measured; the whole run finds what they left merged, and measures nothing: under counted instructions it
would measure the same.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = pytest.mark.e2e

YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
schedulers:
  gone: {path: nowhere/scx_gone}
presets: {one: 1n1l1c1t}
tests:
  fine: {duration: 100ms, cgroups: [{name: a, workers: 1}]}
  strict: {duration: 100ms, cgroups: [{name: a, workers: 1}], checks: {max_gap_ms: 0}, perf_delta: [worst_gap_ms]}
  wide: {duration: 100ms, cgroups: [{name: a, workers: 1}], constraints: {min_cpus: 2}}
matrices:
  all: {tests: [fine, strict, wide], presets: one, seeds: 1..2}
  lost: {tests: fine, presets: one, schedulers: gone}
"""
SHARDS = ("1/3", "2/3", "3/3")


def project_in(folder: Path, lock: str) -> UserProject:
    folder.mkdir()
    project = make_project(folder, lock)
    project.write(YAML)
    return project


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Path:
    """A folder with what three shards left, each in one named by its number."""
    folder = tmp_path_factory.mktemp("shards")
    codes = {}
    for number, shard in enumerate(SHARDS, 1):
        project = project_in(folder / f"machine-{number}", lock)
        done = project.doit("test", f"shard={shard}")
        codes[shard] = done.returncode
        shutil.copytree(project.path / "target/ktstr", folder / "parts" / str(number))
        shutil.rmtree(project.path)
    assert codes == {"1/3": 1, "2/3": 2, "3/3": 1}  # the second has the cell without a scheduler
    return folder / "parts"


@pytest.fixture(scope="module")
def merged(parts: Path, tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    """A project in which they were merged, without a cache, a compiler or an emulator."""
    return project_in(tmp_path_factory.mktemp("merged") / "project", lock)


def nothing(folder: Path) -> dict[str, str]:
    """An environment in which nothing can be run, built or found in a cache."""
    return {"PATH": str(folder / "no-programs"), "KTSTR_CACHE_DIR": str(folder / "no-cache")}


def rows(text: str) -> list[tuple[str, str]]:
    """Verdict and cell of each row of the table."""
    return re.findall(r"^([A-Z]+) +(?:\d+\.\d s|up to date|-)  (\S+)$", text, re.MULTILINE)


def said(text: str) -> str:
    """All words, without times, and without where the projects were of which paths are told."""
    text = re.sub(r"\d+\.\d s|up to date", "", re.sub(r"/\S*(?=nowhere/)", "", text))
    return " ".join(re.sub(r"\(\d+ ran, .*\)", "", text).split())


def cases(path: Path) -> list[tuple[str | None, str | None, list[tuple[str, str | None, str | None]]]]:
    """Names and what came of each; times are those of the host."""
    suite = ET.parse(path).getroot()
    return [
        (
            case.get("classname"),
            case.get("name"),
            [(c.tag, said(c.get("message") or ""), said(c.text or "")) for c in case],
        )
        for case in suite.iter("testcase")
    ]


def test_three_parts_are_the_one_run(parts: Path, merged: UserProject, tmp_path: Path) -> None:
    dirs = "dir=" + ",".join(str(parts / number) for number in ("3", "1", "2"))
    done = merged.doit("merge", dirs, "junit=merged.xml", **nothing(tmp_path))
    assert done.returncode == 2, done.stderr  # a scheduler is not where it is declared to be, and cells fail
    assert "7 cells: 2 passed, 2 failed, 2 skipped, 1 in error (4 ran, 0 up to date)" in done.stdout
    assert not (tmp_path / "no-cache").exists()

    whole = merged.doit("test", "junit=whole.xml")
    assert whole.returncode == 2, whole.stderr
    assert "(0 ran, 4 up to date)" in whole.stdout
    assert rows(done.stdout) == rows(whole.stdout) and len(rows(done.stdout)) == 7
    assert said(done.stdout) == said(whole.stdout)
    assert cases(merged.path / "merged.xml") == cases(merged.path / "whole.xml")

    one, two = (list((parts / number).glob(".cells/*/record.json")) for number in ("1", "3"))
    assert {path.parent.name for path in one} & {path.parent.name for path in two}, "both measured the same inputs"
    _check_json(merged, dirs)
    replay = merged.doit("replay", "dry_run=1", "scheduler=eevdf")
    assert replay.stdout.count("strict/one/default/eevdf/icount-s") == 2


def _check_json(merged: UserProject, dirs: str) -> None:
    again = merged.doit("merge", dirs, "json=1")
    found = json.loads(again.stdout)
    jsonschema.validate(found, json.loads((ROOT / "schemas/test_output.schema.json").read_text(encoding="utf-8")))
    _, expected = merged.test()
    assert [_timeless(cell) for cell in found["cells"]] == [_timeless(cell) for cell in expected["cells"]]
    assert (found["counts"], found["goals"]) == (expected["counts"], expected["goals"])
    assert [goal["verdict"] for goal in found["goals"]] == ["fail"]


def _timeless(cell: dict[str, Any]) -> dict[str, Any]:
    words = [said(reason) for reason in cell["reasons"]]
    return {key: value for key, value in cell.items() if key not in ("ran", "seconds")} | {"reasons": words}


def test_a_missing_and_a_doubled_part_are_refused(parts: Path, merged: UserProject) -> None:
    done = merged.doit("merge", f"dir={parts}/1,{parts}/3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "merge: shard 2/3 is missing" in done.stderr and "fix: " in done.stderr
    shutil.copytree(parts / "1", merged.path / "again")
    done = merged.doit("merge", f"dir={parts},again")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"shard 1/3: found it in {parts}/1 and in again, expected it once" in done.stderr
    done = merged.doit("merge")
    assert done.returncode == 2 and "dir=: found none" in done.stderr


def test_a_shard_without_a_cell_leaves_an_empty_part(merged: UserProject) -> None:
    done = merged.doit("test", "shard=9/9")
    assert done.returncode == 0, done.stderr
    assert "NOTHING IS TESTED HERE: nothing was selected: shard=9/9 leaves none of 5 cells" in done.stderr
    left = json.loads((merged.path / "target/ktstr/.shards/9-of-9.json").read_text(encoding="utf-8"))
    assert (left["cells"], left["whole"]["cells"], left["whole"]["skips"]) == ([], 5, 2)


def test_an_interrupted_shard_leaves_a_part_that_says_so(parts: Path, lock: str, tmp_path: Path) -> None:
    """After its first cell: the two others are whole."""
    project = project_in(tmp_path / "project", lock)
    run = project.start("test", "shard=1/3", "jobs=1")
    assert run.stderr is not None
    run.stderr.readline()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    done = project.doit("merge", f"dir=target/ktstr,{parts}/2,{parts}/3")
    assert done.returncode == 2, done.stderr  # as above, before the 3 of this
    assert "INTERRUPTED: the table is partial" in done.stdout and "1 not run" in done.stdout
    assert "shard 1/3: was interrupted" in done.stderr
