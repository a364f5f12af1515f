"""What a rule is given: the values of one metric of one scenario on two sides, and what counts as worse."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Gate:
    """A test's own gate on a metric. What is None, not finite or negative leaves the metric's own limit in force.

    ``direction`` +1: an increase is worse; -1: a decrease is. ``min_abs`` in the metric's unit.
    """

    direction: int | None = None
    max_regression_pct: float | None = None
    min_abs: float | None = None


@dataclass(frozen=True)
class Limits:
    """How far a metric may move before it matters, and which way is worse (+1, -1, 0 neither)."""

    direction: int
    absolute: float
    relative: float

    def floor(self, center: float) -> float:
        """The smallest change that matters, in the metric's unit, where side A's centre is ``center``."""
        return max(self.absolute, self.relative * abs(center))


@dataclass(frozen=True, eq=False)
class Ratio:
    """Numerator and denominator of a rate in each run of one side, two arrays of one length."""

    numerator: Values
    denominator: Values

    def __post_init__(self) -> None:
        object.__setattr__(self, "numerator", _values(self.numerator, "numerator"))
        object.__setattr__(self, "denominator", _values(self.denominator, "denominator"))
        if self.numerator.shape != self.denominator.shape:
            raise ValueError(f"{self.numerator.size} numerators, {self.denominator.size} denominators")


@dataclass(frozen=True, eq=False)
class Sample:
    """One metric of one scenario: a value per boot or clone on side A (the baseline) and on side B.

    ``a``, ``b``: one-dimensional, finite, of any lengths, empty where nothing was measured; what a run did
    not measure is not in them. ``polarity`` +1: an increase is worse; -1: a decrease is; 0: neither.
    ``floor_abs`` in the metric's unit and ``floor_rel`` as a fraction of side A's median: what is smaller does
    not matter. ``gate_abs`` and ``gate_rel`` are those of the Welch rule (None: the floors). ``ratio_a`` and
    ``ratio_b`` are a rate's parts, for the Welch rule's pooled mean. ``identical``: both sides are known to
    have had the same inputs, or the same stream of results.

    Raises ValueError for values that are not finite, more than one dimension, or a negative floor.
    """

    scenario: str
    metric: str
    a: Values
    b: Values
    polarity: int
    floor_abs: float = 0.0
    floor_rel: float = 0.02
    gate_abs: float | None = None
    gate_rel: float | None = None
    declared: Gate | None = None
    ratio_a: Ratio | None = None
    ratio_b: Ratio | None = None
    identical: bool = False

    def __post_init__(self) -> None:
        name = f"{self.scenario}: {self.metric}"
        object.__setattr__(self, "a", _values(self.a, f"{name}: a"))
        object.__setattr__(self, "b", _values(self.b, f"{name}: b"))
        if self.polarity not in (-1, 0, 1):
            raise ValueError(f"{name}: polarity {self.polarity}, expected -1, 0 or 1")
        for label in ("floor_abs", "floor_rel", "gate_abs", "gate_rel"):
            limit = getattr(self, label)
            if limit is not None and not (isfinite(limit) and limit >= 0):
                raise ValueError(f"{name}: {label} {limit}, expected 0 or more")

    @property
    def floors(self) -> Limits:
        """What many runs must differ by, where the test declares no other limit."""
        return self._limits(self.floor_abs, self.floor_rel)

    @property
    def gates(self) -> Limits:
        """The same of the Welch rule."""
        return self._limits(
            self.floor_abs if self.gate_abs is None else self.gate_abs,
            self.floor_rel if self.gate_rel is None else self.gate_rel,
        )

    def _limits(self, absolute: float, relative: float) -> Limits:
        if (gate := self.declared) is None:
            return Limits(self.polarity, absolute, relative)
        pct, least = gate.max_regression_pct, gate.min_abs
        return Limits(
            gate.direction if gate.direction in (-1, 1) else self.polarity,
            least if least is not None and isfinite(least) and least >= 0 else absolute,
            pct / 100 if pct is not None and isfinite(pct) and pct >= 0 else relative,
        )


def _values(given: Values, name: str) -> Values:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name}: {values.ndim} dimensions, expected 1")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: a value that is not finite")
    return values
