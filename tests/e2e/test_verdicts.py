"""Tests built to be unfair or to break isolation fail and say how; a fair one passes whatever the seed.

Cost: five guests of 4 vCPUs, about 40 s. Slow: twenty seeds of the fair test, about two minutes more.

The tests are the repository's own (``ktstr.yaml``), as users copy them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CELL = ("preset=tiny-2llc", "scheduler=eevdf", "accel=icount")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    """A project with the repository's own declarations."""
    made = make_project(tmp_path_factory.mktemp("verdicts"), lock)
    yaml = (ROOT / "ktstr.yaml").read_text(encoding="utf-8")
    made.write(yaml.replace("source: schedulers/", f"source: {ROOT}/schedulers/"))
    return made


@pytest.fixture(scope="module")
def demos(project: UserProject) -> dict[str, dict[str, Any]]:
    """Both demo tests in one run, by name; ``text`` is what a user reads when each runs again."""
    code, found = project.test("test=demo_unfair,demo_isolation", "seed=0", *CELL)
    assert code == 1
    assert found["counts"]["fail"] == 2, found
    return {cell["name"].split("/")[0]: cell for cell in found["cells"]}


def test_the_unfair_one_names_cgroup_worker_value_and_limit(
    project: UserProject, demos: dict[str, dict[str, Any]]
) -> None:
    cell = demos["demo_unfair"]
    (reason,) = [r for r in project.sidecar(cell)["reasons"] if r["kind"] == "Unfair"]
    # Eight share CPU 0, so each is off it for 7/8 of the time; the ninth has CPU 1 to itself.
    assert reason["verdict"] == "fail"
    assert reason["cgroup"] == "crowd"
    assert 0 <= reason["worker"] < 8
    assert 80 < reason["value"] < 95
    assert reason["limit"] == 10
    said = re.fullmatch(
        r"cgroup crowd: worker (\d) \(tid \d+, SpinWait, CPUs 0\) was off CPU ([\d.]+) % of its time,"
        r" worker 8 \(tid \d+\) ([\d.]+) %: spread ([\d.]+) % > limit 10 % \(test\); samples: of \d+ samples it ran in"
        r" \d, waited in \d+ and slept in [01]: on CPU 0's fair runqueue 100 %; meanwhile its CPUs 0 ran worker/.* of"
        r" /ktstr/crowd .*",
        reason["message"],
    )
    assert said is not None, reason["message"]
    assert int(said[1]) == reason["worker"]
    assert float(said[2]) - float(said[3]) == pytest.approx(float(said[4]), abs=0.011)
    assert reason["message"] in cell["reasons"]


def test_the_leaky_one_names_cgroup_worker_cpus_and_limit(
    project: UserProject, demos: dict[str, dict[str, Any]]
) -> None:
    sidecar = project.sidecar(demos["demo_isolation"])
    reasons = [r for r in sidecar["reasons"] if r["kind"] == "Isolation"]
    assert reasons
    for reason in reasons:
        # Half of the three usable CPUs of four, rounded down: CPU 0.
        assert (reason["verdict"], reason["cgroup"], reason["limit"]) == ("fail", "strays", 0)
        outside = sorted(set(sidecar["workers"][reason["worker"]]["cpus_used"]) - {0})
        assert outside
        assert reason["value"] == len(outside)
        who = r"cgroup strays: worker \d \(tid \d+, SpinWait, CPUs [0-9,-]+\)"
        said = who + r" ran on CPU [0-9,-]+, limit: cpuset 0 \(test\)"
        assert re.fullmatch(said, reason["message"]), reason["message"]


def test_the_table_shows_the_reasons_and_how_to_repeat_them(
    project: UserProject, demos: dict[str, dict[str, Any]]
) -> None:
    done = project.doit("test", "test=demo_unfair,demo_isolation", "seed=0", *CELL)
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    for cell in demos.values():
        assert all(" ".join(reason.split()) in words for reason in cell["reasons"])
        assert cell["reproduce"] in done.stdout
        assert cell["sidecar"] in done.stdout
    assert "2 cells: 2 failed (0 ran, 2 up to date)" in done.stdout


def test_the_command_it_prints_repeats_the_failure(project: UserProject, demos: dict[str, dict[str, Any]]) -> None:
    command = demos["demo_unfair"]["reproduce"].split()
    assert command[0] == "doit"
    done = project.doit(*command[1:], "json=1")
    assert done.returncode == 1
    (cell,) = json.loads(done.stdout)["cells"]
    assert cell["ran"] is True
    assert cell["reasons"] == demos["demo_unfair"]["reasons"]


def all_pass(project: UserProject, preset: str, seeds: range) -> None:
    code, found = project.test(
        "test=cgroup_steady", f"preset={preset}", "scheduler=eevdf", "accel=icount", f"seeds={seeds[0]}..{seeds[-1]}"
    )
    assert {cell["name"]: cell["reasons"] for cell in found["cells"] if cell["verdict"] != "pass"} == {}
    assert found["counts"]["pass"] == len(seeds)
    assert code == 0


def test_a_fair_one_passes(project: UserProject) -> None:
    all_pass(project, "tiny-2llc", range(1, 4))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("preset", ["tiny-2llc", "smt-2llc"])
def test_a_fair_one_passes_twenty_seeds_of_twenty(project: UserProject, preset: str) -> None:
    all_pass(project, preset, range(1, 21))
