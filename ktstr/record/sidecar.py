"""A sidecar (``*.ktstr.json``): one JSON object per cell, the fact that verdicts and reports rest on.

Every key but ``host_dilation`` and ``release`` is always written: null where nothing was measured, ``[]`` or ``{}``
where there was nothing to list. A file that lacks a key is refused, so no field here has a default, but for those that
are left out when they are absent (UNSET). The order of fields is the order in the file.
``schemas/sidecar.schema.json`` is made from these types (``record.sidecar_schema``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from ktstr.record.guest import SchedEvent, VcpuReport, WorkerSummary
from ktstr.record.host import Host
from ktstr.record.inputs import InputDigests
from ktstr.record.machine import Origin, PerformanceMode
from ktstr.record.metric import Polarity
from ktstr.record.numbers import Count, NotNegative, Number
from ktstr.record.outcome import ReasonKind, ReasonVerdict
from ktstr.record.statistics import PhaseIndex, ScenarioStats

Commit: TypeAlias = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
TopologyLabel: TypeAlias = Annotated[
    str, Meta(pattern="^[1-9][0-9]*n[1-9][0-9]*l[1-9][0-9]*c[1-9][0-9]*t(:[0-9+@/]+)?(~[0-9+-]+)?$")
]
Timestamp: TypeAlias = Annotated[
    str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$")
]
RunId: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{8}T[0-9]{6}Z-[0-9]+$")]
InputDigest: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{16,128}$")]
ResolveSource: TypeAlias = Literal[
    "path", "env_var", "path_lookup", "sibling_dir", "target_debug", "target_release", "auto_built", "not_found"
]
RunSource: TypeAlias = Literal["local", "ci", "archive"]
Accel: TypeAlias = Literal["kvm", "icount", "tcg"]


class TargetValue(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric that is best at one value."""

    TargetValue: Number


TRUNCATED = "__walk_json_leaves_truncated"  # a payload's metric that says that its output was nested too deeply


class PayloadMetric(Struct, frozen=True, forbid_unknown_fields=True):
    """A number that a payload printed."""

    name: str
    value: Number
    polarity: Polarity | TargetValue
    unit: str
    source: Literal["Json", "LlmExtract", "Text"]
    stream: Literal["Stdout", "Stderr", "Synthesized"]


class PayloadMetrics(Struct, frozen=True, forbid_unknown_fields=True):
    """What one payload printed and how it ended. ``exit_code``: -1 for a signal, null when it was ended for it."""

    payload_index: Count
    exit_code: int | None
    metrics: tuple[PayloadMetric, ...]
    name: str | None = None


