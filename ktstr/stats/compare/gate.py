"""When a change counts, and when changes that count make a comparison fail.

A change counts when it is at least the metric's absolute limit and at least the relative one (of ``policy``), both of
them: strictly smaller is unchanged. Two values of (nearly) nothing are not compared; against a baseline of nothing the
absolute limit alone decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.record.metrics import METRICS, higher_is_worse

NOTHING = 1e-9  # a smaller magnitude is no baseline
FAIL_THRESHOLD = 5


class Change(IntEnum):
    """What became of a metric of a pair of runs. ``NONE``: both values are nothing."""

    NONE = 0
    UNCHANGED = 1
    REGRESSION = 2
    IMPROVEMENT = 3
    INFORMATIONAL = 4


@dataclass(frozen=True)
class Limits:
    """Of each of n metrics: the smallest change that counts, absolute and as a fraction, and what an increase is:
    1 worse, -1 better, 0 neither."""

    absolute: np.ndarray
    relative: np.ndarray
    direction: np.ndarray


def relative_change(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``|b - a| / |a|``; infinite against a baseline of nothing."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(np.abs(a) > NOTHING, np.abs((b - a) / a), np.inf)


def judge(a: np.ndarray, b: np.ndarray, limits: Limits) -> np.ndarray:
    """A ``Change`` for each of n metrics, from their values on both sides (finite)."""
    with np.errstate(over="ignore"):
        delta = b - a
    counts = (np.abs(delta) >= limits.absolute) & (relative_change(a, b) >= limits.relative)
    # A relative limit of 0 lets a change of nothing through where the absolute one is 0 too; its sign is none.
    worse = np.sign(delta) * limits.direction
    kind = np.select(
        [limits.direction == 0, worse > 0, worse < 0],
        [int(Change.INFORMATIONAL), int(Change.REGRESSION), int(Change.IMPROVEMENT)],
        int(Change.UNCHANGED),
    )
    nothing = (np.abs(a) < NOTHING) & (np.abs(b) < NOTHING)
    return np.where(nothing, int(Change.NONE), np.where(counts, kind, int(Change.UNCHANGED)))


def direction(name: str) -> int:
    """Of a registered metric, as ``Limits`` has it."""
    worse = higher_is_worse(METRICS[name].polarity)
    return 0 if worse is None else 1 if worse else -1


@dataclass(frozen=True)
class Gate:
    """When regressions fail a comparison: at ``fail_threshold`` of them (0: never by their number), and at any of a
    metric in ``must_fail``."""

    fail_threshold: int = FAIL_THRESHOLD
    must_fail: tuple[str, ...] = ()

    def fails(self, regressed: Iterable[str]) -> bool:
        """``regressed``: the metric of each regression, once for each pair it was found in."""
        names = tuple(regressed)
        return self.counts_out(len(names)) or not set(names).isdisjoint(self.must_fail)

    def counts_out(self, regressions: int) -> bool:
        """Whether so many regressions fail a comparison by their number."""
        return 1 <= self.fail_threshold <= regressions


def must_fail(names: Iterable[str], *, noise: bool) -> tuple[str, ...]:
    """The names, trimmed, empty ones left out. ``noise``: many runs a side are compared (``noise_adjust=``).

    Raises InputError for one that could never fail anything: not registered, a component of others, one that says
    nothing of a whole run, or (without ``noise``) one without a direction.
    """
    found = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    for name in found:
        if (reason := _never_fails(name, noise)) is not None:
            raise InputError(f"must_fail={name}: {reason.why}", fix=reason.fix)
    return found


@dataclass(frozen=True)
class _Never:
    why: str
    fix: str = "doit stats_list_metrics"


def _never_fails(name: str, noise: bool) -> _Never | None:
    metric = METRICS.get(name)
    if metric is None:
        hint = nearest(name, METRICS)
        return _Never("found no such metric" + (f", nearest match {hint!r}" if hint else ""))
    if not metric.rendered:
        return _Never("found a component that rates are made of, which is never a finding; name the rate")
    if not metric.gates_aggregate(noise):
        if metric.gates_aggregate(True):
            return _Never("found a metric of single runs, which are not averaged", "add noise_adjust=N")
        return _Never("found a metric of phases, which says nothing of a whole run")
    if metric.polarity == "Informational" and not noise:
        return _Never("found an informational metric, whose changes are neither better nor worse")
    return None
