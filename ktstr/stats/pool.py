"""A pool: the results of many runs as tables. The public way to it is ``ktstr.stats.load_pool``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ktstr.columns import printable
from ktstr.stats import index as pool_index
from ktstr.stats.scan import Scan, Unreadable, scan_root, scan_run


@dataclass(frozen=True)
class Pool:
    """Sidecars as tables, whose common key is ``row``: the number of a sidecar, in the order of paths.

    ``runs``: a row for each sidecar, by ``row``; ``run`` is its run directory's name, ``path`` the file, ``host`` JSON.
    What is null was not known. ``metrics``: row, metric, value. ``phases``: row, step_index, label, start_ms, end_ms,
    sample_count, cgroup (empty for the whole phase), metric, value. Values are finite; what was not measured has no
    line. ``skipped``: what could not be read, and why.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    phases: pd.DataFrame
    skipped: tuple[Unreadable, ...]

    def wide(self) -> pd.DataFrame:
        """A line for each row and a column for each metric; NaN where it was not measured."""
        wide = self.metrics.pivot(index="row", columns="metric", values="value")
        return wide.reindex(self.runs.index)


def load_pool(root: str | Path, *, archive: bool = False, index: str | Path | None = None) -> Pool:
    """All sidecars in a folder of run directories; a missing one has none.

    A file that cannot be read or is no sidecar of this version is in ``skipped`` and stops nothing. ``archive``: the
    run source of all is ``archive``, whatever they say. ``index``: where to keep what was read, so that the next time
    only new and changed files are; without it ``.state/pool.parquet`` in ``root``, which for an archive is used if
    it is there but not made. An index that cannot be read or written is done without.
    """
    folder = Path(root).absolute()
    own = folder / ".state" / pool_index.FILE
    used = own.is_file() if archive else folder.is_dir()
    place = Path(index) if index is not None else own if used else None
    pool = _pool(scan_root(folder), place)
    if archive:
        pool.runs["run_source"] = pd.Series("archive", index=pool.runs.index, dtype="str")
    return pool


def load_run(folder: str | Path) -> Pool:
    """All sidecars of one run directory and of the folders in it."""
    return _pool(scan_run(Path(folder).absolute()), None)


def _pool(found: Scan, index: Path | None) -> Pool:
    table = pool_index.load(found, index)
    refused = pc.is_valid(table.column("refused"))
    good = table.filter(pc.invert(refused)).combine_chunks()
    bad = table.filter(refused).select(["path", "refused", "message"]).to_pylist()
    invalid = tuple(Unreadable(row["path"], row["refused"], row["message"]) for row in bad)
    return Pool(_runs(good), _nested(good, "metrics"), _nested(good, "phases"), found.unreadable + invalid)


def _runs(table: pa.Table) -> pd.DataFrame:
    nullable = {"vcpus", "cpu_budget", "cleanup_duration_ms", "load_ns"}
    plain = table.select(["path", "run", *pool_index.FACTS])
    columns = {
        name: pd.Series(plain.column(name).to_pandas(types_mapper=_NULLABLE.get if name in nullable else None))
        for name in plain.column_names
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows, name="row"))


_NULLABLE = {pa.int64(): pd.Int64Dtype()}


def _nested(table: pa.Table, name: str) -> pd.DataFrame:
    """The lines of a column of lists, each with the row that it belongs to."""
    lists = table.column(name).combine_chunks()
    lines = pa.Table.from_struct_array(pc.list_flatten(lists))
    frame: pd.DataFrame = lines.to_pandas()
    frame.insert(0, "row", pc.list_parent_indices(lists).to_numpy())
    return frame


def skipped_note(pool: Pool, root: Path) -> str | None:
    """One line for all that could not be read; None when all could."""
    invalid = sum(bad.kind == "invalid" for bad in pool.skipped)
    refused = len(pool.skipped) - invalid
    parts = [f"{invalid} stale sidecar(s)"] if invalid else []
    parts += [f"{refused} unreadable file(s)"] if refused else []
    if not parts:
        return None
    why = "older schema: measure again; stats_explain_sidecar shows detail" if invalid else "see their permissions"
    return printable(f"skipped {' and '.join(parts)} under {root} ({why})")
