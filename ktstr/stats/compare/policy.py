"""How large a relative change must be to count: the registry's own limits, or a file's, or one for all metrics.

Shape of the file: ``schemas/policy.schema.json``. The absolute limits are always the registry's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.files import read_json
from ktstr.record.codec import DecodeError, decode
from ktstr.record.metrics import METRICS, Metric
from ktstr.record.numbers import NotNegative

POLICY_CAP = 1 << 20  # bytes


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Relative limits in percent of the baseline. An equal change counts."""

    default_percent: Annotated[
        NotNegative | None, Meta(description="of every metric that has none of its own; null: the registry's")
    ] = None
    per_metric_percent: Annotated[
        dict[str, NotNegative], Meta(description="by a registered metric's name (doit stats_list_metrics)")
    ] = {}

    def relative(self, metric: Metric) -> float:
        """The limit of a metric as a fraction of its baseline."""
        own = self.given(metric.name)
        return metric.default_rel if own is None else own

    def given(self, name: str) -> float | None:
        """The limit of a metric as a fraction where the policy itself has one."""
        percent = self.per_metric_percent.get(name, self.default_percent)
        return None if percent is None else percent / 100


REGISTRY = Policy()  # every metric by the registry's own limit


def uniform(percent: float) -> Policy:
    """One limit for every metric, in percent. Raises InputError when it is negative or no number."""
    if not (math.isfinite(percent) and percent >= 0):
        raise InputError(f"threshold={percent:g}: found {percent:g}, expected a percentage of at least 0")
    return Policy(default_percent=percent)


def load_policy(path: Path) -> Policy:
    """The policy in a file. Raises InputError naming the file and the key: unreadable, malformed, an unknown key,
    a negative number, a metric that is not registered."""
    data = read_json(path, POLICY_CAP)
    limits = data.get("per_metric_percent")
    for name, percent in limits.items() if isinstance(limits, dict) else ():
        _check(f"{path}: policy.per_metric_percent.{name}", name, percent)
    try:
        return decode(Policy, data, f"{path}: policy")
    except DecodeError as err:
        raise InputError(str(err), fix="keys: default_percent, per_metric_percent; numbers are percent") from err


def _check(where: str, name: str, percent: object) -> None:
    if name not in METRICS:
        hint = nearest(name, METRICS)
        raise InputError(
            f"{where}: found no such metric" + (f", nearest match {hint!r}" if hint else ""),
            fix=f"registered: {', '.join(METRICS)}",
        )
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or percent < 0:
        raise InputError(f"{where}: found {percent!r:.60}, expected a percentage of at least 0")


def given_policy(threshold: float | None, file: str | None, stand: Path) -> Policy | None:
    """The policy of ``threshold=`` or of the file that ``policy=`` names from ``stand``; None without either. Raises
    InputError as ``uniform`` and ``load_policy``."""
    if threshold is not None:
        return uniform(threshold)
    return None if file is None else load_policy(stand / Path(file).expanduser())
