"""The words that ktstr.yaml, the guest agent and sidecars share: work types, policies, ops and metrics, once each.

Numbers of the wire are in ``ktstr_proto.h``, whose enumerators have these names; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

WorkType: TypeAlias = Literal["SpinWait", "YieldHeavy", "Mixed", "Bursty", "PipeIo", "FutexPingPong", "ForkExit"]
SchedPolicy: TypeAlias = Literal["normal", "batch", "idle", "fifo", "rr"]

US, MS, S = 1_000, 1_000_000, 1_000_000_000  # in ns


@dataclass(frozen=True)
class WorkParam:
    """A number that a work type takes: its key in ktstr.yaml, its name in the program, default and bounds (inclusive).

    ``unit``: ns, or none for a count.
    """

    key: str
    name: str
    unit: Literal["ns", ""]
    default: int
    low: int
    high: int
    about: str


@dataclass(frozen=True)
class WorkFacts:
    """What holds for every worker of one type.

    ``group_size``: how many work together, so that a crew is a multiple of it. ``samples_wakes``: its body blocks and
    samples the time around the blocking call. ``params`` are in the agent's order.
    """

    group_size: int = 1
    samples_wakes: bool = False
    params: tuple[WorkParam, ...] = ()


WORK_TYPES: dict[str, WorkFacts] = {
    "SpinWait": WorkFacts(),
    "YieldHeavy": WorkFacts(),
    "Mixed": WorkFacts(),
    "Bursty": WorkFacts(
        samples_wakes=True,
        params=(
            WorkParam("burst", "burst_ns", "ns", 50 * MS, US, 3600 * S, "length of a burst"),
            WorkParam("sleep", "sleep_ns", "ns", 100 * MS, US, 3600 * S, "sleep between bursts"),
        ),
    ),
    "PipeIo": WorkFacts(
        group_size=2,
        samples_wakes=True,
        params=(WorkParam("burst_iters", "burst_iters", "", 1024, 0, 2**31, "spins before each exchange"),),
    ),
    "FutexPingPong": WorkFacts(
        group_size=2,
        samples_wakes=True,
        params=(WorkParam("spin_iters", "spin_iters", "", 1024, 0, 2**31, "spins before each wake"),),
    ),
    "ForkExit": WorkFacts(samples_wakes=True),
}
DEFAULT_WORK_TYPE: WorkType = "SpinWait"
RENAMED_WORK_TYPES: dict[str, str] = {"CpuSpin": "SpinWait"}


@dataclass(frozen=True)
class PolicyFacts:
    """What holds for tasks under a scheduling policy: whether it has a real-time priority, or a nice value."""

    has_priority: bool = False
    has_nice: bool = False


POLICIES: dict[str, PolicyFacts] = {
    "normal": PolicyFacts(has_nice=True),
    "batch": PolicyFacts(has_nice=True),
    "idle": PolicyFacts(),
    "fifo": PolicyFacts(has_priority=True),
    "rr": PolicyFacts(has_priority=True),
}
MAX_PRIORITY = 98  # of a worker; 99 is the agent's own

OPS: dict[str, str] = {
    "StartScheduler": "start the scheduler binary and await its attach",
    "StopScheduler": "ask the scheduler to end and verify that it detached",
    "AddCgroup": "create a cgroup, with or without a cpuset",
    "Spawn": "fork workers of one kind, blocked, into a cgroup",
    "Release": "let every blocked worker begin",
    "Hold": "let the workload run",
    "Delay": "a perturbation: the agent sleeps before the next op",
    "StopWorkers": "stop every worker and send their reports",
    "RemoveCgroups": "drain and remove every cgroup",
}

# Metrics by name, with their units: those of a run's ``ext_metrics``, then those of its phases, which are there too.
RUN_METRICS: dict[str, str] = {
    "iterations_per_cpu_sec": "iterations/CPU s",
    "total_cpu_time_sec": "CPU s",
    "total_iterations_pooled": "iterations",
    "worst_iterations_per_cpu_sec": "iterations/CPU s",
    "worst_iterations_per_worker": "iterations",
    "worst_mean_run_delay_us": "us",
    "worst_median_wake_latency_us": "us",
    "worst_p99_wake_latency_us": "us",
    "worst_run_delay_us": "us",
    "worst_wake_latency_cv": "",
    "worst_wake_latency_tail_ratio": "",
}
PHASE_METRICS: dict[str, str] = {
    "iteration_rate": "iterations/s",
    "total_phase_duration_sec": "s",
    "total_phase_iterations": "iterations",
}
