"""How much memory a guest gets.

Per CPU 64 MiB, as the reference gives; at least 512 MiB: a distribution kernel takes about 100,
the unpacked image lies in a tmpfs of at most half the memory, workers take the rest. A scheduler
that is there before the plan is made, or a crate (``schedulers.crate.SIZE``, whether or not it is
built), adds 16 times its size, libraries and files included: until it
is unpacked it is there twice; while it loads, libbpf holds its BPF objects with their types and
the kernel's, and the verifier its states, which grow with the program. scx_layered 1.1.4, 34 MB with
its libraries, ran out of memory with 4 times that and loaded with 8. Payloads and include files add 4 times their
size: they are there twice until they are unpacked, into what may take half of the memory. The host commits a page only
when the guest touches it, so room costs next to nothing. Nodes whose memory the topology gives have that beside what
the others share.
"""

from __future__ import annotations

from ktstr.config.topology import NODE_STEP_MIB, Topology
from ktstr.errors import InputError

PER_CPU_MIB = 64
LEAST_MIB = 512
PER_SCHEDULER_BYTE = 16
PER_FILE_BYTE = 4
# What the emulator takes beside the guest's memory: its translation cache (qemu_args.TB_MIB) and itself.
HOST_OVERHEAD_MIB = 384
CLONE_MIB = 320
TOUCHED_PER_CPU_MIB = 3


def memory_mib(topology: Topology, asked: int | None = None, scheduler_bytes: int = 0, file_bytes: int = 0) -> int:
    """Guest memory in MiB: the default or what was ``asked``, whichever is more.

    ``scheduler_bytes``: of the scheduler, its libraries and files, unpacked; 0 where that is not known.
    ``file_bytes``: of payloads and include files. Rounded up so that every NUMA node gets the same number of 2 MiB
    pages. Raises InputError for a topology that gives all of its nodes less than that.
    """
    loading = -(-(scheduler_bytes * PER_SCHEDULER_BYTE + file_bytes * PER_FILE_BYTE) // (1 << 20))
    wanted = max(max(topology.cpus * PER_CPU_MIB, LEAST_MIB) + loading, asked or 0)
    given = _given(topology)
    sharing = topology.numa_nodes - len(given)
    if sharing:
        step = sharing * NODE_STEP_MIB
        return sum(given.values()) + -(-wanted // step) * step
    if sum(given.values()) < wanted:
        raise InputError(
            f"topology {topology.label}: found {sum(given.values())} MiB of memory in all its nodes, expected at"
            f" least {wanted} MiB, which is what this guest needs",
            fix="leave memory out in one of the nodes, which then has what the guest needs",
        )
    return sum(given.values())


def clone_mib(guest_mib: int) -> int:
    """What a clone is counted to take of the host, in MiB, beside the emulator: the pages that the machine it is of
    had touched, and its own. Measured on guests of 512 to 1024 MiB, 4 to 16 vCPUs: 92 to 216 and at most 67."""
    return min(guest_mib, max(CLONE_MIB, guest_mib // 2))


def nodes_mib(topology: Topology, total_mib: int) -> tuple[int, ...]:
    """The memory of each NUMA node: what the topology gives it, else an even share of the rest.

    Raises ValueError when ``total_mib`` cannot be dealt so.
    """
    given = _given(topology)
    sharing, left = topology.numa_nodes - len(given), total_mib - sum(given.values())
    share, rest = divmod(left, sharing) if sharing else (0, left)
    if rest or (sharing and share < 1):
        beside = f" beside {sum(given.values())} MiB of others" if given else ""
        raise ValueError(f"{total_mib} MiB cannot be dealt evenly to {sharing} NUMA nodes{beside}")
    return tuple(given.get(node, share) for node in range(topology.numa_nodes))


def _given(topology: Topology) -> dict[int, int]:
    """The memory in MiB of those nodes whose memory the topology gives."""
    return {number: node.memory_mib for number, node in enumerate(topology.nodes) if node.memory_mib is not None}


def least_mib(topology: Topology, asked: int | None = None) -> int:
    """What a guest takes of the host at the least, in MiB, the emulator included: what it was asked to have, else what
    it touches to boot. Measured with 128 vCPUs: 342 of the guest's memory and 270 of the emulator's own."""
    return HOST_OVERHEAD_MIB + max(CLONE_MIB + TOUCHED_PER_CPU_MIB * topology.cpus, asked or 0)
