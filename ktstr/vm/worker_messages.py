"""Worker reports out of their messages: a report, then its migrations, samples and pages."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ktstr.record.guest import Migration, WorkerReport
from ktstr.vm import parts
from ktstr.vm.parts import Bad
from ktstr.vm.protocol import lib


@dataclass
class _Worker:
    """A report, and what is still to come for it."""

    report: WorkerReport
    migrations_due: int
    samples_due: dict[int, int]  # by series
    migrations: list[Migration] = field(default_factory=list)
    samples: dict[int, list[int]] = field(default_factory=dict)
    pages: tuple[int, ...] | None = None  # by node
    pages_migrated: int | None = None

    def whole(self) -> WorkerReport:
        return replace(
            self.report,
            migrations=tuple(self.migrations),
            wake_latencies_ns=tuple(self.samples.get(lib.KTSTR_SERIES_WAKES, ())),
            request_latencies_ns=self._requests(),
            numa_pages=self.pages,
            numa_pages_migrated=self.pages_migrated,
        )

    def _requests(self) -> tuple[int, ...] | None:
        requests = self.samples.get(lib.KTSTR_SERIES_REQUESTS)
        return None if requests is None else tuple(requests)


class WorkerMessages:
    """Payloads in, in order; the reports so far out at any time. A worker reports once for each time it was spawned."""

    def __init__(self) -> None:
        self._workers: dict[tuple[int, int], _Worker] = {}  # by index and spawn
        self._latest: dict[int, _Worker] = {}
        self.readers: dict[int, Callable[[bytes], None]] = {
            lib.KTSTR_MSG_WORKER: self._worker,
            lib.KTSTR_MSG_MIGRATIONS: self._migrations,
            lib.KTSTR_MSG_SAMPLES: self._samples,
            lib.KTSTR_MSG_PAGES: self._pages,
        }

    def reports(self) -> tuple[WorkerReport, ...]:
        """By worker and spawn."""
        return tuple(self._workers[key].whole() for key in sorted(self._workers))

    def unfinished(self) -> int | None:
        """A worker that announced more than came; None when there is none."""
        return next((n for (n, _), w in self._workers.items() if w.migrations_due or any(w.samples_due.values())), None)

    def _worker(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_worker", payload)
        index = parts.below("worker", msg.index, lib.KTSTR_MAX_WORKERS)
        if (index, msg.spawn) in self._workers:
            raise Bad(f"second report of worker {index}, spawned {msg.spawn} times before,")
        samples = max(msg.samples_stored, msg.requests_stored)
        if samples > lib.KTSTR_MAX_SAMPLES or msg.migrations_stored > lib.KTSTR_MAX_MIGRATIONS:
            raise Bad(f"worker {index} with {samples} samples, {msg.migrations_stored} migrations")
        parts.room("worker reports", self._workers, lib.KTSTR_MAX_REPORTS)
        due = {lib.KTSTR_SERIES_WAKES: msg.samples_stored, lib.KTSTR_SERIES_REQUESTS: msg.requests_stored}
        worker = _Worker(_report(msg), msg.migrations_stored, due)
        self._workers[index, msg.spawn] = self._latest[index] = worker

    def _migrations(self, payload: bytes) -> None:
        head, items = parts.struct_and_array("struct ktstr_msg_migrations", "struct ktstr_migration", payload)
        worker = self._latest.get(head.worker)
        if worker is None or len(items) > worker.migrations_due:
            raise Bad(f"{len(items)} migrations of worker {head.worker}, which announced fewer")
        worker.migrations_due -= len(items)
        cpu = parts.cpu_number
        worker.migrations += [Migration(m.at_ns, cpu(m.from_cpu), cpu(m.to_cpu)) for m in items]

    def _samples(self, payload: bytes) -> None:
        head, items = parts.struct_and_array("struct ktstr_msg_samples", "uint64_t", payload)
        worker = self._latest.get(head.worker)
        if worker is None or len(items) > worker.samples_due.get(head.series, 0):
            raise Bad(f"{len(items)} samples of worker {head.worker}, which announced fewer of series {head.series},")
        worker.samples_due[head.series] -= len(items)
        worker.samples.setdefault(head.series, []).extend(items)

    def _pages(self, payload: bytes) -> None:
        head, items = parts.struct_and_array("struct ktstr_msg_pages", "uint64_t", payload)
        worker = self._latest.get(head.worker)
        if worker is None or worker.pages is not None:
            raise Bad(f"pages of worker {head.worker}, expected once after its report")
        if len(items) > lib.KTSTR_MAX_NODES:
            raise Bad(f"pages of {len(items)} nodes, expected at most {lib.KTSTR_MAX_NODES},")
        worker.pages = tuple(items)
        worker.pages_migrated = None if head.migrated == lib.KTSTR_UNKNOWN_MIGRATED else head.migrated


def _exit_info(kind: int, code: int) -> str | None:
    if kind == lib.KTSTR_EXIT_NONE:
        return None
    if kind == lib.KTSTR_EXIT_EXITED:
        return f"Exited({code})"
    if kind == lib.KTSTR_EXIT_SIGNALED:
        return f"Signaled({code})"
    if kind == lib.KTSTR_EXIT_TIMED_OUT:
        return "TimedOut"
    if kind == lib.KTSTR_EXIT_WAIT_FAILED:
        return f"WaitFailed({errno.errorcode.get(code, code)})"
    raise Bad(f"worker exit of unknown kind {kind}")


def _report(msg: Any) -> WorkerReport:
    """The report without its migrations and samples, which follow in frames of their own."""
    measured = bool(msg.has_schedstat)
    return WorkerReport(
        index=msg.index,
        work_index=parts.below("work", msg.work, lib.KTSTR_MAX_WORKS),
        cgroup=-1 if msg.cgroup == -1 else parts.below("cgroup", msg.cgroup, lib.KTSTR_MAX_CGROUPS),
        tid=msg.tid,
        work_units=msg.work_units,
        iterations=msg.iterations,
        cpu_time_ns=msg.cpu_time_ns,
        wall_time_ns=msg.wall_time_ns,
        migration_count=msg.migration_count,
        migrations=(),
        cpus_used=parts.mask_cpus(msg.cpus_used),
        max_gap_ns=msg.max_gap_ns,
        max_gap_cpu=parts.cpu_number(msg.max_gap_cpu),
        max_gap_at_ns=msg.max_gap_at_ns,
        max_gap_off_cpu_ns=msg.max_gap_off_cpu_ns,
        max_stall_ns=msg.max_stall_ns,
        max_stall_cpu=parts.cpu_number(msg.max_stall_cpu),
        wake_latencies_ns=(),
        wake_sample_total=msg.wake_sample_total,
        schedstat_cpu_time_ns=msg.schedstat_cpu_time_ns if measured else None,
        schedstat_run_delay_ns=msg.schedstat_run_delay_ns if measured else None,
        schedstat_run_count=msg.schedstat_run_count if measured else None,
        completed=bool(msg.completed),
        exit_info=_exit_info(msg.exit_kind, msg.exit_code),
        spawn=msg.spawn,
        open_wait_ns=msg.open_wait_ns,
        measuring_calls=msg.measuring_calls,
        request_sample_total=msg.request_sample_total or None,
        counted=tuple(msg.counts),
        place=msg.place,
    )
