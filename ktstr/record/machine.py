"""How a machine ended, and what its run took of the host."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count

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

# Those that are nobody's failure.
FINE_EXITS: frozenset[str] = frozenset({"clean", "killed"})

HostNode: TypeAlias = Annotated[int, Meta(ge=0, le=63)]


class PerformanceMode(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was asked of the VMM; what the host refused is in warnings."""

    pin: Annotated[tuple[Count, ...], Meta(description="the host CPU of each vCPU")]
    memory_nodes: Annotated[
        tuple[tuple[HostNode, ...], ...],
        Meta(description="the host NUMA nodes of each guest node's memory; [] where it was not bound"),
    ]
    service_cpu: Annotated[int, Meta(ge=0, description="the host CPU of the VMM's other threads")]
    fifo_priority: Annotated[
        Annotated[int, Meta(ge=1, le=99)] | None, Meta(description="SCHED_FIFO priority of vCPU threads")
    ]
    realtime_hint: bool
    keep_pause: bool
    keep_halt: bool
    huge_pages: bool
    populate: bool


class KvmRun(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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
    performance: PerformanceMode | None = None
    warnings: tuple[str, ...]


class Origin(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run began from."""

    kind: Annotated[
        Literal["cold", "booted", "attached"],
        Meta(description="a boot of its own, or a clone of a machine that had booted, or whose scheduler had attached"),
    ] = "cold"
    ram_digest: Annotated[
        str | None, Meta(description="SHA-256 over the RAM that a clone began with; null for a boot of its own")
    ] = None
    why_cold: Annotated[
        str | None, Meta(description="why a machine that was to be cloned could not be; null otherwise")
    ] = None


class MachineEnd(Struct, frozen=True, forbid_unknown_fields=True):
    """How the machine ended, what it began from and what it cost the host. ``kvm`` is None unless KVM ran it;
    ``origin`` is None in records of before machines were parked."""

    reason: ExitReason
    detail: str
    host_seconds: float
    emulator: str
    command: tuple[str, ...]
    cleanup_ms: int | None = None
    host_dilation: float | None = None
    kvm: KvmRun | None = None
    origin: Origin | None = None
