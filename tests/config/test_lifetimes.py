from __future__ import annotations

import pytest

from tests.config.declarations import HEAD, errors, indented, mistake, test_of

BACKDROP = """
backdrop:
  cgroups: [bg, {name: top, workers: 0}]
  payloads: [bench]
steps:
"""


def steps(*rows: str) -> str:
    return BACKDROP + "".join(f"  - {row}\n" for row in rows)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["{ops: [{op: freeze, cgroup: ^bgg}]}"],
         "steps[0].ops[0].cgroup: found 'bgg', expected one of the cgroups (bg, top), nearest match 'bg'"),
        (["{cgroups: [^bg]}"],
         "steps[0].cgroups[0]: found 'bg', expected another name than that of a cgroup of the backdrop, which is still"
         " there"),
        (["{cgroups: [a, {name: ^a}]}"],
         "steps[0].cgroups[1].name: found 'a', expected a name that is not there yet: this step made it already"),
        (["{ops: [{op: add_cgroup, cgroup: a}, {op: add_cgroup, cgroup: ^a}]}"],
         "steps[0].ops[1].cgroup: found 'a', expected a name that is not there yet: this step made it already"),
        (["{ops: [{op: add_cgroup, cgroup: a}], cgroups: [^a]}"],
         "steps[0].cgroups[0]: found 'a', expected a name that is not there yet: this step made it already"),
        (["{ops: [{op: add_cgroup, cgroup: a/b}, {op: add_cgroup, cgroup: ^a}]}"],
         "steps[0].ops[1].cgroup: found 'a', expected a name that is not there yet: it was made as the parent of a/b"),
        (["{cgroups: [a]}", "{ops: [{op: freeze, cgroup: ^a}]}"],
         "steps[1].ops[0].cgroup: found 'a', expected a cgroup that is still there: it ended with steps[0]"),
        (["{ops: [{op: freeze, cgroup: ^a}], cgroups: [a]}"],
         "steps[0].ops[0].cgroup: found 'a', expected a cgroup that is there by then: the ops of a step come before its"
         " cgroups"),
        (["{ops: [{op: freeze, cgroup: ^a}]}", "{cgroups: [a]}"],
         "steps[0].ops[0].cgroup: found 'a', expected a cgroup that is there by then: steps[1] makes it"),
        (["{ops: [{op: add_cgroup, cgroup: a}, {op: remove_cgroup, cgroup: a}, {op: freeze, cgroup: ^a}]}"],
         "steps[0].ops[2].cgroup: found 'a', expected a cgroup that is still there: it was removed"),
        (["{ops: [{op: add_cgroup, cgroup: a/b}, {op: remove_cgroup, cgroup: a}, {op: freeze, cgroup: ^a/b}]}"],
         "steps[0].ops[2].cgroup: found 'a/b', expected a cgroup that is still there: it was removed"),
        (["{ops: [{op: remove_cgroup, cgroup: ^bg}]}"],
         "steps[0].ops[0].cgroup: found 'bg', expected a cgroup of this step: those of the backdrop live through all"
         " steps"),
        (["{ops: [{op: stop, cgroup: ^bg}]}"],
         "steps[0].ops[0].cgroup: found 'bg', expected a cgroup of this step: the workers of the backdrop live through"
         " all steps"),
        (["{ops: [{op: add_cgroup, cgroup: a}, {op: move_tasks, from: bg, to: ^a}]}"],
         "steps[0].ops[1].to: found 'a', expected a cgroup of the backdrop: its workers live through all steps"),
        (["{ops: [{op: move_tasks, from: ^unlike, to: bg}]}"],
         "steps[0].ops[0].from: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{ops: [{op: swap_cpusets, cgroups: [bg, ^tpo]}]}"],
         "steps[0].ops[0].cgroups[1]: found 'tpo', expected one of the cgroups (bg, top), nearest match 'top'"),
        (["{ops: [{op: set_cpuset, cgroup: ^unlike, cpuset: {llc: 0}}]}"],
         "steps[0].ops[0].cgroup: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{ops: [{op: clear_cpuset, cgroup: ^unlike}]}"],
         "steps[0].ops[0].cgroup: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{ops: [{op: set_affinity, cgroup: ^unlike, affinity: all}]}"],
         "steps[0].ops[0].cgroup: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{ops: [{op: spawn, cgroup: ^unlike}]}"],
         "steps[0].ops[0].cgroup: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{payloads: [{payload: other, cgroup: ^unlike}]}"],
         "steps[0].payloads[0].cgroup: found 'unlike', expected one of the cgroups (bg, top)"),
        (["{payloads: [^bench]}"],
         "steps[0].payloads[0]: found 'bench', expected a payload that does not run there already: wait for it or kill"
         " it first"),
        (["{ops: [{op: wait, payload: ^other}]}"],
         "steps[0].ops[0].payload: found 'other', expected a payload that runs then"),
        (["{payloads: [other]}", "{ops: [{op: wait, payload: ^other}]}"],
         "steps[1].ops[0].payload: found 'other', expected a payload that runs then"),
        (["{ops: [{op: kill, payload: ^bench, cgroup: bg}]}"],
         "steps[0].ops[0].payload: found 'bench', expected a payload that runs then"),
        (["{ops: [{op: run, payload: bench, cgroup: bg}, {op: wait, payload: ^bench}]}"],
         "steps[0].ops[1].payload: found 'bench', expected cgroup beside it: it runs in the agent's own, bg"),
        (["{cgroups: [^bg/x]}"],
         "steps[0].cgroups[0]: found 'bg/x', expected no workers or settings below bg, which has workers itself"
         " (workers: 0 gives it none)"),
        (["{ops: [{op: add_cgroup, cgroup: a/b}, {op: spawn, cgroup: a/b}, {op: spawn, cgroup: ^a}]}"],
         "steps[0].ops[2].cgroup: found 'a', expected no workers above a/b, which has workers or settings"),
        (["{ops: [{op: add_cgroup, cgroup: bg/x}, {op: set, cgroup: ^bg/x, cpu.weight: 5}]}"],
         "steps[0].ops[1].cgroup: found 'bg/x', expected no workers or settings below bg, which has workers itself"
         " (workers: 0 gives it none)"),
        (["{ops: [{op: add_cgroup, cgroup: top/x, cpuset: {llc: 0}}, {op: move_tasks, from: bg, to: ^top}]}"],
         "steps[0].ops[1].to: found 'top', expected no workers above top/x, which has workers or settings"),
        (["{ops: [{op: move_tasks, from: bg, to: top}]}", "{cgroups: [^top/a]}"],
         "steps[1].cgroups[0]: found 'top/a', expected no workers or settings below top, which has workers itself"
         " (workers: 0 gives it none)"),
        (["{ops: [{op: add_cgroup, cgroup: a}, {op: run, payload: other, cgroup: a}, {op: move_tasks, from: a, to: bg},"
          " {op: add_cgroup, cgroup: ^a/b, cpuset: {llc: 0}}]}"],
         "steps[0].ops[3].cgroup: found 'a/b', expected no workers or settings below a, which has workers itself"
         " (workers: 0 gives it none)"),
        (["{cgroups: [a], ops: [{op: remove_cgroup, cgroup: ^a}], hold: {every: 100ms}}"],
         "steps[0].ops[0].cgroup: found 'a', expected a cgroup that is still there: it was removed"),
        (["{payloads: [other], ops: [{op: kill, payload: ^other}], hold: {every: 100ms}}"],
         "steps[0].ops[0].payload: found 'other', expected a payload that runs then"),
    ],
)  # fmt: skip
def test_what_is_named_must_be_there(rows: list[str], expected: str) -> None:
    found, place = mistake(steps(*rows))
    assert found == f"{place}tests.t.{expected}"


