"""Samples for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktstr.stats.inference import MetricVerdict, Rule, Sample, Settings, decide


def sample(a: Sequence[float], b: Sequence[float], polarity: int = 1, **more: object) -> Sample:
    """One metric of scenario "s", without an absolute floor and with one of 2 %, unless told otherwise."""
    given: dict[str, object] = {"scenario": "s", "metric": "m", "floor_abs": 0.0, "floor_rel": 0.02, **more}
    return Sample(a=np.array(a, dtype=float), b=np.array(b, dtype=float), polarity=polarity, **given)  # type: ignore[arg-type]


def only(verdicts: tuple[MetricVerdict, ...]) -> MetricVerdict:
    """The single one there is."""
    (verdict,) = verdicts
    return verdict


def by_ranks(one: Sample, settings: Settings | None = None) -> MetricVerdict:
    return only(decide([one], Rule.RANKS, settings or Settings()))


def by_welch(one: Sample, settings: Settings | None = None) -> MetricVerdict:
    return only(decide([one], Rule.WELCH, settings or Settings()))
