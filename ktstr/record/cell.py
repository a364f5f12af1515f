"""The record of one cell: what the guest reported and how its machine ended.

The record is the measured fact; verdicts and sidecars are computed from it. A number
that was not measured is None. All times are guest nanoseconds unless a name says host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

ExitReason: TypeAlias = Literal[
    "clean",
    "panic",
    "triple_fault",
    "virtual_deadline",
    "host_timeout",
    "channel_lost",
    "channel_garbage",
    "channel_flood",
    "killed",
    "emulator_failed",
]
# Which ends are facts about the kernel or scheduler, and which say nothing about them.
VERDICT_EXITS: frozenset[str] = frozenset({"clean", "panic", "triple_fault", "virtual_deadline"})

SchedEventKind: TypeAlias = Literal[
    "started",
    "spawn_failed",
    "attached",
    "attach_timeout",
    "exited",
    "signaled",
    "evicted",
    "detached",
    "detach_failed",
]


@dataclass(frozen=True)
class SchedEvent:
    """One step in the life of the scheduler under test. ``code`` is an exit status, signal or errno."""

    at_ns: int
    kind: SchedEventKind
    code: int
    text: str


@dataclass(frozen=True)
class GuestCpu:
    """One CPU as the guest's sysfs shows it; ``llc_cpus``/``smt_cpus`` are the shared CPU lists."""

    cpu: int
    node: int
    package: int
    llc_cpus: tuple[int, ...]
    smt_cpus: tuple[int, ...]


@dataclass(frozen=True)
class Migration:
    """A CPU change seen at a checkpoint, offset from the worker's start."""

    at_ns: int
    from_cpu: int
    to_cpu: int


@dataclass(frozen=True)
class WorkerReport:
    """What one worker measured (spec: 22 fields, of which these work types give the ones here).

    ``max_gap_off_cpu_ns``: the part of the largest gap in which the kernel did not charge the worker
    CPU time; the rest of the gap the kernel believed it was running, so the machine, not the
    scheduler, owns it. ``max_stall_ns``/``max_stall_cpu``: the largest CPU time charged between two
    checkpoints of fixed work, and where: how long a vCPU was left unrun.
    ``exit_info`` is None for a report the worker wrote itself.
    """

    index: int
    work_index: int
    cgroup: int
    tid: int
    work_units: int
    iterations: int
    cpu_time_ns: int
    wall_time_ns: int
    migration_count: int
    migrations: tuple[Migration, ...]
    cpus_used: tuple[int, ...]
    max_gap_ns: int
    max_gap_cpu: int
    max_gap_at_ns: int
    max_gap_off_cpu_ns: int
    max_stall_ns: int
    max_stall_cpu: int
    wake_latencies_ns: tuple[int, ...]
    wake_sample_total: int
    schedstat_cpu_time_ns: int | None
    schedstat_run_delay_ns: int | None
    schedstat_run_count: int | None
    completed: bool
    exit_info: str | None = None


@dataclass(frozen=True)
class VcpuReport:
    """Per-vCPU totals over the run, deltas of the guest's /proc/schedstat (cpuN fields 7, 8, 9)."""

    cpu: int
    run_ns: int
    run_delay_ns: int
    timeslices: int


@dataclass(frozen=True)
class Stimulus:
    """A step the agent took, with the workers' cumulative iterations at that moment."""

    at_ns: int
    op: str
    detail: str
    total_iterations: int


@dataclass(frozen=True)
class GuestRecord:
    """Everything the guest sent over the channel, decoded and bounded."""

    kernel_release: str | None = None
    cpus: tuple[GuestCpu, ...] = ()
    node_distances: tuple[tuple[int, ...], ...] = ()
    sched_events: tuple[SchedEvent, ...] = ()
    sched_log: str = ""
    sched_kmsg: str = ""
    workers: tuple[WorkerReport, ...] = ()
    vcpus: tuple[VcpuReport, ...] = ()
    stimuli: tuple[Stimulus, ...] = ()
    errors: tuple[str, ...] = ()
    ended: bool = False
    deadline_hit: bool = False
    end_ns: int | None = None


@dataclass(frozen=True)
class KvmRun:
    """What a guest on KVM took of its host.

    ``vm_stats``, ``vcpu_stats``: KVM's own numbers by name, of the VM and of each vCPU. ``host_run_ns``,
    ``host_wait_ns``: of each vCPU's thread, ran on a host CPU, and was runnable but waited for one.
    ``halt_poll_ns``: how long the host polls before it lets a halted vCPU's thread sleep. ``cpu_budget``: host CPUs
    the vCPUs could use at once; ``overcommit``: vCPUs for each of them. ``cloned``: it began as a copy of a booted
    machine; ``boot_ms``: host time from its start to the agent's first word. ``performance``: what performance mode
    did, None without it.
    """

    vm_stats: dict[str, int]
    vcpu_stats: tuple[dict[str, int], ...]
    host_run_ns: tuple[int, ...]
    host_wait_ns: tuple[int, ...]
    halt_poll_ns: int | None
    cpu_budget: int
    overcommit: float
    cloned: bool
    boot_ms: float | None = None
    performance: dict[str, object] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineEnd:
    """How the machine ended and what it cost the host. ``kvm`` is None unless KVM ran it."""

    reason: ExitReason
    detail: str
    host_seconds: float
    emulator: str
    command: tuple[str, ...]
    cleanup_ms: int | None = None
    host_dilation: float | None = None
    kvm: KvmRun | None = None


@dataclass(frozen=True)
class CellRecord:
    """One cell's measured facts."""

    guest: GuestRecord
    end: MachineEnd
    input_digest: str
    measured_at: str
    measured_commit: str | None
    run_id: str
    host: dict[str, object] = field(default_factory=dict)
