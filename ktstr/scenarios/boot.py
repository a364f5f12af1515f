"""What a test asks of the machine before anything runs: kernel arguments that hold CPUs, and CPUs that are offline."""

from __future__ import annotations

from ktstr import cpulist
from ktstr.config.model import TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios import cpusets

_LEAVES_SOME = ("isolcpus", "nohz_full")  # whose other CPUs do the housekeeping (kernel/sched/isolation.c)


def boot_arguments(test: TestDecl, topology: Topology) -> tuple[str, ...]:
    """Kernel arguments such as ``isolcpus=domain,managed_irq,2-3``, in declared order.

    Raises InputError, with the place of the declaration, for CPUs that the topology does not have, or when the kernel
    would have none left to do the housekeeping.
    """
    return tuple(_argument(test, name, index, topology) for index, (name, _) in enumerate(test.cpu_kargs))


def _argument(test: TestDecl, name: str, index: int, topology: Topology) -> str:
    cpuset = test.cpu_kargs[index][1]
    cpus = cpusets.resolve(cpuset, topology)
    if name in _LEAVES_SOME and len(cpus) == topology.cpus:
        raise InputError(
            f"{cpuset.where}: found all CPUs, {cpulist.render(cpus)}, expected at least one that is left for"
            f" housekeeping (topology {topology.label})"
        )
    flags = test.isolcpus_flags if name == "isolcpus" else ()
    return f"{name}={','.join((*flags, cpulist.render(cpus)))}"


def isolated_cpus(test: TestDecl, topology: Topology) -> tuple[int, ...]:
    """The CPUs that no balancing puts a task on: those of isolcpus, unless its flags leave out ``domain``."""
    held = dict(test.cpu_kargs).get("isolcpus")
    if held is None or (test.isolcpus_flags and "domain" not in test.isolcpus_flags):
        return ()
    return cpusets.resolve(held, topology)


def offline_cpus(test: TestDecl, topology: Topology) -> tuple[int, ...]:
    """The CPUs that are offline before the scheduler attaches: the preset's and the test's own.

    Raises InputError, with the place of the declaration, for CPU 0, which the kernel keeps, and for CPUs that the
    topology does not have.
    """
    if test.offline is None:
        return topology.offline
    own = leaves_cpu_0(cpusets.resolve(test.offline, topology), test.offline.where, topology)
    return tuple(sorted({*topology.offline, *own}))


def leaves_cpu_0(cpus: tuple[int, ...], where: str, topology: Topology) -> tuple[int, ...]:
    """The CPUs. Raises InputError when CPU 0 is one of them, or all are: x86 brings up no other without it."""
    if 0 not in cpus:
        return cpus
    found = "all CPUs" if len(cpus) == topology.cpus else f"CPUs {cpulist.render(cpus)}"
    raise InputError(f"{where}: found {found}, expected CPUs other than 0, which stays online", fix="leave CPU 0 out")
