"""What single runs measured, by metric and phase, and the samples that a comparison of two sides is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ktstr.config.model import Better
from ktstr.record.metric import Metric, Polarity
from ktstr.record.metrics import METRICS, higher_is_worse, polarity_of
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import PayloadMetric, PerfDeltaAssertion, Sidecar, TargetValue
from ktstr.stats.frames import host_class, phase_values, run_metrics

if TYPE_CHECKING:
    from ktstr.stats.inference.samples import Gate, Sample

UNREGISTERED = Metric("", "Unknown", "PerPhase", 0.0, Metric.floor_rel, "", "a number that a payload printed")
Start: TypeAlias = Literal["cold", "clone"]


@dataclass(frozen=True)
class CellRun:
    """One cell and what came of it. ``kernel`` is a label, ``verdict`` an Outcome; ``sidecar``: None if nothing ran."""

    test: str
    preset: str
    kernel: str
    scheduler: str
    accel: str
    seed: int
    verdict: str
    sidecar: Sidecar | None = None

    @property
    def counts(self) -> bool:
        """Whether its numbers may be used: a run that failed says nothing of speed."""
        return self.sidecar is not None and self.verdict == Outcome.PASS and not self.sidecar.expected_failure

    @property
    def start(self) -> Start:
        """What it began as: a clone's numbers are no sample of what a machine measures that booted by itself."""
        origin = None if self.sidecar is None else self.sidecar.origin
        return "cold" if origin is None or origin.kind == "cold" else "clone"

    @property
    def host(self) -> str:
        """The class of host that its times are of; empty where instructions are counted, which hold everywhere."""
        known = None if self.sidecar is None or self.accel == "icount" else self.sidecar.host
        return "" if known is None else host_class(known)

    def value(self, metric: str, phase: int | None = None) -> float | None:
        """What it measured, in the metric's unit; None when it did not."""
        return None if self.sidecar is None else measured(self.sidecar, phase).get(metric)


def measured(sidecar: Sidecar, phase: int | None = None) -> Mapping[str, float]:
    """The finite numbers of a sidecar by metric, of the whole run or of one phase (all its cgroups together)."""
    if phase is None:
        return run_metrics(sidecar)
    return {v.metric: v.value for v in phase_values(sidecar) if v.step_index == phase and not v.cgroup}


def better(metric: str, gate: PerfDeltaAssertion | None = None, declared: PayloadMetric | None = None) -> Better | None:
    """Which direction is better: as the gate declares, else as its payload does, else as registry or name say; None
    for an informational one."""
    if gate is not None and gate.direction is not None:
        return "higher" if gate.direction == "HigherBetter" else "lower"
    worse = higher_is_worse(_polarity(metric, declared))
    return None if worse is None else "lower" if worse else "higher"


def _polarity(metric: str, declared: PayloadMetric | None) -> Polarity:
    """Of what is best at one value neither direction is worse."""
    if declared is None or metric in METRICS or declared.polarity == "Unknown":
        return polarity_of(metric)
    return "Informational" if isinstance(declared.polarity, TargetValue) else declared.polarity


@dataclass(frozen=True)
class Question:
    """One metric of one scenario. ``gate``: the limit that its test declares; ``emulated``: instructions were
    counted. ``declared``: what its payload says of it, None for the guest's own."""

    scenario: str
    metric: str
    gate: PerfDeltaAssertion | None = None
    emulated: bool = False
    declared: PayloadMetric | None = None

    @property
    def worse(self) -> int:
        """Which way is worse, but for what the gate says: +1 an increase, -1 a decrease, 0 neither.

        Under counted instructions all vCPUs share one clock: a CPU second of four busy ones holds a quarter of the
        work of one alone, whatever the scheduler does. So a rate by CPU time has no direction there, unless a test
        declares a limit of it.
        """
        higher = higher_is_worse(_polarity(self.metric, self.declared))
        unit = METRICS.get(self.metric, UNREGISTERED).display_unit
        if higher is None or (self.emulated and self.gate is None and unit.endswith("/cpu-s")):
            return 0
        return 1 if higher else -1


def sample(question: Question, a: Sequence[float], b: Sequence[float]) -> Sample:
    """What a rule judges: the values of a metric, a run each, with the registry's limits and the gate's."""
    import numpy as np

    from ktstr.stats.inference.samples import Sample

    row, gate = METRICS.get(question.metric, UNREGISTERED), question.gate
    return Sample(
        scenario=question.scenario,
        metric=question.metric,
        a=np.asarray(a, dtype=np.float64),
        b=np.asarray(b, dtype=np.float64),
        polarity=question.worse,
        floor_abs=row.floor_abs,
        floor_rel=row.floor_rel,
        gate_abs=row.default_abs,
        gate_rel=row.default_rel,
        declared=None if gate is None else _gate(gate),
    )


def _gate(gate: PerfDeltaAssertion) -> Gate:
    from ktstr.stats.inference.samples import Gate

    direction = None if gate.direction is None else -1 if gate.direction == "HigherBetter" else 1
    return Gate(direction, gate.max_regression_pct, gate.min_abs)
