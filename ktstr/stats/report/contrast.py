"""What ``stats_compare`` concludes of two sides of a pool, with the runs behind it, as a report."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ktstr.record.codec import decode
from ktstr.record.host import Host
from ktstr.record.metrics import METRICS
from ktstr.stats import hosts
from ktstr.stats.compare.dims import PINS, keys
from ktstr.stats.compare.engine import Comparison
from ktstr.stats.compare.filters import Filters, select
from ktstr.stats.compare.findings import COMPARED
from ktstr.stats.compare.gate import Change
from ktstr.stats.compare.pairs import Group, PairingKey, Tally
from ktstr.stats.pool import Pool
from ktstr.stats.report.comparison import ComparisonReport, LeftOut
from ktstr.stats.report.distribution import (
    MetricSpread,
    Scenario,
    Side,
    better_of,
    samples_of,
    shift_of,
    unit_of,
)
from ktstr.stats.report.text import counted

WORDS = {Change.REGRESSION: "regressed", Change.IMPROVEMENT: "improved", Change.INFORMATIONAL: "informational"}
ENOUGH = 2  # runs of a side, for a shift to say anything
Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Sides:
    """The filters that selected the two sides of a comparison."""

    a: Filters
    b: Filters


def report_of(pool: Pool, sides: Sides, found: Comparison) -> ComparisonReport:
    """The report of a comparison that ``engine.compare`` made of this pool with these filters."""
    values, names = _Values(pool, sides, found), _Names(found)
    verdicts: dict[str, dict[str, str]] = defaultdict(dict)
    for finding in found.findings:
        verdicts[finding.key.label][finding.metric] = WORDS[finding.change]
    pairs = [group for group in found.groups if group.a and group.b and not group.excluded]
    scenarios = (
        Scenario(
            names.of(group.key),
            ("A", "B"),
            _metrics(values.of(group.key), verdicts[group.key.label]),
        )
        for group in pairs
    )
    warnings = [line.removeprefix("warning: ") for line in (found.contrast.warning, *found.warnings) if line]
    if pool.skipped:
        files = counted(len(pool.skipped), "file")
        warnings.append(f"{files} named as sidecars could not be read; the first: {pool.skipped[0].message}")
    return ComparisonReport(
        a=found.contrast.a,
        b=found.contrast.b,
        a_runs=found.a_runs,
        b_runs=found.b_runs,
        overall=_overall(found, len(pairs)),
        scenarios=tuple(scenario for scenario in scenarios if scenario.metrics),
        common=names.common,
        left_out=tuple(_left_out(found, names)),
        hosts=tuple(_hosts(found)),
        notes=tuple(warnings),
    )


class _Names:
    """Short names of keys: without what is the same in all of them, which ``common`` has."""

    def __init__(self, found: Comparison) -> None:
        columns = list(zip(*(group.key.components for group in found.groups), strict=True))
        self._told = [at for at, values in enumerate(columns) if at == 0 or len(set(values)) > 1]
        self.common = tuple(
            f"{name} {columns[at][0]}"
            for at, name in enumerate(found.contrast.pairing_names)
            if columns and at not in self._told and columns[at][0]
        )

    def of(self, key: PairingKey) -> str:
        detail = key.label.removeprefix("/".join(key.components))  # what tells keys of one name apart
        return "/".join(key.components[at] for at in self._told) + detail


@dataclass(frozen=True)
class _Both:
    """Metric name to the values of the runs that passed, of each side."""

    a: Values
    b: Values


class _Values:
    """The runs behind each key of a comparison."""

    def __init__(self, pool: Pool, sides: Sides, found: Comparison) -> None:
        a, b = select(pool.runs, sides.a), select(pool.runs, sides.b)
        named = keys(a, b, found.contrast.pairing)
        columns = [*named.shown, *PINS]
        rows = named.frame[columns].itertuples(index=False, name=None)
        self._numbers = {row: number for number, row in enumerate(rows)}
        self._a, self._b = (_by_key(pool, runs, key) for runs, key in ((a, named.a), (b, named.b)))

    def of(self, key: PairingKey) -> _Both:
        number = self._numbers[*key.components, *(key.pins[pin] for pin in PINS)]
        return _Both(self._a.get(number, {}), self._b.get(number, {}))


def _by_key(pool: Pool, runs: pd.DataFrame, key: np.ndarray) -> dict[int, dict[str, list[float]]]:
    numbers = pd.Series(key, index=runs.index)[runs["verdict"] == "pass"]
    values = pool.metrics[pool.metrics["row"].isin(numbers.index)]
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, metric, value in values[["row", "metric", "value"]].itertuples(index=False):
        found[int(numbers[row])][metric].append(float(value))
    return found


def _metrics(both: _Both, verdicts: Mapping[str, str]) -> tuple[MetricSpread, ...]:
    """What both sides measured: registered metrics in the registry's order, then others by name."""
    shared = both.a.keys() & both.b.keys()
    registered = [name for name, metric in METRICS.items() if metric.rendered and name in shared]
    return tuple(
        _spread(name, verdicts.get(name, "unchanged" if name in COMPARED else ""), both)
        for name in (*registered, *sorted(shared - METRICS.keys()))
    )