class EventDeltas(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What sched_ext's event counters grew by."""

    total_fallback: int
    max_fallback_burst: int
    total_dispatch_offline: int
    total_dispatch_keep_last: int
    total_enq_skip_exiting: int
    total_enq_skip_migration_disabled: int
    total_reenq_immed: int
    total_reenq_local_repeat: int
    total_refill_slice_dfl: int
    total_bypass_duration: int
    total_bypass_dispatch: int
    total_bypass_activate: int
    total_insert_not_owned: int
    total_sub_bypass_dispatch: int
    fallback_rate: Number
    keep_last_rate: Number


class SchedstatDeltas(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What /proc/schedstat grew by, summed over CPUs."""

    total_run_delay: Count
    total_pcount: Count
    total_sched_count: Count
    total_yld_count: Count
    total_sched_goidle: Count
    total_ttwu_count: Count
    total_ttwu_local: Count
    run_delay_rate: Number
    sched_count_rate: Number
    wall_sec: Number | UnsetType = UNSET


class ProgStats(Struct, frozen=True, forbid_unknown_fields=True):
    """Calls and time of one BPF program."""

    name: str
    cnt: Count
    nsecs: Count
    nsecs_per_call: Number


class Monitor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the runqueue monitor saw."""

    total_samples: Count
    max_imbalance_ratio: Number
    max_local_dsq_depth: Count
    stuck_count: Count
    avg_imbalance_ratio: Number
    avg_nr_running: Number
    avg_local_dsq_depth: Number
    avg_irq_util: Number | None
    max_avg_irq_util: Number | None
    psi_irq_full_avg10: Number | None
    total_irq_pressure_us: Number | None
    event_deltas: EventDeltas | UnsetType = UNSET
    schedstat_deltas: SchedstatDeltas | UnsetType = UNSET
    prog_stats_deltas: tuple[ProgStats, ...] | UnsetType = UNSET


class StimulusEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """A step the agent took."""

    elapsed_ms: Count
    label: str
    op_kind: str | None
    detail: str | None
    total_iterations: Count | None


class VerifierStats(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of one BPF program the verifier walked."""

    name: str
    verified_insns: Count


class KvmStats(Struct, frozen=True, forbid_unknown_fields=True):
    """KVM's own numbers, by name, of each vCPU."""

    per_vcpu: tuple[dict[str, Count], ...]


class VcpuThread(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a vCPU's thread ran on a host CPU, and was runnable and waited for one."""

    run_ns: Count
    run_delay_ns: Count


class KvmCost(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run on KVM took of its host."""

    vcpu_threads: Annotated[tuple[VcpuThread, ...], Meta(description="by vCPU")]
    halt_poll_ns: Annotated[
        Count | None, Meta(description="how long the host polls before the thread of a halted vCPU sleeps")
    ]
    overcommit: Annotated[NotNegative, Meta(description="vCPUs by host CPU")]
    cloned: Annotated[bool, Meta(description="it began as a copy of a booted machine")]
    boot_ms: Annotated[NotNegative | None, Meta(description="host time from its start to the agent's first word")]
    performance_mode: Annotated[PerformanceMode | None, Meta(description="null when it was not asked for")]
    warnings: Annotated[tuple[str, ...], Meta(description="what was asked for and not had")]


class PerfDeltaAssertion(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit that a test declares for its own change against a baseline; inert in a run without one. Null is the
    metric registry's own. ``min_abs`` is in the metric's unit.
    """

    metric: Name
    direction: Annotated[Literal["HigherBetter", "LowerBetter"] | None, Meta(description="which one is better")]
    max_regression_pct: Annotated[NotNegative | None, Meta(description="a regression beyond it counts")]
    min_abs: Annotated[NotNegative | None, Meta(description="a smaller change does not count")]
    phase: Annotated[PhaseIndex | None, Meta(description="0: BASELINE, 1 and up: a step; null: the whole run")]


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """One reason of the verdict. ``value`` and ``limit`` are in the unit the message names."""

    verdict: ReasonVerdict
    kind: ReasonKind
    message: str
    cgroup: str | None
    worker: Count | None
    value: Number | None
    limit: Number | None


BITS = ("passed", "skipped", "inconclusive")
Perturbation: TypeAlias = str | Count | tuple[Count, ...]


class Sidecar(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell's result (*.ktstr.json). At most one of passed, skipped and inconclusive is true; none of them means
    fail. Null was not measured.
    """

    test_name: Annotated[Name, Meta(description="the test as declared")]
    topology: TopologyLabel
    scheduler: Annotated[str, Meta(description="eevdf when none was loaded")]
    scheduler_commit: str | None
    resolve_source: ResolveSource | None
    project_commit: Annotated[
        Commit | None, Meta(description="the project's commit when the cell was published: 7 hex, -dirty")
    ]
    payload: str | None
    metrics: tuple[PayloadMetrics, ...]
    passed: bool
    skipped: bool
    inconclusive: bool
    expected_failure: bool
    stats: ScenarioStats
    monitor: Monitor | None
    periodic_fired: Count
    periodic_target: Count
    vcpus: Count
    cpu_budget: Annotated[
        Count, Meta(description="host CPUs the guest could use at once; below vcpus the host was overcommitted")
    ]
    throughput_denomination: Literal["wall", "cpu_sec"]
    stimulus_events: tuple[StimulusEvent, ...]
    work_type: str
    verifier_stats: tuple[VerifierStats, ...]
    kvm_stats: Annotated[KvmStats | None, Meta(description="KVM's own numbers of each vCPU; null unless KVM ran it")]
    sysctls: tuple[str, ...]
    kargs: tuple[str, ...]
    kernel_version: str | None
    kernel_commit: str | None
    timestamp: Timestamp
    run_id: RunId
    host: Host | None
    cleanup_duration_ms: Count | None
    run_source: RunSource | None
    perf_delta_assertions: tuple[PerfDeltaAssertion, ...]
    kernel_label: Annotated[str | None, Meta(description="what the run called the kernel")]
    kernel_hz: Annotated[int | None, Meta(description="CONFIG_HZ: ticks a second")]
    kernel_preempt: Annotated[str | None, Meta(description="the preemption model of its configuration")]
    preset: Annotated[str, Meta(description="the topology's declared name")]
    accel: Annotated[Accel, Meta(description="icount: virtual time; kvm and tcg: real time. Never compare across")]
    emulator: str | None
    origin: Annotated[Origin | None, Meta(description="what the run began from; null when nothing ran")]
    seed: Count
    perturbations: Annotated[
        dict[str, Perturbation] | None,
        Meta(description="what the seed perturbed: orders, start offsets and delays in guest ns"),
    ]
    input_digest: Annotated[
        InputDigest | None,
        Meta(description="digest of everything the run depends on; null when nothing ran"),
    ]
    measured_commit: Annotated[Commit | None, Meta(description="the project's commit when the cell was measured")]
    reasons: Annotated[tuple[Reason, ...], Meta(description="why the verdict is what it is, worst first")]
    workers: tuple[WorkerSummary, ...]
    vcpu_times: tuple[VcpuReport, ...]
    sched_events: tuple[SchedEvent, ...]
    load_ns: Annotated[
        Count | None,
        Meta(description="guest time from the scheduler's start to its attach; null when it was not seen to attach"),
    ]
    kvm_run: Annotated[KvmCost | None, Meta(description="what the run took of its host; null unless KVM ran it")]
    host_dilation: (
        Annotated[Number, Meta(description="1 + run delay / run time of the vCPU threads, summed")] | UnsetType
    ) = UNSET
    release: Annotated[bool, Meta(description="judged by the limits of a release; absent otherwise")] | UnsetType = (
        UNSET
    )
    inputs: (
        Annotated[
            InputDigests,
            Meta(description="digests of what the result depends on; absent in sidecars of before"),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        found = [name for name in BITS if getattr(self, name)]
        if len(found) > 1:
            raise ValueError(f"found both {found[0]} and {found[1]}, expected at most one of {', '.join(BITS)}")
        if self.perturbations is not None:
            _check_perturbations(self.perturbations)


def _check_perturbations(values: dict[str, Perturbation]) -> None:
    """Raise ValueError unless ``generator`` is text, ``seed`` a number, and all else lists of numbers."""
    for name, kind in {"generator": str, "seed": int}.items():
        if not isinstance(values.get(name), kind):
            raise ValueError(f"perturbations.{name}: found {values.get(name)!r:.60}, expected {kind.__name__}")
    for name, value in values.items():
        if name not in ("generator", "seed") and not isinstance(value, tuple):
            raise ValueError(f"perturbations.{name}: found {value!r:.60}, expected an array")
