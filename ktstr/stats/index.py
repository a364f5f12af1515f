"""The index of a pool: what each file said when it was last read, in one Parquet file.

A row per file, with its size and time of change, so that only new and changed files are read again. The index only
saves time: it is made anew when it is missing, damaged, unwritable or of other code, and whoever writes it last wins.
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import astuple

import ktstr.record
from ktstr.errors import InputError
from ktstr.files import SIDECAR_CAP, staged
from ktstr.record.sidecar import Sidecar
from ktstr.results import sidecar as sidecar_file
from ktstr.stats import frames, scan
from ktstr.stats.scan import FoundFile, Scan, Unreadable

FILE = "pool.parquet"
RACY_NS = 100_000_000  # a file changed later than this before it was read may change again within the clock's tick

_TEXT, _COUNT, _SEED, _FLAG = pa.string(), pa.int64(), pa.uint64(), pa.bool_()
_NOT_TEXT = {
    "seed": _SEED, "vcpus": _COUNT, "cpu_budget": _COUNT, "expected_failure": _FLAG, "cleanup_duration_ms": _COUNT,
    "load_ns": _COUNT, "performance_mode": _FLAG, "sample_count": _COUNT, "overcommitted": _FLAG,
}  # fmt: skip
_COLUMNS = (
    "test_name", "topology", "preset", "scheduler", "resolve_source", "project_commit", "measured_commit", "payload",
    "work_type", "kernel_version", "kernel_label", "kernel_commit", "run_source", "accel", "seed", "emulator",
    "origin_kind", "ram_digest", "input_digest", "vcpus", "cpu_budget", "throughput_denomination", "verdict",
    "expected_failure", "timestamp", "run_id", "cleanup_duration_ms", "load_ns", "host_class", "arch",
    "performance_mode", "sample_count", "sysctls", "kargs", "host", "overcommitted",
)  # fmt: skip
FACTS = {name: _NOT_TEXT.get(name, _TEXT) for name in _COLUMNS}
METRIC = pa.struct([("metric", _TEXT), ("value", pa.float64())])
PHASE = pa.struct(
    [
        ("step_index", pa.int32()),
        ("label", _TEXT),
        ("start_ms", _COUNT),
        ("end_ms", _COUNT),
        ("sample_count", _COUNT),
        ("cgroup", _TEXT),
        ("metric", _TEXT),
        ("value", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("path", _TEXT),
        ("run", _TEXT),
        ("size", _COUNT),
        ("mtime_ns", _COUNT),
        ("refused", _TEXT),  # io or invalid; null for a sidecar
        ("message", _TEXT),
        *FACTS.items(),
        ("metrics", pa.list_(METRIC)),
        ("phases", pa.list_(PHASE)),
    ]
)
_VERSION = b"ktstr pool"


@functools.cache
def version() -> str:
    """What makes two indexes say the same of a file: the code that turns sidecars into rows."""
    record = Path(next(iter(ktstr.record.__path__)))
    modules = [*sorted(record.glob("*.py")), *(Path(str(m.__file__)) for m in (sidecar_file, frames, scan))]
    digest = hashlib.sha256()
    for path in (*modules, Path(__file__)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def load(found: Scan, index: Path | None) -> pa.Table:
    """The row of every file, in the scan's order; ``index`` is read and, when anything has changed, written."""
    before = time.time_ns()
    old = SCHEMA.empty_table() if index is None else _read(index)
    places = _places(old)
    kept = [places.get((file.path, file.size, file.mtime_ns)) for file in found.files]
    fresh = [file for file, place in zip(found.files, kept, strict=True) if place is None]
    if not fresh and len(found.files) == old.num_rows:
        return old
    new = read_files(fresh)
    table = pa.concat_tables([old, new])
    numbers = iter(range(old.num_rows, table.num_rows))
    table = table.take(pa.array([next(numbers) if place is None else place for place in kept], pa.int64()))
    if index is not None:
        _write(table.filter(_settled(table, before)), index)
    return table.combine_chunks()


def _places(table: pa.Table) -> dict[tuple[str, int, int], int]:
    columns = (table.column(name).to_pylist() for name in ("path", "size", "mtime_ns"))
    return {key: place for place, key in enumerate(zip(*columns, strict=True))}


