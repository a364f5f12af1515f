"""Whether this host can have a guest at all: a rule over its CPUs, its memory and what runs the guest.

No preset is named here. What cannot be had is skipped, with the reason; ``no_skip=1`` tries it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.config.topology import Topology
from ktstr.host.cpu_topology import HostTopology, allowed_cpus, read_topology
from ktstr.host.limits import usable
from ktstr.host.reserve import lacking
from ktstr.planning.estimate import boot_seconds
from ktstr.vm.memory import least_mib
from ktstr.vm.qemu_args import LAST_APIC_ID, last_apic_id

# Measured, docs/gauntlet.md. In an emulated KVM host of two CPUs 16 vCPUs boot in 3.5 s, 64 not within 100 s.
KVM_VCPUS_PER_CPU = 8


@dataclass(frozen=True)
class Capacity:
    """What may be used of a host. ``allowed``: the CPUs of the process that runs guests; ``timeout_s``: the limit of
    one machine; ``name``: what messages call it."""

    cpus: int
    memory_mib: int
    topology: HostTopology
    allowed: frozenset[int]
    timeout_s: float
    name: str = "this host"


def cells_mib(memory_mib: int) -> int:
    """How much memory cells may take of a host that has so much to use, in MiB: the rest is the host's own."""
    return memory_mib * 3 // 4


def this_host(timeout_s: float) -> Capacity:
    """This host, read now."""
    ours = usable()
    return Capacity(ours.cpus, ours.memory_mib, read_topology(), allowed_cpus(), timeout_s)


@dataclass(frozen=True)
class Wanted:
    """A guest. ``memory_mib``: what its test asks for, None for the default."""

    topology: Topology
    accel: str
    memory_mib: int | None = None
    performance: bool = False


def shortage(wanted: Wanted, host: Capacity) -> str | None:
    """Why the host cannot have the guest; None when it can."""
    topology, accel = wanted.topology, wanted.accel
    if accel == "kvm" and wanted.performance:
        return lacking(topology.llcs, topology.most_cpus_per_llc, host.topology, host.allowed, host.name)
    if accel != "kvm" and last_apic_id(topology) > LAST_APIC_ID:
        return (
            f"{topology.label} has APIC ids up to {last_apic_id(topology)}, and of an emulated guest the kernel starts"
            f" no vCPU above {LAST_APIC_ID}"
        )
    if accel == "kvm" and topology.cpus > KVM_VCPUS_PER_CPU * host.cpus:
        return (
            f"{topology.label} has {topology.cpus} vCPUs, {host.name} {_cpus(host.cpus)}: more than"
            f" {KVM_VCPUS_PER_CPU} to one do not boot on KVM"
        )
    least = least_mib(topology, wanted.memory_mib)
    if least > host.memory_mib:
        return f"{topology.label} takes {least} MiB of memory, {host.name} lets it have {host.memory_mib}"
    seconds = boot_seconds(accel, topology.cpus, host.cpus)
    if seconds > host.timeout_s:
        return (
            f"{topology.label} boots in about {seconds:.0f} s with {topology.cpus} vCPUs on {_cpus(host.cpus)} under"
            f" {accel}, and timeout= is {host.timeout_s:g} s"
        )
    return None


def _cpus(count: int) -> str:
    return "1 CPU" if count == 1 else f"{count} CPUs"
