"""Assertions over time (``config.temporal``), judged on the samples of the workload.

``never`` and ``always`` hold at each sample; ``eventually`` at one of those until its time; ``stays`` at each one after
its time. One that no sample could answer (the workload ended before) is Inconclusive.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence

from ktstr.checks.formulas import MS
from ktstr.checks.monitor import local_depth, skew
from ktstr.checks.samples import View, is_idle
from ktstr.checks.verdict import Detail, Verdict
from ktstr.config.temporal import Quantity, Relation, Temporal
from ktstr.record.samples import MonitorSample

_HOLDS: dict[Relation, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_VALUES: dict[Quantity, Callable[[View, MonitorSample], float]] = {
    "imbalance": lambda view, sample: skew(view, sample).ratio,
    "local_dsq": lambda _, sample: local_depth(sample),
    "nr_running": lambda _, sample: sum(cpu.nr_running for cpu in sample.cpus),
    "idle_cpus": lambda view, sample: sum(
        is_idle(cpu) for number, cpu in enumerate(sample.cpus) if number not in view.offline(sample)
    ),
    "waiting": lambda view, sample: sum(1 for _ in view.runnable(sample)),
    "longest_wait_ms": lambda view, sample: max((w.wait_ns or 0 for w in view.runnable(sample)), default=0) / MS,
}


def judge(view: View, assertions: Iterable[Temporal]) -> list[Detail]:
    """The reasons of those that do not hold."""
    return [detail for assertion in assertions if (detail := _judged(view, assertion)) is not None]


def _judged(view: View, assertion: Temporal) -> Detail | None:
    samples = _concerned(view, assertion)
    if not samples:
        what = f"{assertion.text}: no sample was taken in that time, so nothing is known"
        return Detail(Verdict.INCONCLUSIVE, "Temporal", what, limit=assertion.value)
    values = [(_VALUES[assertion.quantity](view, sample), sample) for sample in samples]
    holds = [_HOLDS[assertion.relation](value, assertion.value) for value, _ in values]
    if assertion.mode == "eventually":
        broken = None if any(holds) else values[-1]
    else:
        wanted = assertion.mode != "never"
        broken = next((pair for pair, held in zip(values, holds, strict=True) if held is not wanted), None)
    if broken is None:
        return None
    value, sample = broken
    times = sum(held is (assertion.mode == "never") for held in holds)
    found = f"{assertion.quantity} was {value:g} at {view.ms(sample)} ms"
    what = f"{assertion.text}: {found}; broken in {times} of {len(samples)} samples"
    return Detail(Verdict.FAIL, "Temporal", what, value=value, limit=assertion.value)


def _concerned(view: View, assertion: Temporal) -> Sequence[MonitorSample]:
    """The samples that an assertion is about."""
    bound = assertion.bound_ns
    if bound is None:
        return view.samples
    if assertion.mode == "eventually":
        return [sample for sample in view.samples if sample.at_ns - view.start_ns <= bound]
    return [sample for sample in view.samples if sample.at_ns - view.start_ns >= bound]
