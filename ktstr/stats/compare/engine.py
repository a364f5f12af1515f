"""The comparison of two sides of a pool, as a value. Nothing is printed here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ktstr.columns import printable
from ktstr.errors import InputError
from ktstr.stats.compare import averaging, sides, warnings
from ktstr.stats.compare.averaging import Groups
from ktstr.stats.compare.dims import Keys, keys, text
from ktstr.stats.compare.filters import Filters, select
from ktstr.stats.compare.findings import CoverageDifference, Finding, compare_metrics
from ktstr.stats.compare.gate import Change
from ktstr.stats.compare.pairs import Folded, Group, Mismatch, PairingKey, match, mismatches
from ktstr.stats.compare.policy import REGISTRY, Policy
from ktstr.stats.compare.sides import Contrast
from ktstr.stats.pool import Pool


@dataclass(frozen=True)
class Options:
    """``substring``: compare only groups whose ``scenario topology scheduler work_type`` contains it. ``place``: what
    messages call the pool."""

    substring: str | None = None
    average: bool = True
    policy: Policy = REGISTRY
    place: str = "the pool"


@dataclass(frozen=True)
class Comparison:
    """``a_runs`` and ``b_runs``: sidecars on each side. ``unregistered``: metrics that both sides of some pair have
    and the registry has not, so that nothing says when a change of them counts. ``a_host`` and ``b_host``: of the
    first run with one, as JSON."""

    contrast: Contrast
    averaged: bool
    a_runs: int
    b_runs: int
    findings: tuple[Finding, ...]
    unchanged: int
    groups: tuple[Group, ...]
    new_in_b: tuple[PairingKey, ...]
    removed_from_a: tuple[PairingKey, ...]
    coverage: tuple[CoverageDifference, ...]
    mismatches: tuple[Mismatch, ...]
    unregistered: tuple[str, ...]
    a_host: str | None
    b_host: str | None
    warnings: tuple[str, ...]

    def _count(self, change: Change) -> int:
        return sum(finding.change == change for finding in self.findings)

    @property
    def regressions(self) -> int:
        return self._count(Change.REGRESSION)

    @property
    def improvements(self) -> int:
        return self._count(Change.IMPROVEMENT)

    @property
    def informational(self) -> int:
        return self._count(Change.INFORMATIONAL)

    @property
    def compared_pairs(self) -> int:
        """Pairs whose metrics were looked at; without one, that nothing regressed says nothing."""
        return sum(group.a is not None and group.b is not None and not group.excluded for group in self.groups)

    @property
    def excluded_pairs(self) -> int:
        return sum(group.excluded for group in self.groups)


def compare(pool: Pool, a_filters: Filters, b_filters: Filters, options: Options | None = None) -> Comparison:
    """Pair the runs that ``a_filters`` and ``b_filters`` (shared ones included) select, and judge every metric.

    Raises InputError for sides that are the same, an empty pool, a side or a substring that matches nothing, and
    several runs of one key without averaging.
    """
    options = options or Options()
    contrast = sides.contrast(a_filters, b_filters)
    if pool.runs.empty:
        raise InputError(f"no sidecar data under {options.place}", fix="doit test makes some, or name a folder: dir=")
    a, b = select(pool.runs, a_filters), select(pool.runs, b_filters)
    for side, runs, filters in (("A", a, a_filters), ("B", b, b_filters)):
        if runs.empty:
            raise sides.no_match(side, filters, pool.runs)
    named = keys(a, b, contrast.pairing)
    said = (warnings.dirty_builds(a, b), warnings.overcommitted(a, b, named, contrast))
    folded = Folded(
        named,
        _fold(pool, a, named.a, "A", named, options.average),
        _fold(pool, b, named.b, "B", named, options.average),
    )
    matched = match(folded, options.substring)
    judged = compare_metrics(matched, folded, options.policy)
    return Comparison(
        contrast=contrast,
        averaged=options.average,
        a_runs=len(a),
        b_runs=len(b),
        findings=judged.findings,
        unchanged=judged.unchanged,
        groups=matched.groups,
        new_in_b=tuple(group.key for group in matched.groups if group.a is None),
        removed_from_a=tuple(group.key for group in matched.groups if group.b is None),
        coverage=judged.coverage,
        mismatches=mismatches(matched.groups),
        unregistered=judged.unregistered,
        a_host=_host(a),
        b_host=_host(b),
        warnings=tuple(one for one in said if one),
    )


def _fold(pool: Pool, runs: pd.DataFrame, key: np.ndarray, side: str, named: Keys, average: bool) -> Groups:
    prepared = averaging.side(runs, pool.metrics, key)
    if average:
        return averaging.average(prepared)
    twice = averaging.duplicates(prepared.runs["key"])
    if len(twice):
        shown = printable("/".join(named.frame.loc[twice.index[0], list(named.shown)]))
        raise InputError(
            f"no_average=1: {len(twice)} pairing key(s) of side {side} have several runs; {shown} has {twice.iloc[0]}",
            fix=f"leave out no_average=, or narrow the side with one more {side.lower()}_ variable",
        )
    return averaging.as_it_is(prepared)


def _host(runs: pd.DataFrame) -> str | None:
    """The first host of a side, as JSON."""
    known = text(runs["host"]).dropna()
    return None if known.empty else str(known.iloc[0])
