"""Samples in, verdicts out."""

from __future__ import annotations

from collections.abc import Sequence

from ktstr.stats.inference.samples import Sample
from ktstr.stats.inference.shift_rule import judge_by_ranks
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Settings
from ktstr.stats.inference.welch import judge_by_welch


def decide(samples: Sequence[Sample], rule: Rule, settings: Settings) -> tuple[MetricVerdict, ...]:
    """Judge ``samples``, which are all that is compared, by ``rule``. In their order, of finite values.

    ``ranks`` gives one verdict for each; ``welch`` leaves out what it cannot compare (judge_by_welch).
    """
    match rule:
        case Rule.RANKS:
            return judge_by_ranks(samples, settings)
        case Rule.WELCH:
            return judge_by_welch(samples, settings)
