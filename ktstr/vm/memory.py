"""How much memory a guest gets.

Per CPU 64 MiB, as the reference gives; at least 512 MiB: a distribution kernel takes about 100,
the unpacked image lies in a tmpfs of at most half the memory, workers take the rest. A scheduler
that is there before the plan is made, or a crate (``schedulers.crate.SIZE``, whether or not it is
built), adds 16 times its size, libraries and files included: until it
is unpacked it is there twice; while it loads, libbpf holds its BPF objects with their types and
the kernel's, and the verifier its states, which grow with the program. scx_layered 1.1.4, 34 MB with
its libraries, ran out of memory with 4 times that and loaded with 8. Payloads and include files add 4 times their
size: they are there twice until they are unpacked, into what may take half of the memory. The host commits a page only
when the guest touches it, so room costs next to nothing.
"""

from __future__ import annotations

from ktstr.config.topology import Topology

PER_CPU_MIB = 64
LEAST_MIB = 512
PER_SCHEDULER_BYTE = 16
PER_FILE_BYTE = 4
# What the emulator takes beside the guest's memory: its translation cache (qemu_args.TB_MIB) and itself.
HOST_OVERHEAD_MIB = 384
CLONE_MIB = 320
_NODE_STEP_MIB = 2  # a node's memory is whole large pages


def memory_mib(topology: Topology, asked: int | None = None, scheduler_bytes: int = 0, file_bytes: int = 0) -> int:
    """Guest memory in MiB: the default or what was ``asked``, whichever is more.

    ``scheduler_bytes``: of the scheduler, its libraries and files, unpacked; 0 where that is not known.
    ``file_bytes``: of payloads and include files. Rounded up so that every NUMA node gets the same number of 2 MiB
    pages.
    """
    loading = -(-(scheduler_bytes * PER_SCHEDULER_BYTE + file_bytes * PER_FILE_BYTE) // (1 << 20))
    wanted = max(max(topology.cpus * PER_CPU_MIB, LEAST_MIB) + loading, asked or 0)
    step = topology.numa_nodes * _NODE_STEP_MIB
    return -(-wanted // step) * step


def clone_mib(guest_mib: int) -> int:
    """What a clone is counted to take of the host, in MiB, beside the emulator: the pages that the machine it is of
    had touched, and its own. Measured on guests of 512 to 1024 MiB, 4 to 16 vCPUs: 92 to 216 and at most 67."""
    return min(guest_mib, max(CLONE_MIB, guest_mib // 2))


def node_mib(topology: Topology, total_mib: int) -> int:
    """The share of each NUMA node. Raises ValueError when ``total_mib`` cannot be dealt evenly."""
    share, rest = divmod(total_mib, topology.numa_nodes)
    if rest or share < 1:
        raise ValueError(f"{total_mib} MiB cannot be dealt evenly to {topology.numa_nodes} NUMA nodes")
    return share
