"""``doit catalogue``: the list of canned scenarios, and one of them as it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ktstr.errors import InputError
from tests.commands.invocations import run_report

STALL = """\
2 scenarios; include: ktstr:catalogue brings them, doit test test=NAME runs one

stall (test=category:stall)
  stall_detect
        of sixteen spinners in one cgroup none is left behind; SpinWait
  stall_recovery
        of sixteen spinners in each of two cgroups none is left behind; SpinWait
"""
SHOWN = """\
tests:
  cgroup_steady:
    description: two cgroups of equal spinners share the machine fairly
    category: basic
    cgroups: [cg_0, cg_1]
"""


def test_scenarios_are_listed_by_category_with_what_they_do_and_need(tmp_path: Path) -> None:
    assert run_report(tmp_path, "catalogue category=stall").text == STALL
    every = run_report(tmp_path, "catalogue").text
    assert every.startswith("81 scenarios; ")
    assert "PageFaultChurn" in every
    assert "needs 2 NUMA nodes" in " ".join(every.split())
    assert all(len(line) <= 80 for line in every.splitlines())


def test_json_has_the_same_facts(tmp_path: Path) -> None:
    (one,) = json.loads(run_report(tmp_path, "catalogue test=cgroup_cpuset_cross_llc_race json=1").text)["scenarios"]
    assert one == {
        "name": "cgroup_cpuset_cross_llc_race",
        "category": "stress",
        "description": "many workers on two LLCs trade places every 200 ms",
        "needs": "2 LLCs",
        "work_types": ["Mixed"],
        "duration_ms": 2000,
        "checks": {"max_spread_pct": 90},
    }


def test_patterns_of_names_and_categories_narrow_one_another(tmp_path: Path) -> None:
    found = json.loads(run_report(tmp_path, "catalogue test=*churn* category=nested json=1").text)["scenarios"]
    assert [one["name"] for one in found] == ["nested_cgroup_rapid_churn"]


def test_an_entry_is_shown_as_it_is_written(tmp_path: Path) -> None:
    assert run_report(tmp_path, "catalogue show=cgroup_steady").text == SHOWN


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show=cgroup_stead", "show=cgroup_stead: found no such scenario, nearest match 'cgroup_steady'"),
        ("test=xyz", "test=xyz: found no scenario of that name"),
        ("category=stal1", "category=stal1: found no scenario of that category, nearest match 'stall'"),
    ],
)
def test_what_there_is_not_is_told_with_the_nearest(words: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as err:
        run_report(tmp_path, f"catalogue {words}")
    assert str(err.value) == f"{message}\n  fix: doit catalogue"
