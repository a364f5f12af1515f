"""When the machine, not the scheduler, owns a bad number.

A host or an emulator may leave a vCPU unrun. The guest cannot see that as such: its clock goes on
and the task that was current there is charged CPU time in which it did nothing. Two traces remain in
the reports: ``max_gap_off_cpu_ns``, the part of a gap in which the worker was *not* charged, and
``max_stall_ns``, the most CPU time charged between two looks at the clock, with fixed work between (normally
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

On KVM the host itself counts how long each vCPU's thread was runnable and waited for a host CPU (run delay of its
schedstat: what a guest is told as steal time, arch/x86/kvm/x86.c, record_steal_time). When in the run is not known,
and a vCPU that does not run can hold up workers on all others (locks, IPIs, one CPU that dispatches for all), so W, the
longest total of one vCPU, is the most that the host can have added to any one delay. A breach is Inconclusive when:

7. waiting vCPU     off-CPU part of the gap - W <= L; spread - 100 * W / wall <= L; no work in a wall time <= W;
                    iterations / (wall - W) >= the floor; a timeout of the guest that is <= W.
8. waiting wakers   p99 - W <= L, and what all samples up to the p99 exceed L by is at most W for each worker, which
                    is all that it can have lost. A CV holds once the largest samples are lowered by as much in total.

Stalls and waits below NOISE_NS explain nothing. The rules only ever turn Fail into Inconclusive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktstr.checks import formulas
from ktstr.checks.formulas import MS, NS, Samples
from ktstr.record.guest import WorkerReport
from ktstr.record.machine import KvmRun

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
class Wait:
    """vCPU ``cpu`` of ``vcpus`` waited ``ns`` in all for one of the host's ``budget`` CPUs: longer than any other."""

    cpu: int
    ns: int
    vcpus: int
    budget: int


@dataclass(frozen=True)
class Evidence:
    """What one run says about its machine."""

    emulated: bool
    stalls: tuple[Stall, ...] = ()
    wait: Wait | None = None

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


def evidence(accel: str, reports: Sequence[WorkerReport], kvm: KvmRun | None = None) -> Evidence:
    """Collect the stalls worth a word from every worker's report, and the longest wait from what KVM's host counted."""
    stalls = tuple(Stall(r.index, r.max_stall_cpu, r.max_stall_ns) for r in reports if r.max_stall_ns >= NOISE_NS)
    return Evidence(accel in EMULATED, stalls, None if kvm is None else _longest_wait(kvm))


def _longest_wait(kvm: KvmRun) -> Wait | None:
    waits = kvm.host_wait_ns
    cpu = max(range(len(waits)), key=lambda cpu: waits[cpu], default=None)
    if cpu is None or waits[cpu] < NOISE_NS:
        return None
    return Wait(cpu, waits[cpu], len(waits), kvm.cpu_budget)


def left_unrun(stall: Stall) -> str:
    """The sentence about a stall."""
    return f"the machine left vCPU {stall.cpu} unrun for up to {stall.ns / MS:.3f} ms"


def explains_delay(machine: Evidence, excess_ns: float) -> str | None:
    """Whether vCPUs waited for host CPUs for so long (rule 7); the sentence for the user, or None."""
    wait = machine.wait
    if wait is None or wait.ns < excess_ns:
        return None
    return (
        f"vCPU {wait.cpu} waited {wait.ns / MS:.3f} ms for a host CPU in this run ({wait.vcpus} vCPUs on {wait.budget}"
        f" host CPUs), and {excess_ns / MS:.3f} ms explain it"
    )


def explains_gap(machine: Evidence, report: WorkerReport, limit_ns: float) -> str | None:
    """Rules 1, 2 and 7 for one worker's largest gap; the sentence for the user, or None."""
    if report.max_gap_off_cpu_ns <= limit_ns:
        charged = report.max_gap_ns - report.max_gap_off_cpu_ns
        return f"the kernel charged {charged / MS:.3f} ms of it as CPU time: the machine did not run that vCPU"
    return explains_wait(machine, report, report.max_gap_off_cpu_ns, limit_ns)


def explains_wait(machine: Evidence, report: WorkerReport, off_cpu_ns: int, limit_ns: float) -> str | None:
    """Rules 2 and 7 for so long a time that a worker was off CPU."""
    stall = machine.stall_beside(report)
    if stall is not None and off_cpu_ns - stall.ns <= limit_ns:
        return left_unrun(stall)
    return explains_delay(machine, off_cpu_ns - limit_ns)


def explains_wake(machine: Evidence, reports: Sequence[WorkerReport], samples: Samples, limit_ns: float) -> str | None:
    """Rules 2 and 8 for the p99 of these workers' wake latencies."""
    value = formulas.nearest_rank(samples, 99)
    if value is None:
        return None
    stall = machine.stall_on(cpus_used(reports))
    if stall is not None and value - stall.ns <= limit_ns:
        return left_unrun(stall)
    each = _excess(samples, 99, limit_ns) / max(1, len(reports))
    return explains_delay(machine, max(value - limit_ns, each))


