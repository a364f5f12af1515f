from __future__ import annotations

from typing import Any

from tests.nested.retry import Results, companies, doubtful, merged

STEADY, WAKE = "cgroup_steady/pair/default/scx_ktstr", "pipe_wake/pair/default/scx_ktstr"
EEVDF, WIDE = "cgroup_steady/pair/default/eevdf", "cgroup_steady/numa2-tiny/default/scx_ktstr"


def report(*names: str, verdict: str = "pass", reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    cells = [{"name": f"{name}/kvm-s0", "verdict": verdict, "reasons": list(reasons)} for name in names]
    return {"cells": cells}


def run(*reports: dict[str, Any], cloned: dict[str, bool] | None = None, mark: str = "") -> Results:
    names = [cell["name"].rpartition("/")[0] for one in reports for cell in one["cells"]]
    clones = {name: name in (STEADY, WAKE) for name in names} | (cloned or {})
    sidecars = {name: {"kvm_run": {"cloned": clone}, "mark": mark} for name, clone in clones.items()}
    return Results(list(reports), sidecars, {name: {"mark": mark} for name in clones})


def test_a_run_that_went_well_is_not_in_doubt() -> None:
    assert doubtful(run(report(WIDE), report(STEADY, WAKE, EEVDF)), {}) == {}


def test_another_verdict_a_triple_fault_and_what_should_have_fit_are_in_doubt() -> None:
    icount = {WAKE: {"verdict": "fail"}}
    assert set(doubtful(run(report(WAKE)), icount)) == {WAKE}
    assert doubtful(run(report(WAKE, verdict="fail")), icount) == {}
    assert doubtful(run(report(WIDE, verdict="fail", reasons=("a triple fault",))), {}) == {WIDE: ["a triple fault"]}
    assert set(doubtful(run(report(EEVDF, verdict="inconclusive")), {})) == {EEVDF}
    assert doubtful(run(report(WIDE, verdict="inconclusive")), {}) == {}


def test_a_cell_that_should_have_been_a_clone_is_in_doubt() -> None:
    assert doubtful(run(report(STEADY, WAKE), cloned={WAKE: False}), {}) == {WAKE: ["it was no clone"]}
    without = run(report(STEADY, WAKE, verdict="error"))
    without.sidecars.clear()
    assert set(doubtful(without, {})) == {STEADY, WAKE}


def test_a_cell_is_run_again_with_those_that_share_its_machine() -> None:
    reports = [
        report(WIDE, "cpuset_llc/numa2-tiny/default/scx_ktstr"),
        report(STEADY, WAKE, EEVDF),
        report("demo/pair/default/eevdf"),
    ]
    assert companies(reports, {WAKE}) == {
        "test=cgroup_steady,pipe_wake preset=pair scheduler=scx_ktstr": [STEADY, WAKE],
    }
    assert companies(reports, {WIDE, EEVDF}) == {
        "test=cgroup_steady,cpuset_llc preset=numa2-tiny scheduler=scx_ktstr": [
            WIDE,
            "cpuset_llc/numa2-tiny/default/scx_ktstr",
        ],
        "test=cgroup_steady preset=pair scheduler=eevdf": [EEVDF],
    }
    assert companies(reports, ()) == {}


def test_what_is_not_named_stays_as_it_was_first() -> None:
    first = run(report(STEADY, EEVDF), report(WAKE, verdict="fail"), mark="first")
    second = run(report(WAKE, STEADY, verdict="error"), mark="second")
    both = merged(first, second, {WAKE})
    assert {name: cell["verdict"] for name, cell in both.cells.items()} == {
        STEADY: "pass",
        EEVDF: "pass",
        WAKE: "error",
    }
    assert {name: sidecar["mark"] for name, sidecar in both.sidecars.items()} == {
        STEADY: "first", EEVDF: "first", WAKE: "second",
    }  # fmt: skip
    assert both.guests[WAKE] == {"mark": "second"}


def test_a_cell_that_left_nothing_the_second_time_has_nothing() -> None:
    first, second = run(report(WAKE), mark="first"), run(report(WAKE, verdict="error"))
    second.sidecars.clear()
    second.guests.clear()
    both = merged(first, second, {WAKE})
    assert (both.cells[WAKE]["verdict"], both.sidecars, both.guests) == ("error", {}, {})
