"""What a record and a sidecar say of the host a cell was measured on."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from ktstr.record.numbers import Count

CpuName: TypeAlias = Annotated[str, Meta(pattern="^[0-9]+$")]


class HeapState(Struct, frozen=True, forbid_unknown_fields=True):
    """The heap of the process that ran the guest."""

    active_bytes: Count
    allocated_bytes: Count
    resident_bytes: Count
    mapped_bytes: Count
    narenas: Count


class Host(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The host the cell was measured on; what could not be read is absent."""

    cpu_model: str | UnsetType = UNSET
    cpu_vendor: str | UnsetType = UNSET
    total_memory_kb: Count | UnsetType = UNSET
    hugepages_total: Count | UnsetType = UNSET
    hugepages_free: Count | UnsetType = UNSET
    hugepages_size_kb: Count | UnsetType = UNSET
    thp_enabled: str | UnsetType = UNSET
    thp_defrag: str | UnsetType = UNSET
    sched_tunables: dict[str, str] | UnsetType = UNSET
    online_cpus: Count | UnsetType = UNSET
    numa_nodes: Count | UnsetType = UNSET
    cpufreq_governor: dict[CpuName, str] | UnsetType = UNSET
    kernel_name: str | UnsetType = UNSET
    kernel_release: str | UnsetType = UNSET
    arch: str | UnsetType = UNSET
    kernel_cmdline: str | UnsetType = UNSET
    accel_reason: (
        Annotated[str, Meta(description="why accel=auto chose this machine; absent when it was named")] | UnsetType
    ) = UNSET
    heap_state: HeapState | UnsetType = UNSET


NOTHING_KNOWN = Host()