def cpus_used(reports: Iterable[WorkerReport]) -> set[int]:
    return {cpu for report in reports for cpu in report.cpus_used}


def _excess(samples: Samples, percent: int, limit_ns: float) -> float:
    """What the samples up to the percentile exceed the limit by, in all; those above it may be as long as they are."""
    need = math.fsum(samples.weights) * percent / 100
    excess = seen = 0.0
    for value, weight in zip(samples.values, samples.weights, strict=True):
        if seen >= need:
            break
        excess += min(weight, need - seen) * max(0.0, value - limit_ns)
        seen += weight
    return excess


def explains_wake_cv(machine: Evidence, reports: Sequence[WorkerReport], samples: Samples, limit: float) -> str | None:
    """Rules 2 and 8 for a CV. Rule 2 holds once the samples that can contain the largest stall are shortened by it."""
    stall = machine.stall_on(cpus_used(reports))
    if stall is not None:
        shortened = [v - stall.ns if v >= stall.ns else v for v in samples.values]
        if _holds(shortened, samples, limit):
            return left_unrun(stall)
    wait = machine.wait
    if wait is None or not _holds(_lowered(samples, wait.ns * len(reports)), samples, limit):
        return None
    return explains_delay(machine, wait.ns)


def _holds(values: Sequence[float], samples: Samples, limit: float) -> bool:
    cv = formulas.cv(values, samples.weights)
    return cv is not None and cv <= limit


def _lowered(samples: Samples, budget: float) -> list[float]:
    """The largest samples brought down to one level, so that all lose ``budget`` together."""
    values, weights = samples.values, samples.weights
    above = 0.0
    for i in range(len(values) - 1, 0, -1):
        above += weights[i]
        cost = above * (values[i] - values[i - 1])
        if cost > budget:
            return [min(float(value), values[i] - budget / above) for value in values]
        budget -= cost
    return [float(values[0])] * len(values) if values else []


def explains_spread(
    machine: Evidence, worst: WorkerReport, best: WorkerReport, spread_pct: float, limit_pct: float
) -> str | None:
    """Rules 3 and 7 for the workers with the most and the least off-CPU time."""
    stalls = [s for s in (machine.stall_of(best), machine.stall_beside(worst)) if s is not None]
    wall = min(worst.wall_time_ns, best.wall_time_ns)
    if not wall:
        return None
    if stalls and spread_pct - 100 * sum(s.ns for s in stalls) / wall <= limit_pct:
        return "; ".join(dict.fromkeys(left_unrun(s) for s in stalls))
    return explains_delay(machine, (spread_pct - limit_pct) / 100 * wall)


def explains_no_work(machine: Evidence, report: WorkerReport) -> str | None:
    """Rules 4 and 7. The schedstat time counts from the worker's loop on, the other one from its fork."""
    charged = report.schedstat_cpu_time_ns if report.schedstat_cpu_time_ns is not None else report.cpu_time_ns
    excuse = explains_charge(charged)
    return excuse or (explains_delay(machine, report.wall_time_ns) if report.wall_time_ns else None)


def explains_charge(charged_ns: int) -> str | None:
    """Rule 4."""
    if charged_ns < CHARGED_NS:
        return None
    return f"it was charged {charged_ns / MS:.3f} ms of CPU time: the machine did not run its vCPU"


def explains_lost_report(machine: Evidence, timeout_ns: int) -> str | None:
    """Rules 5 and 7."""
    stall = machine.longest()
    if stall is not None and stall.ns >= timeout_ns:
        return left_unrun(stall)
    return explains_delay(machine, timeout_ns)


def explains_slow_work(machine: Evidence) -> str | None:
    """Rule 6 for work per CPU second."""
    return "emulated CPUs: work per CPU second is the emulator's speed" if machine.emulated else None


def explains_slow_iterations(machine: Evidence, report: WorkerReport, floor: float) -> str | None:
    """Rules 6 and 7 for iterations per second."""
    return explains_slowness(machine, Done(report.iterations, report.cpu_time_ns, report.wall_time_ns), floor)


@dataclass(frozen=True)
class Done:
    """What was done in how much CPU time and wall time; ``cpus``: on how many CPUs at most."""

    amount: int
    cpu_ns: int
    wall_ns: int
    cpus: int = 1


def explains_slowness(machine: Evidence, done: Done, floor: float) -> str | None:
    """Rules 6 and 7 for so much by second of wall time."""
    if not machine.emulated:
        return explains_delay(machine, done.wall_ns - done.amount * NS / floor)
    if not done.cpu_ns or done.cpus * done.amount * NS / done.cpu_ns >= floor:
        return None
    what = "one whole emulated CPU does" if done.cpus == 1 else f"{done.cpus} whole emulated CPUs do"
    return f"emulated CPUs: the floor is above what {what}"
