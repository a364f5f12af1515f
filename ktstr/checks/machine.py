"""When the machine, not the scheduler, owns a bad number.

A host or an emulator may leave a vCPU unrun. The guest cannot see that as such: its clock goes on
and the task that was current there is charged CPU time in which it did nothing. Two traces remain in
the reports: ``max_gap_off_cpu_ns``, the part of a gap in which the worker was *not* charged, and
``max_stall_ns``, the most CPU time charged between two checkpoints of fixed work (normally
microseconds). From these, a breach of a limit L is Inconclusive instead of Fail when:

1. charged gap      gap > L, off-CPU part of the gap <= L: the kernel believed the worker ran.
2. stalled vCPU     off-CPU part - S <= L, where S is the largest stall that *another* worker
                    recorded on a CPU this worker used: it may have waited behind that stall.
                    Wake latencies likewise: p99 - S <= L, with S of the CPUs the group used.
3. spread           spread - 100 * (A + B) / wall <= L, A the best-off worker's own stall (CPU time it
                    was charged for nothing), B as S for the worst-off one, wall the shorter wall time.
4. charged nothing  no work, yet at least CHARGED_NS of CPU time: its vCPU stood still under it.
5. lost report      a worker did not end in time, and some vCPU stalled at least that long.
6. emulated speed   work per CPU second is the emulator's speed; iterations per second are too when
                    iterations per *CPU* second miss the floor as well.

Stalls below NOISE_NS explain nothing. The rules only ever turn Fail into Inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.checks.formulas import MS, NS
from ktstr.results.record import WorkerReport

EMULATED = frozenset({"icount", "tcg"})
NOISE_NS = 1 * MS
CHARGED_NS = 10 * MS


@dataclass(frozen=True)
class Stall:
    """CPU ``cpu`` charged a worker ``ns`` for work that needs far less: the vCPU was not run."""

    worker: int
    cpu: int
    ns: int


@dataclass(frozen=True)
class Evidence:
    """What one run says about its machine."""

    emulated: bool
    stalls: tuple[Stall, ...] = ()

    def stall_beside(self, report: WorkerReport) -> Stall | None:
        """The largest stall of another worker on a CPU that this one used."""
        cpus = {*report.cpus_used, report.max_gap_cpu}
        return _largest(s for s in self.stalls if s.worker != report.index and s.cpu in cpus)

    def stall_on(self, cpus: Iterable[int]) -> Stall | None:
        """The largest stall on any of these CPUs."""
        wanted = set(cpus)
        return _largest(s for s in self.stalls if s.cpu in wanted)

    def stall_of(self, report: WorkerReport) -> Stall | None:
        return _largest(s for s in self.stalls if s.worker == report.index)

    def longest(self) -> Stall | None:
        return _largest(self.stalls)


def _largest(stalls: Iterable[Stall]) -> Stall | None:
    return max(stalls, key=lambda s: s.ns, default=None)


def evidence(accel: str, reports: Sequence[WorkerReport]) -> Evidence:
    """Collect the stalls worth a word from every worker's report."""
    stalls = tuple(Stall(r.index, r.max_stall_cpu, r.max_stall_ns) for r in reports if r.max_stall_ns >= NOISE_NS)
    return Evidence(accel in EMULATED, stalls)


def _told(stall: Stall) -> str:
    return f"the machine left vCPU {stall.cpu} unrun for up to {stall.ns / MS:.3f} ms"


def explains_gap(machine: Evidence, report: WorkerReport, limit_ns: float) -> str | None:
    """Rules 1 and 2 for one worker's largest gap; the sentence for the user, or None."""
    if report.max_gap_off_cpu_ns <= limit_ns:
        charged = report.max_gap_ns - report.max_gap_off_cpu_ns
        return f"the kernel charged {charged / MS:.3f} ms of it as CPU time: the machine did not run that vCPU"
    stall = machine.stall_beside(report)
    if stall is not None and report.max_gap_off_cpu_ns - stall.ns <= limit_ns:
        return _told(stall)
    return None


def explains_wake(machine: Evidence, cpus: Iterable[int], value_ns: float, limit_ns: float) -> str | None:
    """Rule 2 for a wake latency of workers that used ``cpus``."""
    stall = machine.stall_on(cpus)
    return _told(stall) if stall is not None and value_ns - stall.ns <= limit_ns else None


def explains_spread(
    machine: Evidence, worst: WorkerReport, best: WorkerReport, spread_pct: float, limit_pct: float
) -> str | None:
    """Rule 3 for the workers with the most and the least off-CPU time."""
    found = [s for s in (machine.stall_of(best), machine.stall_beside(worst)) if s is not None]
    wall = min(worst.wall_time_ns, best.wall_time_ns)
    if not found or not wall:
        return None
    if spread_pct - 100 * sum(s.ns for s in found) / wall > limit_pct:
        return None
    return "; ".join(dict.fromkeys(_told(s) for s in found))


def explains_no_work(report: WorkerReport) -> str | None:
    """Rule 4. The schedstat time counts from the worker's loop on, the other one from its fork."""
    charged = report.schedstat_cpu_time_ns if report.schedstat_cpu_time_ns is not None else report.cpu_time_ns
    if charged < CHARGED_NS:
        return None
    return f"it was charged {charged / MS:.3f} ms of CPU time: the machine did not run its vCPU"


def explains_lost_report(machine: Evidence, timeout_ns: int) -> str | None:
    """Rule 5."""
    stall = machine.longest()
    return _told(stall) if stall is not None and stall.ns >= timeout_ns else None


def explains_slow_work(machine: Evidence) -> str | None:
    """Rule 6 for work per CPU second."""
    return "emulated CPUs: work per CPU second is the emulator's speed" if machine.emulated else None


def explains_slow_iterations(machine: Evidence, report: WorkerReport, floor: float) -> str | None:
    """Rule 6 for iterations per second."""
    if not machine.emulated or not report.cpu_time_ns or report.iterations * NS / report.cpu_time_ns >= floor:
        return None
    return "emulated CPUs: the floor is above what one whole emulated CPU does"