def _spread(name: str, verdict: str, both: _Both) -> MetricSpread:
    a, b = both.a[name], both.b[name]
    shift = shift_of(a, b) if min(len(a), len(b)) >= ENOUGH else None
    sides = (Side("A", samples_of(a)), Side("B", samples_of(b), shift))
    note = "" if name in METRICS else "not registered: nothing says when a change of it counts"
    return MetricSpread(name, unit_of(name), better_of(name), sides, verdict, note)


def _overall(found: Comparison, pairs: int) -> str:
    return (
        f"{counted(pairs, 'pair')} compared: {counted(found.regressions, 'regression')},"
        f" {counted(found.improvements, 'improvement')}"
    )


def _left_out(found: Comparison, names: _Names) -> list[LeftOut]:
    rows = [LeftOut(names.of(group.key), _excluded(group, found)) for group in found.groups if group.excluded]
    rows += [LeftOut(names.of(key), f"only {found.contrast.b} has runs of it") for key in found.new_in_b]
    rows += [LeftOut(names.of(key), f"only {found.contrast.a} has runs of it") for key in found.removed_from_a]
    for one in found.mismatches:
        a, b = ("|".join(value or "-" for value in side) for side in (one.a, one.b))
        rows.append(LeftOut(counted(one.keys, "key"), f"they would be pairs but for the {PINS[one.pin]}: {a} and {b}"))
    for alone in found.coverage:
        side = found.contrast.a if alone.side == "a" else found.contrast.b
        rows.append(LeftOut(f"{alone.metric} of {names.of(alone.key)}", f"only {side} measured it"))
    return rows


def _excluded(group: Group, found: Comparison) -> str:
    sides = ((found.contrast.a, group.a), (found.contrast.b, group.b))
    return "; ".join(f"{label}: {_tally(tally)}" for label, tally in sides if tally and not tally.comparable)


def _tally(tally: Tally) -> str:
    if tally.expected_failure:
        return "failed, as its test expects"
    words = {
        "passed": tally.passes,
        "failed": tally.failures,
        "inconclusive": tally.inconclusives,
        "skipped": tally.skips,
    }
    return ", ".join(f"{n} {word}" for word, n in words.items() if n)


def _hosts(found: Comparison) -> list[str]:
    """What differs between the first known hosts of the sides."""
    if found.a_host is None or found.b_host is None:
        unknown = found.contrast.a if found.a_host is None else found.contrast.b
        return [f"the host of {unknown} is not known"]
    a, b = (hosts.without_heap(_host(text)) for text in (found.a_host, found.b_host))
    return hosts.diff(a, b).splitlines()


def _host(text: str) -> Host:
    return decode(Host, json.loads(text), "host")
