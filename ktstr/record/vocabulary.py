"""The words that ktstr.yaml, the guest agent and sidecars share: work types, policies and ops.

Work types and ops are those of the agent's own tables, made into Python (``record.definitions``). Numbers of policies
are in ``ktstr_program.h``, whose enumerators have these names; a test compares the two. Metrics: ``record.metrics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.record.facts import OpFacts as OpFacts
from ktstr.record.facts import WorkCount as WorkCount
from ktstr.record.facts import WorkFacts as WorkFacts
from ktstr.record.facts import WorkParam as WorkParam
from ktstr.record.op_table import OPS as OPS
from ktstr.record.work_table import WORK_TYPES as WORK_TYPES
from ktstr.record.work_table import WorkType as WorkType

SchedPolicy: TypeAlias = Literal["normal", "batch", "idle", "fifo", "rr", "deadline", "ext"]

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
    "deadline": PolicyFacts(),
    "ext": PolicyFacts(has_nice=True),
}
MAX_PRIORITY = 98  # of a worker; 99 is the agent's own

# Why sched_ext let go of a scheduler (enum scx_exit_kind), and what its log calls it (scx_exit_reason of
# kernel/sched/ext.c; in 7.x kernel/sched/ext/ext.c). 6.12 has all but "parent".
EXIT_KINDS: dict[str, str] = {
    "unreg": "unregistered from user space",
    "unreg_bpf": "unregistered from BPF",
    "unreg_kern": "unregistered from the main kernel",
    "sysrq": "disabled by sysrq-S",
    "parent": "parent exiting",
    "error": "runtime error",
    "error_bpf": "scx_bpf_error",
    "error_stall": "runnable task stall",
}
