"""At which numbers of runs the data are looked at, and how much of the false alarm rate each look may spend.

Two looks, at half the runs and at all of them, planned before the first run. The first spends what O'Brien and
Fleming's boundary spends at half the information (Lan and DeMets 1983): 2 (1 - Phi(z_(alpha/2) / sqrt(1/2))), 0.0056
of 0.05; the last has the rest. The two add up to alpha, so whatever the data, and however the looks depend on
each other, the chance of a false alarm at either is at most alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from scipy.special import ndtr, ndtri

from ktstr.stats.inference.permutation import least_runs

FIRST_LOOK_AT = 4  # runs a side from which a shift has a 95 % interval; below, only equal values are "same"


@dataclass(frozen=True)
class Look:
    """Judge after ``runs`` runs a side, with ``alpha`` in Settings. 0: only "same" can be said, nothing is spent."""

    runs: int
    alpha: float


def looks(runs: int, alpha: float) -> tuple[Look, ...]:
    """The looks of an experiment of ``runs`` (1 or more) runs a side; the last is at ``runs``, with what is left."""
    if runs < 1:
        raise ValueError(f"{runs} runs, expected 1 or more")
    half = (runs + 1) // 2
    if half < FIRST_LOOK_AT or half == runs:
        return (Look(runs, alpha),)
    early = 2 * float(ndtr(ndtri(alpha / 2) / sqrt(0.5)))
    if half < least_runs(early):
        early = 0.0
    return Look(half, early), Look(runs, alpha - early)
