"""The canned scenarios: those of the specification, each of which fits the topologies that it allows."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from ktstr.config import catalogue
from ktstr.config.include import read_sources
from ktstr.config.load import parse, typed
from ktstr.config.model import Builtin, Config, SchedulerDecl
from ktstr.config.select import Selection, expand, unfit
from ktstr.config.topology import PRESETS, Topology
from ktstr.errors import InputError
from ktstr.resources import include_dir
from ktstr.scenarios.compile import compile_test
from ktstr.scenarios.verify import verify

# Of the specification: how many scenarios of each category there are.
COUNTS = {
    "advanced": 20, "stress": 17, "interaction": 9, "cpuset": 6, "affinity": 6, "sched_class": 6, "performance": 5,
    "nested": 4, "basic": 3, "dynamic": 3, "stall": 2,
}  # fmt: skip
SMALL = [name for name, label in PRESETS.items() if Topology.parse(label).cpus <= 16]
NAMES = tuple(catalogue.entries())


@cache
def canned() -> Config:
    return typed(catalogue.sources())


def test_the_scenarios_are_those_of_the_specification() -> None:
    assert Counter(test.category for test in canned().tests.values()) == COUNTS
    assert len(canned().tests) == 81
    assert {"cgroup_steady", "sched_rr", "cgroup_cpuset_cross_llc_race", "fan_out_compute"} <= canned().tests.keys()


@pytest.mark.parametrize("preset", SMALL)
def test_each_scenario_compiles_on_the_topologies_that_it_allows(preset: str) -> None:
    topology = Topology.parse(PRESETS[preset])
    eevdf = SchedulerDecl("eevdf", Builtin("eevdf"))
    for test in canned().tests.values():
        if unfit(test, topology) is None:
            verify(compile_test(test, topology, eevdf, 0).program)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_that_is_copied_is_the_test_that_it_was(name: str) -> None:
    text = f"kernels: {{k: 6.12}}\ntests:\n{catalogue.entries()[name].text}"
    copied = parse(text.encode(), Path("ktstr.yaml"), validated=True)
    assert copied.tests == {name: canned().tests[name]}


def test_each_file_is_a_category_that_is_in_the_whole() -> None:
    names = {path.stem for path in (include_dir() / "catalogue").glob("*.yaml")}
    assert names == set(COUNTS)
    for category in COUNTS:
        one = typed(read_sources(include_dir() / "catalogue" / f"{category}.yaml"), validated=True)
        assert {test.category for test in one.tests.values()} == {category}


def test_no_matrix_has_them_and_a_name_or_category_selects_them() -> None:
    config = parse(f"include: {catalogue.NAME}\nkernels: {{k: 6.12}}\n".encode(), Path("ktstr.yaml"), validated=True)
    assert not config.matrices

    def run(pattern: str) -> set[str]:
        return {cell.test for cell in expand(config, Selection(test=(pattern,))).cells}

    assert run("sched_rr") == {"sched_rr"}
    assert run("category:stall") == {"stall_detect", "stall_recovery"}


@pytest.mark.parametrize("pattern", ["stall_detect", "stall_*", "category:stall"])
def test_a_project_without_them_is_told_to_include_them(pattern: str) -> None:
    config = parse(b"kernels: {k: 6.12}\ntests: {t: {cgroups: [a]}}\n", Path("ktstr.yaml"), validated=True)
    with pytest.raises(InputError, match="does not include the catalogue") as err:
        expand(config, Selection(test=(pattern,)))
    assert "stall_detect" in str(err.value)
    assert str(err.value).endswith("fix: include: ktstr:catalogue, at the top of ktstr.yaml")


def test_a_matrix_may_name_a_category() -> None:
    text = f"""\
include: {catalogue.NAME}
kernels: {{k: 6.12}}
matrices: {{m: {{tests: category:dynamic, presets: tiny-1llc}}}}
"""
    config = parse(text.encode(), Path("ktstr.yaml"))
    assert len(expand(config).cells) == COUNTS["dynamic"]
    with pytest.raises(InputError, match="expected one of the categories"):
        parse(text.replace("dynamic", "dynamics").encode(), Path("ktstr.yaml"))
