"""From the sidecars of two sides to the samples that are compared: one for each metric of each scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from ktstr.record.metrics import METRICS, RATES
from ktstr.record.sidecar import PayloadMetric, PerfDeltaAssertion, Sidecar
from ktstr.stats.frames import run_metrics, verdict
from ktstr.stats.inference.samples import Ratio, Sample
from ktstr.stats.perf.result import Excluded, excluded
from ktstr.stats.perf.samples import Question, sample

Relative: TypeAlias = Callable[[str], "float | None"]  # the user's own relative limit of a metric; None: the registry's


@dataclass(frozen=True)
class ScenarioRuns:
    """The runs of one scenario on both sides. ``a`` and ``b``: the sidecars, those of one seed at one place where both
    have it; ``gates``: what the test declares. ``is_same``: the inputs of both sides are equal, and nothing ran."""

    test: str
    scenario: str
    a: tuple[Sidecar, ...]
    b: tuple[Sidecar, ...]
    gates: tuple[PerfDeltaAssertion, ...] = ()
    is_same: bool = False

    @cached_property
    def compared(self) -> ScenarioRuns:
        """The runs that say how well it went: those that passed, of a kind that can be compared."""
        a, b = _passed(self.a), _passed(self.b)
        kinds = [{_kind(run) for run in side} for side in (a, b)]
        common = kinds[0] & kinds[1]
        a, b = (tuple(run for run in side if _kind(run) in common) for side in (a, b))
        return ScenarioRuns(self.test, self.scenario, a, b, self.gates)

    @cached_property
    def is_identical(self) -> bool:
        """Whether every guest measured the same on both sides, to the last digit: one result, and no chance in it."""
        if not self.a or [run.seed for run in _by_seed(self.a)] != [run.seed for run in _by_seed(self.b)]:
            return False
        pairs = zip(_by_seed(self.a), _by_seed(self.b), strict=True)
        return all(a.accel == "icount" and _measured(a) == _measured(b) for a, b in pairs)

    @cached_property
    def printed(self) -> dict[str, PayloadMetric]:
        """What is declared of the metrics that payloads printed, by name."""
        runs = (payload for run in (*self.a, *self.b) for payload in run.metrics)
        found: dict[str, PayloadMetric] = {}
        for metric in (metric for payload in runs for metric in payload.metrics):
            found.setdefault(metric.name, metric)
        return found

    @property
    def is_emulated(self) -> bool:
        """Whether instructions were counted."""
        return any(run.accel == "icount" for run in (*self.a, *self.b))

    def excluded(self) -> tuple[Excluded, Excluded]:
        """How many runs of each side there are, and how many of them say nothing of performance, by why."""
        a, b = ([(verdict(run), run.expected_failure) for run in side] for side in (self.a, self.b))
        return excluded("a", a), excluded("b", b)


def _measured(run: Sidecar) -> object:
    return run.stats.cgroups, run.stats.ext_metrics, run.workers, run.metrics


def _by_seed(runs: Iterable[Sidecar]) -> list[Sidecar]:
    return sorted(runs, key=lambda run: run.seed)


def _passed(runs: Iterable[Sidecar]) -> tuple[Sidecar, ...]:
    return tuple(run for run in runs if run.passed and not run.expected_failure)


def _kind(run: Sidecar) -> tuple[str, str]:
    """Runs of different kinds are never compared: emulated and real time, booted and cloned machines."""
    return run.accel, "none" if run.origin is None else run.origin.kind


def samples_of(runs: ScenarioRuns, relative: Relative = lambda name: None) -> list[Sample]:
    """A sample for each metric that both sides measured and that can decide something about a whole run."""
    compared = runs.compared
    a, b = [run_metrics(run) for run in compared.a], [run_metrics(run) for run in compared.b]
    gates = {gate.metric: gate for gate in runs.gates if gate.phase is None}
    return [
        _sample(runs, name, a, b, gates.get(name), relative)
        for name in _names(a, b)
        if name in gates or _can_decide(name)
    ]


class Place(NamedTuple):
    """A phase: 0 is BASELINE, 1 and up a step."""

    step: int
    label: str


def phase_samples(runs: ScenarioRuns, relative: Relative = lambda name: None) -> dict[Place, list[Sample]]:
    """The same of each phase."""
    compared = runs.compared
    sides = [[_by_place(run) for run in side] for side in (compared.a, compared.b)]
    places = {place for side in sides for run in side for place in run}
    found: dict[Place, list[Sample]] = {}
    for place in sorted(places):
        a, b = ([run.get(place, {}) for run in side] for side in sides)
        gates = {gate.metric: gate for gate in runs.gates if gate.phase == place.step}
        names = (name for name in _names(a, b) if _is_shown(name))
        found[place] = [_sample(runs, name, a, b, gates.get(name), relative) for name in names]
    return found


def _by_place(run: Sidecar) -> dict[Place, Mapping[str, float]]:
    return {Place(phase.step_index, phase.label): phase.metrics for phase in run.stats.phases}


def _names(a: Sequence[Mapping[str, float]], b: Sequence[Mapping[str, float]]) -> list[str]:
    """What both sides measured: registered metrics in the registry's order, then others by name."""
    both = {name for run in a for name in run} & {name for run in b for name in run}
    return [name for name in METRICS if name in both] + sorted(both - METRICS.keys())


def _is_shown(name: str) -> bool:
    return name not in METRICS or METRICS[name].rendered


def _can_decide(name: str) -> bool:
    return name not in METRICS or (METRICS[name].rendered and METRICS[name].gates_aggregate(True))


def _sample(
    runs: ScenarioRuns,
    name: str,
    a: Sequence[Mapping[str, float]],
    b: Sequence[Mapping[str, float]],
    gate: PerfDeltaAssertion | None,
    relative: Relative,
) -> Sample:
    question = Question(runs.scenario, name, gate, runs.is_emulated, runs.printed.get(name))
    made = sample(question, _column(a, name), _column(b, name))
    own = relative(name)
    return replace(
        made,
        floor_rel=made.floor_rel if own is None else own,
        gate_rel=made.gate_rel if own is None else own,
        ratio_a=_ratio(name, a),
        ratio_b=_ratio(name, b),
        identical=runs.compared.is_identical,
    )


def _column(runs: Iterable[Mapping[str, float]], name: str) -> list[float]:
    return [run[name] for run in runs if name in run]


def _ratio(metric: str, runs: Iterable[Mapping[str, float]]) -> Ratio | None:
    """The parts of a rate, in the runs that have both."""
    if metric not in RATES:
        return None
    parts = (RATES[metric].numerator, RATES[metric].denominator)
    both = [run for run in runs if parts[0] in run and parts[1] in run]
    return Ratio(*(np.array(_column(both, part)) for part in parts)) if both else None