@pytest.mark.parametrize(
    "rows",
    [
        ["{cgroups: [a]}", "{cgroups: [a]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: remove_cgroup, cgroup: a}], hold: {every: 100ms}}"],
        ["{ops: [{op: run, payload: other}, {op: wait, payload: other}], hold: {every: 100ms}}"],
        # What a round makes ends with it; a step's own cgroups come before its rounds.
        ["{ops: [{op: add_cgroup, cgroup: a}], hold: {every: 100ms}}"],
        ["{ops: [{op: run, payload: other}], hold: {every: 100ms}}"],
        ["{cgroups: [a], ops: [{op: freeze, cgroup: a}], hold: {every: 100ms}}"],
        ["{cgroups: [{name: a, workers: 0}], ops: [{op: add_cgroup, cgroup: a/b, cpuset: {llc: 0}},"
         " {op: remove_cgroup, cgroup: a/b}, {op: spawn, cgroup: a}, {op: run, payload: other, cgroup: a}],"
         " hold: {every: 100ms}}"],
        ["{ops: [{op: kill, payload: bench}, {op: run, payload: bench}]}"],
        ["{payloads: [other]}", "{payloads: [other]}"],
        ["{ops: [{op: spawn, cgroup: bg}, {op: move_tasks, from: bg, to: top}]}"],
        ["{cgroups: [top/a], payloads: [{payload: other, cgroup: top/a}]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: spawn, cgroup: a}, {op: stop, cgroup: a},"
         " {op: add_cgroup, cgroup: a/b}, {op: spawn, cgroup: a/b}]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: run, payload: other, cgroup: a}, {op: remove_cgroup, cgroup: a},"
         " {op: add_cgroup, cgroup: a}, {op: run, payload: other, cgroup: a}]}"],
        ["{cgroups: [a], ops: [{op: freeze, cgroup: bg}, {op: unfreeze, cgroup: bg}], hold: {every: 1s}}"],
        ["{ops: [{op: spawn, cgroup: top}]}", "{cgroups: [top/a]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: spawn, cgroup: a}, {op: move_tasks, from: a, to: top}]}",
         "{cgroups: [top/a]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: run, payload: other, cgroup: a}, {op: wait, payload: other},"
         " {op: add_cgroup, cgroup: a/b}, {op: spawn, cgroup: a/b}]}"],
        ["{ops: [{op: add_cgroup, cgroup: a}, {op: spawn, cgroup: a}, {op: move_tasks, from: a, to: bg},"
         " {op: add_cgroup, cgroup: a/b}, {op: spawn, cgroup: a/b}]}"],
    ],
)  # fmt: skip
def test_what_is_there_may_be_named(rows: list[str]) -> None:
    assert len(test_of(steps(*rows)).steps) == len(rows)


def test_more_of_anything_than_the_agent_takes_in_one_test() -> None:
    cgroups = ", ".join(f"c{i}" for i in range(255))
    found, place = mistake(f"steps: ^[{{cgroups: [{cgroups}]}}, {{cgroups: [x, y]}}]")
    assert found == f"{place}tests.t.steps: found 257 cgroups, expected at most 256"
    spawns = ", ".join(["{op: spawn_host, workers: 1024}"] * 5)
    found, place = mistake(f"steps: ^[{{ops: [{spawns}]}}]")
    assert found == f"{place}tests.t.steps: found 5120 workers, expected at most 4096"
    found, place = mistake("cgroups: ^[{name: a, work: Custom, payload: bench, workers: 65}]")
    assert found == f"{place}tests.t.cgroups: found 65 payloads, expected at most 64"


def test_nothing_is_said_of_lifetimes_where_something_else_is_wrong() -> None:
    """A cgroup whose declaration is wrong is not there for the walk: what names it is no second mistake."""
    body = "steps: [{ops: [{op: add_cgroup, cgroup: a, mems: x}, {op: freeze, cgroup: a}]}]"
    (found,) = errors(f"{HEAD}tests:\n  t:\n{indented(body)}")
    assert "mems" in found
