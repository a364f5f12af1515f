"""Whether a metric changed: values of two sides in, verdicts out. Knows arrays alone; docs/statistics.md explains."""

from ktstr.stats.inference.changepoints import ChangePoint, change_points
from ktstr.stats.inference.decide import decide
from ktstr.stats.inference.samples import Gate, Ratio, Sample
from ktstr.stats.inference.sequential import Look, looks
from ktstr.stats.inference.verdicts import MetricVerdict, Rule, Settings, Word, decided

__all__ = [
    "ChangePoint",
    "Gate",
    "Look",
    "MetricVerdict",
    "Ratio",
    "Rule",
    "Sample",
    "Settings",
    "Word",
    "change_points",
    "decide",
    "decided",
    "looks",
]
