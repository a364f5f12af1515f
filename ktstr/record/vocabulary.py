"""The words that ktstr.yaml, the guest agent and sidecars share: work types, policies, ops and metrics.

Work types and ops are those of the agent's own tables, made into Python (``record.definitions``). Numbers of policies
are in ``ktstr_program.h``, whose enumerators have these names; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.record.facts import OpFacts as OpFacts
from ktstr.record.facts import WorkFacts as WorkFacts
from ktstr.record.facts import WorkParam as WorkParam
from ktstr.record.op_table import OPS as OPS
from ktstr.record.work_table import WORK_TYPES as WORK_TYPES
from ktstr.record.work_table import WorkType as WorkType

SchedPolicy: TypeAlias = Literal["normal", "batch", "idle", "fifo", "rr"]

US, MS, S = 1_000, 1_000_000, 1_000_000_000  # in ns


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
