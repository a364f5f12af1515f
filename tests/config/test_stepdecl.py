from __future__ import annotations

import pytest

from ktstr.config import ops
from ktstr.config.model import Backdrop, Step
from ktstr.config.scenario import Cgroup, Hold, Work
from tests.config.declarations import mistake, test_of

SPIN = (Work(),)


def test_steps_and_what_lives_through_them() -> None:
    test = test_of("""
backdrop:
  cgroups: [bg]
  ops: [{op: freeze, cgroup: bg}]
  payloads: [{payload: bench, cgroup: bg, args: [x]}]
settle: 200ms
cleanup_budget: 500ms
steps:
  - name: warm
    ops: [{op: unfreeze, cgroup: bg}]
    cgroups: [a]
    payloads: [other]
    hold: 0.5
  - cgroups: [b]
""")
    freeze = ops.Freeze(cgroup="bg", frozen=True)
    assert test.backdrop == Backdrop((Cgroup("bg", SPIN),), (freeze,), (ops.RunPayload("bench", "bg", ("x",)),))
    warm, plain = test.steps
    unfreeze = ops.Freeze(cgroup="bg", frozen=False)
    assert warm == Step((Cgroup("a", SPIN),), (unfreeze,), (ops.RunPayload("other"),), Hold("fraction", 0.5), "warm")
    assert plain == Step((Cgroup("b", SPIN),))
    assert (test.settle_ns, test.cleanup_budget_ns, test.cgroups) == (200_000_000, 500_000_000, ())
    assert warm.where == "ktstr.yaml:12:9 tests.t.steps[0]"


def test_the_short_form_is_one_step() -> None:
    test = test_of("cgroups: [a]\npayloads: [bench, {payload: other, cgroup: a}]")
    assert test.all_steps == (
        Step((Cgroup("a", SPIN),), payloads=(ops.RunPayload("bench"), ops.RunPayload("other", "a"))),
    )


@pytest.mark.parametrize(
    ("written", "hold"),
    [
        ("0.5", Hold("fraction", 0.5)),
        ("1", Hold("fraction", 1.0)),
        ("2.5", Hold("fraction", 2.5)),
        ("200ms", Hold("fixed", ns=200_000_000)),
        ("{every: 100ms}", Hold("loop", ns=100_000_000)),
    ],
)
def test_holds(written: str, hold: Hold) -> None:
    body = f"backdrop: {{cgroups: [a]}}\nsteps: [{{ops: [{{op: freeze, cgroup: a}}], hold: {written}}}]"
    assert test_of(body).steps[0].hold == hold


HOLD = "a fraction of the duration above 0, a duration such as 200ms, or {every: 100ms}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("hold: ^0", f"hold: found 0, expected {HOLD}"),
        ("hold: ^-0.5", f"hold: found -0.5, expected {HOLD}"),
        ("hold: ^.inf", f"hold: found .inf, expected {HOLD}"),
        ("hold: ^.nan", f"hold: found .nan, expected {HOLD}"),
        ("hold: ^true", f"hold: found true, expected {HOLD}"),
        ("hold: ^[1]", f"hold: found a list, expected {HOLD}"),
        ("hold: ^1001", "hold: found 1001, expected a fraction of at most 1000"),
        ("hold: ^0s", "hold: found '0s', expected from 1ms to 3600s"),
        ("hold: ^half", "hold: found 'half', expected a duration with its unit, such as 2s, 500ms or 100us"),
        ("hold: {every: ^0s}", "hold.every: found '0s', expected from 1ms to 3600s"),
        ("hold: ^{}", "hold.every: found nothing, expected the time from one round of the ops to the next"),
        ("hold: ^{every: 100ms}", "hold: found a loop, expected ops in this step, which are what is done again"),
        ("^hols: 1", "hols: found 'hols', expected one of name, ops, cgroups, payloads, hold, nearest match 'hold'"),
        ("ops: ^[]", "ops: found an empty list, expected a list of ops, such as [{op: freeze, cgroup: a}]"),
        ("payloads: [^x]", "payloads[0]: found 'x', expected one of the payloads (bench, other)"),
        ("payloads: [{payload: ^othr}]",
         "payloads[0].payload: found 'othr', expected one of the payloads (bench, other), nearest match 'other'"),
        ("payloads: [^{args: [x]}]", "payloads[0].payload: found nothing, expected the payload"),
        ("name: ^a b", "name: found 'a b', expected a name of up to 64 letters, digits, '_', '.' and '-'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step(written: str, expected: str) -> None:
    found, place = mistake(f"steps:\n  - {{cgroups: [a], {written}}}")
    assert found == f"{place}tests.t.steps[0].{expected}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("steps: ^[]", "steps: found an empty list, expected a list of steps, such as [{cgroups: [a]}]"),
        ("steps: [{name: x}, {name: ^x}]", "steps[1].name: found 'x', expected each step name once in a test"),
        ("^cgroups: [a]\nsteps: [{}]",
         "cgroups: found 'cgroups', expected cgroups in a step or in the backdrop, where there are steps"),
        ("^payloads: [bench]\nsteps: [{}]",
         "payloads: found 'payloads', expected payloads in a step or in the backdrop, where there are steps"),
        ("cgroups: [a]\n^backdrop: {cgroups: [b]}",
         "backdrop: found 'backdrop', expected backdrop only beside steps"),
        ("cgroups: [a]\n^settle: 1s",
         "settle: found 'settle', expected settle only beside backdrop, which is what settles"),
        ("steps: [{}]\nbackdrop: {^hold: 1}",
         "backdrop.hold: found 'hold', expected one of cgroups, ops, payloads, nearest match 'ops'"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_declared_beside_each_other(body: str, expected: str) -> None:
    found, place = mistake(body)
    assert found == f"{place}tests.t.{expected}"
