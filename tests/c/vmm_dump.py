"""Runs the program that prints CPUID lists and ACPI tables as the VMM builds them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from hypothesis import strategies as st

from ktstr.config.topology import Node, Topology, of_nodes
from tests.c.acpi_decoder import Tables
from tests.c.cpuid_decoder import ENTRY, INDEXED, Cpuid, decode_lists

ALL = 0xFFFFFFFF
ADDRESS, SIZE = 0xE0000, 0x20000


def call(dump: Path, *args: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(dump), *map(str, args)], input=stdin, capture_output=True, timeout=60, check=False)


def counts(topology: Topology) -> tuple[int, int | str, int, int]:
    """What the program takes: the LLCs of nodes that differ as ``:6+2/0``."""
    nodes = ["+".join(map(str, node.llcs)) or "0" for node in topology.nodes]
    llcs = ":" + "/".join(nodes) if nodes else topology.llcs
    return topology.numa_nodes, llcs, topology.cores, topology.threads


def vendor_words(name: bytes) -> tuple[int, int, int]:
    """EBX, ECX and EDX of leaf 0."""
    ebx, edx, ecx = struct.unpack("<3I", name)
    return ebx, ecx, edx


def kvm_list(value: int, skip: tuple[int, ...] = (), host: bytes = b"GenuineIntel") -> bytes:
    """As KVM_GET_SUPPORTED_CPUID of a host whose every bit is that of value, but for leaf 0 and highest leaves."""
    rows = []
    for function in [*range(0x20), 0x40000000, 0x40000001, *range(0x80000000, 0x80000027), 0xC0000000]:
        highest = {0: 0x1F, 0x40000000: 0x40000001, 0x80000000: 0x80000026}.get(function, value)
        if function not in skip:
            indexed = function in (4, 7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x1D, 0x1F, 0x8000001D, 0x80000026)
            rest = vendor_words(host) if function == 0 else (value, value, value)
            rows += [(function, i, INDEXED if indexed else 0, highest, *rest) for i in range(1 + indexed)]
    return struct.pack("<II", len(rows), 0) + b"".join(ENTRY.pack(*row) for row in rows)


def amx_list(xcr0: int, *, flagged: bool = True, tiles: int = 1) -> bytes:
    """KVM_GET_SUPPORTED_CPUID of an Intel host with AMX: leaf 0x1d has a subleaf for each palette, 0x1e two.

    ``xcr0`` are the state components that this process may use; ``flagged`` whether KVM marks these leaves as
    depending on the subleaf; ``tiles`` how often it lists them.
    """
    amx = INDEXED if flagged else 0
    names = vendor_words(b"GenuineIntel")
    rows = [
        (0, 0, 0, 0x1F, *names),
        (7, 0, INDEXED, 1, 0, 0, 1 << 22 | 1 << 24 | 1 << 25 | 1 << 26),
        (7, 1, INDEXED, 1 << 21 | 1 << 4, 0, 0, 1 << 8 | 1 << 14),
        (0xD, 0, INDEXED, xcr0, 0x240, 0x2B00, 0),
        (0xD, 1, INDEXED, 0xF, 0, 0, 0),
    ]
    rows += tiles * [
        (0x1D, 0, amx, 1, 0, 0, 0),
        (0x1D, 1, amx, 0x04002000, 0x00080040, 0x10, 0),
        (0x1E, 0, amx, 1, 0x4010, 0, 0),
        (0x1E, 1, amx, 0x1F, 0, 0, 0),
    ]
    return struct.pack("<II", len(rows), 0) + b"".join(ENTRY.pack(*row) for row in rows)


def cpuids(
    dump: Path, topology: Topology, vendor: int, supported: bytes = kvm_list(ALL), realtime: int = 0
) -> list[Cpuid]:
    done = call(dump, "cpuid", *counts(topology), vendor, realtime, 256, stdin=supported)
    assert done.returncode == 0, done.stderr
    lists = decode_lists(done.stdout)
    assert len(lists) == topology.cpus
    return lists


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Up to 512 CPUs and 64 nodes, all counts from 1."""
    nodes = draw(st.integers(1, 64))
    llcs = nodes * draw(st.integers(1, 512 // nodes))
    cores = draw(st.integers(1, 512 // llcs))
    return Topology(nodes, llcs, cores, draw(st.integers(1, min(256, 512 // (llcs * cores)))))


@st.composite
def uneven(draw: st.DrawFn) -> Topology:
    """Up to 8 nodes of up to 5 LLCs of up to 6 cores of 1 or 2 threads, the last ones of memory alone."""
    nodes = draw(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=5), min_size=1, max_size=5))
    alone = draw(st.integers(0, 3))
    return of_nodes([*(Node(tuple(llcs)) for llcs in nodes), *[Node()] * alone], draw(st.integers(1, 2)))


def tables(dump: Path, topology: Topology, memory: int | str, distances: bytes = b"") -> Tables:
    done = call(dump, "acpi", *counts(topology), memory, ADDRESS, SIZE, stdin=distances)
    assert done.returncode == 0, done.stderr
    return Tables(done.stdout, ADDRESS)
