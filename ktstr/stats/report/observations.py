"""Values for the history of metrics: from the runs of a pool, and commits in the order of the project's git."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path

from ktstr.record.metrics import METRICS
from ktstr.stats.pool import Pool
from ktstr.stats.report.cells import GroupKey
from ktstr.stats.report.history import Observation

COMMITS = 20_000  # of the project, at most
_KEY = ("test_name", "preset", "kernel_label", "scheduler", "accel")


def observations(pool: Pool, scenarios: Collection[GroupKey]) -> list[Observation]:
    """The metrics that people read, of all runs that passed and are of one of these scenarios and a known commit."""
    names = {key: key.name for key in scenarios}
    runs = pool.runs[(pool.runs["verdict"] == "pass") & pool.runs["project_commit"].notna()]
    wanted = {}
    for row, *key in runs[list(_KEY)].itertuples():
        if all(isinstance(part, str) for part in key) and (name := names.get(GroupKey(*key))) is not None:
            wanted[row] = name
    shown = [name for name, metric in METRICS.items() if metric.rendered and metric.polarity != "Informational"]
    values = pool.metrics[pool.metrics["row"].isin(list(wanted)) & pool.metrics["metric"].isin(shown)]
    commits, times = runs["project_commit"], runs["timestamp"]
    return [
        Observation(wanted[row], metric, commits[row], times[row], value)
        for row, metric, value in values[["row", "metric", "value"]].itertuples(index=False)
    ]


def commit_order(start: Path) -> Mapping[str, int]:
    """The place of each commit of the project around ``start``, by its first 7 digits, oldest first; empty without
    a repository or where it cannot be read."""
    import pygit2
    from pygit2.enums import SortMode

    try:
        found = pygit2.discover_repository(str(start))
        if found is None:
            return {}
        repository = pygit2.Repository(found)
        newest_first = islice(repository.walk(repository.head.target, SortMode.TOPOLOGICAL), COMMITS)
        names = [str(commit.id)[:7] for commit in newest_first]
    except (pygit2.GitError, KeyError, ValueError):
        return {}
    return {name: at for at, name in enumerate(reversed(names))}


def change_indexes(medians: Sequence[float]) -> list[int]:
    """The places at which a series of medians, one for each commit, begins a new level."""
    import numpy as np

    from ktstr.stats.inference.changepoints import change_points

    return [change.index for change in change_points(np.asarray(medians, dtype=float))]
