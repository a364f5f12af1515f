"""CPUID and ACPI as the VMM builds them, read back by decoders that follow Linux and the ACPI specification."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ktstr.config.topology import PRESETS, Node, Topology, of_nodes
from tests.c import acpi_decoder as acpi
from tests.c.cpuid_decoder import (
    INDEXED,
    Cpuid,
    Ids,
    cache_leaves,
    cache_map,
    decode_lists,
    groups,
    ids_in_6_1,
    ids_since_6_9,
)
from tests.c.objects import FLAGS, core_objects, link
from tests.c.vmm_dump import ADDRESS, ALL, SIZE, amx_list, call, counts, cpuids, kvm_list, tables, topologies, uneven

INTEL, AMD = 0, 1
VENDORS = pytest.mark.parametrize("vendor", [INTEL, AMD], ids=["intel", "amd"])
EVERY_PRESET = pytest.mark.parametrize("label", PRESETS.values(), ids=PRESETS.keys())
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(scope="session")
def dump(tmp_path_factory: pytest.TempPathFactory, objects_place: Path) -> Path:
    core = core_objects(objects_place, "gcc", *FLAGS).values()
    return link("gcc", "test_vmm_tables", core, tmp_path_factory.mktemp("vmm_tables"), *FLAGS)


def check_what_linux_sees(topology: Topology, cpus: list[Cpuid], ids: list[Ids]) -> None:
    """Packages, LLCs, siblings and caches are those declared, and nothing else is shared."""
    every = range(topology.cpus)
    assert len({i.apic for i in ids}) == topology.cpus
    assert groups(every, lambda c: ids[c].package) == groups(every, topology.node_of)
    assert [i.package for i in ids] == [topology.node_of(c) for c in every]
    assert groups(every, lambda c: ids[c].llc) == groups(every, topology.llc_of)
    assert groups(every, lambda c: ids[c].core) == groups(every, lambda c: c // topology.threads)
    assert groups(every, lambda c: (ids[c].package, ids[c].die)) == groups(every, topology.node_of)
    for index in range(4):
        own = (lambda c: c // topology.threads) if index < 3 else topology.llc_of
        assert cache_map(cpus, ids, index) == groups(every, own)


@EVERY_PRESET
@VENDORS
def test_linux_sees_the_declared_topology(dump: Path, label: str, vendor: int) -> None:
    topology = Topology.parse(label)
    cpus = cpuids(dump, topology, vendor)
    check_what_linux_sees(topology, cpus, [ids_since_6_9(c) for c in cpus])
    check_what_linux_sees(topology, cpus, [ids_in_6_1(c) for c in cpus])


@given(topologies(), st.sampled_from([INTEL, AMD]))
@settings(max_examples=40)
def test_linux_sees_any_topology(dump: Path, topology: Topology, vendor: int) -> None:
    cpus = cpuids(dump, topology, vendor)
    ids = [ids_since_6_9(c) for c in cpus]
    check_what_linux_sees(topology, cpus, ids)
    assert max(i.apic for i in ids) < 4096  # KVM's ids of vCPUs end there


@given(uneven(), st.sampled_from([INTEL, AMD]))
@settings(max_examples=40)
def test_linux_sees_llcs_and_nodes_that_differ(dump: Path, topology: Topology, vendor: int) -> None:
    cpus = cpuids(dump, topology, vendor)
    check_what_linux_sees(topology, cpus, [ids_since_6_9(c) for c in cpus])
    check_what_linux_sees(topology, cpus, [ids_in_6_1(c) for c in cpus])


@VENDORS
@pytest.mark.parametrize("llcs", [40, 64])
def test_linux_sees_many_llcs(dump: Path, llcs: int, vendor: int) -> None:
    topology = Topology(1, llcs, 2, 1)
    cpus = cpuids(dump, topology, vendor)
    check_what_linux_sees(topology, cpus, [ids_since_6_9(c) for c in cpus])
    check_what_linux_sees(topology, cpus, [ids_in_6_1(c) for c in cpus])


def test_apic_ids_of_llcs_that_differ_worked_out_by_hand(dump: Path) -> None:
    def ids(*nodes: Node) -> list[int]:
        return [c(0xB)[3] for c in cpuids(dump, of_nodes(nodes), INTEL)]

    assert ids(Node((2, 6))) == [0, 1, 8, 9, 10, 11, 12, 13]  # 3 bits of core, 1 of LLC
    assert ids(Node((1, 1, 3)), Node((2,)), Node()) == [0, 4, 8, 9, 10, 16, 17]  # 2 of core, 2 of LLC
    last = cpuids(dump, of_nodes([Node((1, 3)), Node((2,))], 2), AMD)[-1]
    assert [last.exact(0x80000026, level)[1] for level in range(4)] == [2, 4, 4, 4]  # type: ignore[index]
    first = cpuids(dump, of_nodes([Node((1, 3)), Node((2,))], 2), AMD)[0]
    assert [first.exact(0x80000026, level)[1] for level in range(4)] == [2, 2, 8, 8]  # type: ignore[index]


def test_apic_ids_have_gaps_where_a_count_is_no_power_of_two(dump: Path) -> None:
    def ids(label: str) -> list[int]:
        return [c(0xB)[3] for c in cpuids(dump, Topology.parse(label), INTEL)]

    assert ids("1n3l3c1t") == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert ids("2n4l1c2t") == [0, 1, 2, 3, 4, 5, 6, 7]
    assert ids("3n3l3c1t") == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert ids("2n6l1c1t") == [0, 1, 2, 4, 5, 6]
    assert max(ids("1n14l18c1t")) == 433 and max(ids("1n15l8c2t")) == 239


def test_levels_worked_out_by_hand(dump: Path) -> None:
    """The last CPU of 2n6l5c2t: fields of 1, 3, 2 and 1 bits hold thread 1, core 4, LLC 2 and package 1."""
    apic = 1 << 6 | 2 << 4 | 4 << 1 | 1
    intel, amd = (cpuids(dump, Topology.parse("2n6l5c2t"), vendor)[-1] for vendor in (INTEL, AMD))
    levels = [(1, 2, 0x100, apic), (6, 30, 0x201, apic), (0, 0, 2, apic)]
    for cpuid, function in ((intel, 0xB), (intel, 0x1F), (amd, 0xB)):
        assert [cpuid.exact(function, i) for i in range(4)] == [*levels, None]
    levels = [(1, 2, 0x100, apic), (4, 10, 0x201, apic), (6, 30, 0x302, apic), (6, 30, 0x403, apic), (0, 0, 4, apic)]
    assert [amd.exact(0x80000026, i) for i in range(6)] == [*levels, None]
    assert amd.exact(0x8000001E) == (apic, 1 << 8 | 2 << 3 | 4, 1, 0)
    l3 = 3 | 3 << 5 | 1 << 8 | 15 << 14
    assert amd.exact(0x8000001D, 3) == (l3, 63 | 15 << 22, 32767, 0)
    assert intel.exact(4, 3) == (l3 | 31 << 26, 63 | 15 << 22, 32767, 0)
    assert amd.exact(0x8000001D, 4) == intel.exact(4, 4) == (0, 0, 0, 0)


@VENDORS
def test_leaf_1_and_its_like_agree_with_the_levels(dump: Path, vendor: int) -> None:
    for label, addressable in (("1n14l18c1t", 255), ("2n6l5c2t", 64)):
        topology = Topology.parse(label)
        in_package = topology.cpus // topology.numa_nodes
        for cpuid in cpuids(dump, topology, vendor):
            _, ebx, _, edx = cpuid(1)
            assert ebx >> 24 == cpuid(0xB)[3] & 0xFF and ebx >> 8 & 0xFF == 8
            assert ebx >> 16 & 0xFF == (addressable if vendor == INTEL else in_package)
            assert edx >> 28 & 1 == 1
            if vendor == AMD:
                assert cpuid(0x80000008)[2] & 0xFF == in_package - 1
                assert cpuid(0x80000008)[2] >> 12 & 0xF == cpuid(0xB, 1)[0]
            else:
                cores = 64 if label == "1n14l18c1t" else 32
                assert {leaf[0] >> 26 for leaf in cache_leaves(cpuid)} == {cores - 1}
    (alone,) = cpuids(dump, Topology.parse("1n1l1c1t"), vendor)
    assert alone(1)[3] >> 28 & 1 == 0 and alone(0x80000001)[2] & 2 == 0 and alone(0x80000008)[2] == 0


@VENDORS
def test_caches_have_real_sizes(dump: Path, vendor: int) -> None:
    cpuid = cpuids(dump, Topology.parse("1n2l4c2t"), vendor)[0]
    found = [
        (eax & 0x1F, eax >> 5 & 7, ((ebx >> 22) + 1) * ((ebx >> 12 & 0x3FF) + 1) * ((ebx & 0xFFF) + 1) * (ecx + 1))
        for eax, ebx, ecx, _ in cache_leaves(cpuid)
    ]
    assert found == [(1, 1, 32 << 10), (2, 1, 32 << 10), (3, 2, 512 << 10), (3, 3, 32 << 20)]
    assert cpuid(0x80000006)[2] >> 16 == 512
    if vendor == AMD:
        assert [r >> 24 for r in cpuid(0x80000005)[2:]] == [32, 32]
        assert (cpuid(0x80000006)[3] >> 18) * 512 == 32 << 10


@VENDORS
def test_identity_is_the_machines_own(dump: Path, vendor: int) -> None:
    cpuid = cpuids(dump, Topology.parse("1n1l4c1t"), vendor)[0]
    assert cpuid.vendor == ("GenuineIntel", "AuthenticAMD")[vendor]
    assert cpuid.family_model == ((6, 0x8F), (0x19, 1))[vendor]
    brand = b"".join(struct.pack("<4I", *cpuid(0x80000002 + i)) for i in range(3))
    assert brand.rstrip(b"\0") == b"ktstr synthetic CPU"
    assert cpuid.highest(0x80000000) == (0x80000008, 0x80000026)[vendor]
    assert struct.pack("<3I", *cpuid(0x40000000)[1:]) == b"KVMKVMKVM\0\0\0"


# Bits set although KVM's list lacks them: x2APIC, TSC deadline, hypervisor, HTT; CmpLegacy and
# topology extensions; MSIs to APIC ids above 255.
PROMISED = {
    (1, 2): 1 << 21 | 1 << 24 | 1 << 31,
    (1, 3): 1 << 28,
    (0x80000001, 2): 1 << 1 | 1 << 22,
    (0x40000001, 0): 1 << 15,
}
FEATURES = (
    *((1, 2), (1, 3), (7, 1), (7, 2), (7, 3), (0xD, 0), (0x12, 0), (0x14, 1), (0x40000001, 0), (0x40000001, 3)),
    *((0x80000001, 2), (0x80000001, 3), (0x80000007, 3), (0x80000008, 1), (0x80000021, 0)),
)


@VENDORS
def test_no_feature_is_promised_that_kvm_does_not_offer(dump: Path, vendor: int) -> None:
    cpuid = cpuids(dump, Topology.parse("1n2l2c2t"), vendor, kvm_list(0))[0]
    for function, register in FEATURES:
        assert (cpuid.exact(function) or (0,) * 4)[register] & ~PROMISED.get((function, register), 0) == 0, hex(
            function
        )
    assert cpuid(1)[2] == PROMISED[1, 2]
    assert cpuid(0x40000001)[0] == 1 << 15


@VENDORS
def test_features_of_kvm_reach_the_guest_but_for_what_cannot_work(dump: Path, vendor: int) -> None:
    cpuid = cpuids(dump, Topology.parse("1n2l2c2t"), vendor)[0]
    lost = ALL & ~cpuid(1)[2]
    assert [bit for bit in range(32) if lost >> bit & 1] == [2, 4, 5, 15]  # DTES64, DS-CPL, VMX, PDCM
    assert cpuid(1)[3] == ALL & ~(1 << 21)  # DS
    assert cpuid(7) == cpuid(7, 1) == cpuid(0xD) == cpuid(0xD, 1) == (ALL,) * 4
    for function in (3, 0xA, 0x1A, 0x1C, 0x8000000A, 0x8000001F, 0x80000022, 0xC0000000):
        assert cpuid.exact(function) is None, hex(function)
    extended = cpuid(0x80000001)[2]
    assert extended & (1 << 2 | 1 << 10 | 1 << 23 | 1 << 24) == 0  # SVM, IBS, counters
    assert extended >> 22 & 1 == (vendor == AMD), "Linux asks for topology extensions without looking at the vendor"
    assert (cpuid.exact(0x1F) is None) == (vendor == AMD)
    assert (cpuid.exact(4) is None) == (vendor == AMD)


TILE_STATE = 1 << 17 | 1 << 18


@VENDORS
@pytest.mark.parametrize("flagged", [True, False], ids=["marked", "not_marked"])
@pytest.mark.parametrize("listed", [1, 2], ids=["once", "twice"])
def test_each_subleaf_of_the_tile_leaves_has_its_own_answer(
    dump: Path, vendor: int, flagged: bool, listed: int
) -> None:
    supported = amx_list(0xE7 | TILE_STATE, flagged=flagged, tiles=listed)
    (cpuid,) = cpuids(dump, Topology.parse("1n1l1c1t"), vendor, supported)
    found = {(e.function, e.index): (e.flags, e.registers) for e in cpuid.entries if e.function in (0x1D, 0x1E)}
    assert found == {
        (0x1D, 0): (INDEXED, (1, 0, 0, 0)),
        (0x1D, 1): (INDEXED, (0x04002000, 0x00080040, 0x10, 0)),
        (0x1E, 0): (INDEXED, (1, 0x4010, 0, 0)),
        (0x1E, 1): (INDEXED, (0x1F, 0, 0, 0)),
    }
    assert cpuid(7)[3] == 1 << 22 | 1 << 24 | 1 << 25 | 1 << 26
    assert cpuid(7, 1) == (1 << 21 | 1 << 4, 0, 0, 1 << 8 | 1 << 14)


@VENDORS
@pytest.mark.parametrize("state", [0, 1 << 17], ids=["none", "configuration_only"])
def test_there_are_no_tiles_where_their_state_may_not_be_used(dump: Path, vendor: int, state: int) -> None:
    """As for every process that did not ask for it: KVM then lists the leaves, but not the state."""
    (cpuid,) = cpuids(dump, Topology.parse("1n1l1c1t"), vendor, amx_list(0xE7 | state))
    assert cpuid.exact(0x1D) is None and cpuid.exact(0x1E) is None
    assert cpuid(7)[3] == 1 << 26
    assert cpuid(7, 1) == (1 << 4, 0, 0, 1 << 14)


@pytest.mark.parametrize(
    ("vendor", "native"), [(INTEL, b"GenuineIntel"), (AMD, b"AuthenticAMD"), (AMD, b"HygonGenuine")]
)
def test_hypercalls_are_offered_only_in_the_hosts_own_dialect(dump: Path, vendor: int, native: bytes) -> None:
    def features(host: bytes) -> int:
        return cpuids(dump, Topology.parse("1n1l1c1t"), vendor, kvm_list(ALL, host=host))[0](0x40000001)[0]

    assert features(native) == ALL
    foreign = ALL & ~features(b"AuthenticAMD" if vendor == INTEL else b"GenuineIntel")
    assert [bit for bit in range(32) if foreign >> bit & 1] == [7, 11, 13, 16]  # unhalt, IPI, yield, map GPA range


def test_only_performance_mode_says_that_cpus_are_never_taken_away(dump: Path) -> None:
    topology = Topology.parse("1n1l2c1t")
    for offered in (kvm_list(0), kvm_list(ALL), kvm_list(ALL, skip=(0x40000000, 0x40000001))):
        assert [c(0x40000001)[3] & 1 for c in cpuids(dump, topology, INTEL, offered, realtime=1)] == [1, 1]
        assert [c(0x40000001)[3] & 1 for c in cpuids(dump, topology, INTEL, offered)] == [0, 0]


def test_too_small_a_list_is_refused_and_not_overrun(dump: Path) -> None:
    needed = len(cpuids(dump, Topology.parse("1n1l1c1t"), AMD)[0].entries)
    for capacity in (0, 1, needed - 1):
        done = call(dump, "cpuid", 1, 1, 1, 1, AMD, 0, capacity, stdin=kvm_list(ALL))
        assert (done.returncode, done.stderr) == (1, f"CPUID of CPU 0: more than {capacity} entries\n".encode())
    assert call(dump, "cpuid", 1, 1, 1, 1, AMD, 0, needed, stdin=kvm_list(ALL)).returncode == 0


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="/dev/kvm cannot be opened here")
@VENDORS
def test_this_hosts_kvm_takes_the_list(dump: Path, vendor: int) -> None:
    topology = Topology.parse("1n14l18c1t")
    done = call(dump, "kvm", vendor, *counts(topology), 251)
    assert done.returncode == 0, done.stderr
    offered = 8 + 40 * struct.unpack_from("<I", done.stdout)[0]  # what KVM lists may be odd; what we make of it not
    ours, taken = decode_lists(done.stdout[offered:])
    assert {(e.function, e.index) for e in taken.entries} == {(e.function, e.index) for e in ours.entries}
    cpus = cpuids(dump, topology, vendor, done.stdout[:offered])
    check_what_linux_sees(topology, cpus, [ids_since_6_9(c) for c in cpus])
    assert ids_since_6_9(taken) == ids_since_6_9(ours) == ids_since_6_9(cpus[251])


def check_acpi_cpus(topology: Topology, apic_ids: list[int], found: dict[str, bytes]) -> None:
    cpus = acpi.madt_cpus(found["APIC"])
    assert cpus == [(0 if apic < 255 else 9, cpu, apic) for cpu, apic in enumerate(apic_ids)]
    assert acpi.srat_cpus(found["SRAT"]) == {apic: topology.node_of(cpu) for cpu, apic in enumerate(apic_ids)}


@EVERY_PRESET
def test_acpi_names_the_cpus_and_nodes_of_cpuid(dump: Path, label: str) -> None:
    topology = Topology.parse(label)
    found = tables(dump, topology, topology.numa_nodes * 64 * MIB).all()
    check_acpi_cpus(topology, [c(0xB)[3] for c in cpuids(dump, topology, AMD)], found)
    every = range(topology.numa_nodes)
    assert acpi.slit(found["SLIT"]) == tuple(tuple(topology.distance(a, b) for b in every) for a in every)
    assert ("HMAT" in found) == (topology.numa_nodes > 1)


@given(topology=topologies())
@example(topology=Topology.parse("1n1l256c1t"))  # an id of 255
@settings(max_examples=20)
def test_acpi_of_any_topology_is_sound_and_fits(dump: Path, topology: Topology) -> None:
    found = tables(dump, topology, topology.numa_nodes * 2 * MIB).all()
    check_acpi_cpus(topology, [c(0xB)[3] for c in cpuids(dump, topology, INTEL)], found)


def test_madt_has_the_chips_of_kvm(dump: Path) -> None:
    def rest(label: str) -> list[bytes]:
        madt = tables(dump, Topology.parse(label), 64 * MIB).all()["APIC"]
        assert struct.unpack_from("<II", madt, 36) == (0xFEE00000, 1)
        return [entry for kind, entry in acpi.entries(madt, 44) if kind not in (0, 9)]

    io_apic = struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0)
    timer, sci = struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0), struct.pack("<BBBBIH", 2, 10, 0, 9, 9, 0x0D)
    nmi, x2apic_nmi = struct.pack("<BBBHB", 4, 6, 255, 0, 1), struct.pack("<BBHIBxxx", 10, 12, 0, ALL, 1)
    assert rest("1n1l4c1t") == [io_apic, timer, sci, nmi]
    assert rest("1n14l18c1t") == [io_apic, timer, sci, nmi, x2apic_nmi]


def test_memory_of_a_node_around_the_hole_is_two_ranges(dump: Path) -> None:
    found = acpi.srat_memory(tables(dump, Topology.parse("2n2l1c1t"), 5 * GIB).all()["SRAT"])
    half = 5 * GIB // 2
    assert found == [
        acpi.Memory(0, half, 0),
        acpi.Memory(half, 3 * GIB - half, 1),
        acpi.Memory(4 * GIB, 2 * GIB, 1),
    ]


def test_distances_become_slit_latency_and_bandwidth(dump: Path) -> None:
    found = tables(dump, Topology.parse("2n2l1c1t"), 64 * MIB, bytes([10, 254, 254, 10])).all()
    assert acpi.slit(found["SLIT"]) == ((10, 254), (254, 10))
    assert acpi.hmat_initiators(found["HMAT"]) == {0: 0, 1: 1}
    matrices = acpi.hmat_matrices(found["HMAT"])
    assert sorted(matrices) == [0, 3]
    assert all(m.initiators == m.targets == (0, 1) for m in matrices.values())
    assert matrices[0].values == ((100_000, 2_540_000), (2_540_000, 100_000))  # picoseconds
    assert matrices[3].values == ((51200, 2010), (2010, 51200))  # 51200 * 10 / 254 = 2015.7, in steps of 10


def test_memory_alone_has_the_nearest_cpus_as_its_initiator(dump: Path) -> None:
    topology = of_nodes([Node((2, 1)), Node((1,), 0), Node(), Node()])
    rows = [(10, 20, 30, 30), (20, 10, 21, 30), (30, 21, 10, 40), (30, 30, 40, 10)]
    found = tables(dump, topology, f"{64 * MIB}/0/{2 * MIB}/{4 * MIB}", bytes(d for row in rows for d in row)).all()
    check_acpi_cpus(topology, [c(0xB)[3] for c in cpuids(dump, topology, INTEL)], found)
    assert acpi.slit(found["SLIT"]) == tuple(rows)
    assert acpi.srat_memory(found["SRAT"]) == [
        acpi.Memory(0, 64 * MIB, 0),
        acpi.Memory(64 * MIB, 2 * MIB, 2),
        acpi.Memory(66 * MIB, 4 * MIB, 3),
    ]
    assert acpi.hmat_initiators(found["HMAT"]) == {0: 0, 2: 1, 3: 0}
    matrices = acpi.hmat_matrices(found["HMAT"])
    assert all((m.initiators, m.targets) == ((0, 1), (0, 2, 3)) for m in matrices.values())
    assert matrices[0].values == ((100_000, 300_000, 300_000), (200_000, 210_000, 300_000))


def test_fadt_describes_power_off_and_reset(dump: Path) -> None:
    fadt = tables(dump, Topology.parse("1n1l1c1t"), 64 * MIB).all()["FACP"]
    assert len(fadt) == 276 and (fadt[8], fadt[131]) == (6, 4)
    assert struct.unpack_from("<HI", fadt, 46) == (9, 0)  # SCI; no SMI command: in ACPI mode already
    assert struct.unpack_from("<IIII", fadt, 56) == (0x600, 0, 0x604, 0)
    assert (fadt[88], fadt[89]) == (4, 2)
    assert acpi.register(fadt, 148) == acpi.Register(1, 32, 0, 2, 0x600)
    assert acpi.register(fadt, 172) == acpi.Register(1, 16, 0, 2, 0x604)
    assert (acpi.register(fadt, 116), fadt[128]) == (acpi.Register(1, 8, 0, 1, 0x64), 0xFE)
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert flags >> 10 & 1 == 1 and flags >> 20 & 1 == 0  # reset register; not hardware-reduced


DSDT = r"""
DefinitionBlock ("", "DSDT", 2, "KTSTR", "KTSTRVM", 1)
{
    Name (\_S5, Package (4) { 5, 5, 0, 0 })
    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_PXM, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0, 0, 1)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000)
            })
        }
    }
}
"""


def iasl(folder: Path, *args: str) -> str:
    compiler = shutil.which("iasl")
    assert compiler is not None, "iasl is not installed: apt-get install acpica-tools"
    done = subprocess.run([compiler, *args], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


@pytest.mark.slow
def test_dsdt_is_what_intels_compiler_makes_of_its_source(dump: Path, tmp_path: Path) -> None:
    (tmp_path / "dsdt.asl").write_text(DSDT)
    assert re.search(r"\b0 Errors, 0 Warnings", iasl(tmp_path, "dsdt.asl"))
    ours = tables(dump, Topology.parse("1n1l1c1t"), 64 * MIB).all()["DSDT"]
    assert ours[36:] == (tmp_path / "dsdt.aml").read_bytes()[36:]


@pytest.mark.slow
@pytest.mark.parametrize("label", ["1n1l1c1t", "1n14l18c1t", "4n12l8c2t"])
def test_intels_disassembler_reads_every_table(dump: Path, tmp_path: Path, label: str) -> None:
    topology = Topology.parse(label)
    for signature, table in tables(dump, topology, topology.numa_nodes * 64 * MIB).all().items():
        (tmp_path / f"{signature}.aml").write_bytes(table)
        said = iasl(tmp_path, "-d", f"{signature}.aml")
        text = (tmp_path / f"{signature}.dsl").read_text()
        assert not re.search(r"error|warning|invalid|unknown", said + text, re.IGNORECASE), said + text


def test_tables_that_do_not_fit_are_refused_and_not_overrun(dump: Path) -> None:
    used = len(tables(dump, Topology.parse("2n2l2c1t"), 64 * MIB).data)
    for size in (0, 35, 36, 100, used - 1):
        done = call(dump, "acpi", 2, 2, 2, 1, 64 * MIB, ADDRESS, size)
        expected = f"ACPI tables of topology 2n2l2c1t: more than {size} bytes\n"
        assert (done.returncode, done.stderr.decode()) == (1, expected)
    assert len(call(dump, "acpi", 2, 2, 2, 1, 64 * MIB, ADDRESS, used).stdout) == used
    for address in (0xE0001, (1 << 32) - 64, 1 << 40):
        done = call(dump, "acpi", 2, 2, 2, 1, 64 * MIB, address, SIZE)
        assert done.stderr.decode() == f"ACPI tables at {address:#x}: expected a multiple of 64 below 4 GiB\n"


RULE = "; expected 10 of a node to itself, else 11 to 254 and the same both ways"


@pytest.mark.parametrize(
    ("label", "distances", "said"),
    [
        (
            "0 1 1 1",
            (),
            "topology 0n1l1c1t: expected counts of at least 1, at most 64 nodes, and LLCs a multiple of nodes",
        ),
        (
            "2 3 1 1",
            (),
            "topology 2n3l1c1t: expected counts of at least 1, at most 64 nodes, and LLCs a multiple of nodes",
        ),
        (
            "65 65 1 1",
            (),
            "topology 65n65l1c1t: expected counts of at least 1, at most 64 nodes, and LLCs a multiple of nodes",
        ),
        ("1 1 513 1", (), "topology 1n1l513c1t: expected at most 512 CPUs"),
        ("1 65536 65536 1", (), "topology 1n65536l65536c1t: expected at most 512 CPUs"),
        ("2 2 1 1", (11, 20, 20, 10), f"distance from node 0 to 0 is 11 and back 11{RULE}"),
        ("2 2 1 1", (10, 10, 10, 10), f"distance from node 0 to 1 is 10 and back 10{RULE}"),
        ("2 2 1 1", (10, 255, 255, 10), f"distance from node 0 to 1 is 255 and back 255{RULE}"),
        ("2 2 1 1", (10, 20, 21, 10), f"distance from node 0 to 1 is 20 and back 21{RULE}"),
    ],
)
def test_what_is_no_machine_is_refused(dump: Path, label: str, distances: tuple[int, ...], said: str) -> None:
    done = call(dump, "acpi", *label.split(), 64 * MIB, ADDRESS, SIZE, stdin=bytes(distances))
    assert (done.returncode, done.stderr.decode().strip()) == (1, said)