def _settled(table: pa.Table, before: int) -> pa.Array:
    """Which rows will hold until size or time of change tell otherwise."""
    times, refused = table.column("mtime_ns").to_pylist(), table.column("refused").to_pylist()
    return pa.array([t < before - RACY_NS and why != "io" for t, why in zip(times, refused, strict=True)], _FLAG)


def _read(index: Path) -> pa.Table:
    """The rows of an index of this code; no row when there is none that can be read."""
    try:
        table = pq.read_table(index, use_threads=False, page_checksum_verification=True)
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException):
        return SCHEMA.empty_table()
    stamp = (table.schema.metadata or {}).get(_VERSION)
    ours = stamp == version().encode() and table.schema.equals(SCHEMA)
    return table.replace_schema_metadata(None) if ours else SCHEMA.empty_table()


def _write(table: pa.Table, index: Path) -> None:
    """Put the index in place whole. Where it cannot be written there is none, which costs time and nothing else."""
    try:
        with staged(index) as temp:
            stamped = table.replace_schema_metadata({_VERSION: version().encode()})
            pq.write_table(stamped, temp, compression="zstd", write_page_checksum=True)
    except OSError:
        return


def read_files(files: Iterable[FoundFile]) -> pa.Table:
    """A row for each file, read now."""
    rows = _Rows()
    for file in files:
        rows.add(file)
    return rows.table()


def _read_sidecar(file: FoundFile) -> Sidecar | Unreadable:
    if file.size == 0:
        return Unreadable(file.path, "invalid", "is empty")
    try:
        with open(file.path, "rb", opener=_not_waiting) as opened:
            data = opened.read(SIDECAR_CAP + 1)  # one too many is found by the parser
        return sidecar_file.parse_sidecar(data, file.path)
    except OSError as err:
        return Unreadable(file.path, "io", f"cannot be read: {err.strerror or err}")
    except InputError as err:
        return Unreadable(file.path, "invalid", err.message.removeprefix(file.path).lstrip(": "))


def _not_waiting(path: str, flags: int) -> int:
    """A pipe that took a file's place does not hold everything up."""
    return os.open(path, flags | os.O_NONBLOCK)


class _Rows:
    """Columns of rows that are read one after the other."""

    def __init__(self) -> None:
        self._plain: dict[str, list[object]] = {name: [] for name in SCHEMA.names if name not in ("metrics", "phases")}
        self._metrics: dict[str, list[object]] = {field.name: [] for field in METRIC}
        self._phases: dict[str, list[object]] = {field.name: [] for field in PHASE}
        self._metric_ends, self._phase_ends = [0], [0]

    def add(self, file: FoundFile) -> None:
        found = _read_sidecar(file)
        facts: dict[str, object] = {"path": file.path, "run": file.run, "size": file.size, "mtime_ns": file.mtime_ns}
        if isinstance(found, Unreadable):
            facts |= {"refused": found.kind, "message": found.message}
        else:
            facts |= frames.run_facts(found)
            metrics = frames.run_metrics(found)
            self._metrics["metric"] += metrics.keys()
            self._metrics["value"] += metrics.values()
            lines = map(astuple, frames.phase_values(found))
            for column, values in zip(self._phases.values(), zip(*lines, strict=True), strict=False):
                column += values
        for name, column in self._plain.items():
            column.append(facts.get(name))
        self._metric_ends.append(len(self._metrics["metric"]))
        self._phase_ends.append(len(self._phases["metric"]))

    def table(self) -> pa.Table:
        plain = [pa.array(column, SCHEMA.field(name).type) for name, column in self._plain.items()]
        metrics = _lists(self._metrics, METRIC, self._metric_ends)
        return pa.table([*plain, metrics, _lists(self._phases, PHASE, self._phase_ends)], schema=SCHEMA)


def _lists(columns: dict[str, list[object]], kind: pa.StructType, ends: Sequence[int]) -> pa.ListArray:
    arrays = [pa.array(columns[field.name], field.type) for field in kind]
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.StructArray.from_arrays(arrays, fields=list(kind)))
