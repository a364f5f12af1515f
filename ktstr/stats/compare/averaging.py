"""The runs of one key of one side as one: their verdicts, their commits, and their metrics folded by kind.

Clean passes alone feed the metrics; every run is counted, and the worst verdict is the group's. Seeds are samples:
runs that differ in their seed alone are averaged as repeated ones are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ktstr.record.metrics import RATES
from ktstr.stats.compare.dims import DIRTY, text
from ktstr.stats.folds import rule_of

VERDICTS = ("skip", "pass", "inconclusive", "fail")  # from the one that yields to the one that prevails
MIXED = "+mixed"


@dataclass(frozen=True)
class Side:
    """The runs of one side. ``runs``: rows of the pool's ``runs``, indexed as there, ``key`` added; ``metrics``: the
    rows of the pool's ``metrics`` that belong to clean passes, ``key`` added."""

    runs: pd.DataFrame
    metrics: pd.DataFrame


@dataclass(frozen=True)
class Groups:
    """One side by key. ``rows``: indexed by key, in the order first seen: test_name, topology, scheduler and
    work_type of its first run, project_commit, kernel_commit, verdict, expected_failure, and how many runs passed,
    skipped, were inconclusive and failed. ``metrics``: key, metric, value, and the ``runs`` that it was made from."""

    rows: pd.DataFrame
    metrics: pd.DataFrame


def side(runs: pd.DataFrame, metrics: pd.DataFrame, key: np.ndarray) -> Side:
    """A side from its runs, the pool's metrics, and each run's key."""
    keyed = runs.assign(key=key)
    clean = keyed.loc[(runs["verdict"] == "pass") & ~runs["expected_failure"].astype(bool), ["key", "sample_count"]]
    owner = pd.Index(clean.index).get_indexer(pd.Index(metrics["row"]))
    mine = metrics[owner >= 0]
    at = owner[owner >= 0]
    return Side(keyed, mine.assign(key=clean["key"].to_numpy()[at], samples=clean["sample_count"].to_numpy()[at]))


def duplicates(runs: pd.Series) -> pd.Series:
    """Of keys that more than one run has: how many runs, the most first. ``runs``: each run's key."""
    counted = runs.value_counts()
    return counted[counted > 1]


def average(side: Side) -> Groups:
    """Each key's runs as one. With a single run a key, that run."""
    return Groups(_rows(side.runs), _metrics(side.metrics))


def as_it_is(side: Side) -> Groups:
    """Each key's only run, its metrics untouched."""
    return Groups(_rows(side.runs), side.metrics[["key", "metric", "value"]].assign(runs=1))


def _rows(runs: pd.DataFrame) -> pd.DataFrame:
    group, key = pd.factorize(runs["key"])
    first = np.unique(group, return_index=True)[1]
    rank = runs["verdict"].map({verdict: at for at, verdict in enumerate(VERDICTS)}).to_numpy(dtype=int)
    counts = np.zeros((len(key), len(VERDICTS)), dtype=int)
    np.add.at(counts, (group, rank), 1)
    expected = np.bincount(group, runs["expected_failure"].to_numpy(dtype=float), len(key)) > 0
    worst = [VERDICTS[np.flatnonzero(row)[-1]] for row in counts]
    identity = {name: runs[name].to_numpy()[first] for name in ("test_name", "topology", "scheduler", "work_type")}
    counted = {verdict: counts[:, at] for at, verdict in enumerate(VERDICTS)}
    rows = pd.DataFrame({**identity, "verdict": worst, "expected_failure": expected, **counted}, index=pd.Index(key))
    for column in ("project_commit", "kernel_commit"):
        rows[column] = _commits(runs, column).reindex(rows.index)
    return rows


def _commits(runs: pd.DataFrame, column: str) -> pd.Series:
    """The first commit of each key; its hex digits and ``+mixed`` where some runs were of a clean tree and some not."""
    values = text(runs[column]).dropna()
    if values.empty:
        return values
    key = runs["key"][values.index]
    dirty = values.str.endswith(DIRTY).astype(bool).groupby(key)
    first = values.groupby(key, sort=False).first()
    mixed = (dirty.any() & ~dirty.all()).reindex(first.index)
    return first.where(~mixed, first.str.removesuffix(DIRTY) + MIXED)


def _metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """``folds.fold_runs`` of every key at once."""
    code, names = pd.factorize(metrics["metric"])
    value, weight = metrics["value"].to_numpy(dtype=float), metrics["samples"].to_numpy(dtype=float)
    with np.errstate(over="ignore", invalid="ignore"):
        frame = pd.DataFrame(
            {
                "key": metrics["key"].to_numpy(),
                "code": code,
                "value": value,
                "weight": weight,
                "product": value * weight,
            }
        )
        grouped = frame.groupby(["key", "code"], sort=False)
        folded = grouped["value"].agg(["count", "mean", "sum", "max", "last"]).reset_index()
        weights = grouped[["weight", "product"]].sum().reset_index(drop=True)
    metric = np.asarray(names, dtype=object)[folded["code"].to_numpy()]
    rule = pd.Series(metric, dtype=object).map({name: rule_of(name) for name in names})
    chosen = _chosen(rule, folded, weights)
    plain = pd.DataFrame({"key": folded["key"], "metric": metric, "value": chosen, "runs": folded["count"]})
    whole: pd.DataFrame = pd.concat([plain[np.isfinite(chosen)], *_rates(metrics)], ignore_index=True)
    return whole


def _chosen(rule: pd.Series, folded: pd.DataFrame, weights: pd.DataFrame) -> np.ndarray:
    """Of each fold the one that the rule names; NaN where there is no rule."""
    mean = folded["mean"].to_numpy()
    weight = weights["weight"].to_numpy()
    weighted = np.where(weight > 0, weights["product"].to_numpy() / np.where(weight > 0, weight, 1.0), mean)
    by_rule = {
        "sum": folded["sum"].to_numpy(),
        "mean": mean,
        "rounded mean": half_away(mean),
        "weighted mean": weighted,
        "last": folded["last"].to_numpy(),
        "max": folded["max"].to_numpy(),
    }
    chosen: np.ndarray = np.select([(rule == name).to_numpy() for name in by_rule], list(by_rule.values()), np.nan)
    return chosen


def half_away(value: np.ndarray) -> np.ndarray:
    """To whole numbers; a half goes away from zero."""
    whole: np.ndarray = np.sign(value) * np.floor(np.abs(value) + 0.5)
    return whole


def _rates(metrics: pd.DataFrame) -> list[pd.DataFrame]:
    """Every rate, from the sums over the runs that carry both of its parts; none where that is no finite number."""
    parts = {part for rate in RATES.values() for part in (rate.numerator, rate.denominator)}
    mine = metrics[metrics["metric"].isin(parts)]
    if mine.empty:
        return []
    wide = mine.pivot(index=["key", "row"], columns="metric", values="value")
    made: list[pd.DataFrame] = []
    for name, rate in RATES.items():
        if rate.numerator not in wide or rate.denominator not in wide:
            continue
        both = pd.DataFrame({"over": wide[rate.numerator], "under": wide[rate.denominator]}).dropna()
        grouped = both.groupby(level="key", sort=False)
        sums, runs = grouped.sum(), grouped.size()
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = sums["over"].to_numpy() / sums["under"].to_numpy()
        frame = pd.DataFrame({"key": sums.index, "metric": name, "value": value, "runs": runs.to_numpy()})
        made.append(frame[np.isfinite(value)])
    return made
