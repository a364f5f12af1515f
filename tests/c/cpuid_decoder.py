"""What a Linux guest concludes from CPUID, following the kernel's own steps and nothing of the VMM.

Sources are named by file below arch/x86/kernel/ and kernel version; leaves not found are answered as KVM does
(arch/x86/kvm/cpuid.c).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

ENTRY = struct.Struct("<7I12x")  # struct kvm_cpuid_entry2
INDEXED = 1  # KVM_CPUID_FLAG_SIGNIFCANT_INDEX
TOPOLOGY_EXTENSIONS = 1 << 22
SMT, CORE, MODULE, TILE, DIE, GROUP = range(6)  # enum x86_topology_domains


@dataclass(frozen=True)
class Entry:
    function: int
    index: int
    flags: int
    registers: tuple[int, int, int, int]


@dataclass(frozen=True)
class Ids:
    """What the kernel keeps of one CPU: CPUs with the same number share the thing."""

    apic: int
    package: int
    die: int
    core: tuple[int, ...]  # all that has to match in SMT siblings
    llc: int


@dataclass(frozen=True)
class Cpuid:
    """One CPU's list."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        keys = [(e.function, e.index) for e in self.entries]
        assert len(keys) == len(set(keys)), "a leaf is there twice"
        plain = {e.function for e in self.entries if not e.flags & INDEXED}
        assert not plain & {e.function for e in self.entries if e.flags & INDEXED}

    def exact(self, function: int, index: int = 0) -> tuple[int, int, int, int] | None:
        for e in self.entries:
            if e.function == function and (e.index == index or not e.flags & INDEXED):
                return e.registers
        return None

    def __call__(self, function: int, index: int = 0) -> tuple[int, int, int, int]:
        """As the guest's instruction does, which on Intel answers unknown leaves with the highest basic one."""
        found = self.exact(function, index)
        if found is None and self.vendor == "GenuineIntel" and not self.in_range(function):
            function = self.highest(0)
            found = self.exact(function, index)
        if found is None and function in (0xB, 0x1F) and (level := self.exact(function, 1)):
            return (0, 0, index & 0xFF, level[3])
        return found or (0, 0, 0, 0)

    def in_range(self, function: int) -> bool:
        base = function & (0xFFFFFF00 if 0x40000000 <= function < 0x50000000 else 0x80000000)
        return self.exact(base) is not None and function <= self.highest(base)

    def highest(self, base: int) -> int:
        found = self.exact(base)
        return found[0] if found else 0

    @property
    def vendor(self) -> str:
        found = self.exact(0)
        assert found is not None
        return struct.pack("<3I", found[1], found[3], found[2]).decode()

    @property
    def family_model(self) -> tuple[int, int]:
        """cpu/common.c: cpu_detect."""
        eax = self(1)[0]
        family, model = eax >> 8 & 0xF, eax >> 4 & 0xF
        if family >= 6:
            model |= eax >> 12 & 0xF0
        return (family + (eax >> 20 & 0xFF) if family == 0xF else family), model

    @property
    def has_topology_extensions(self) -> bool:
        return bool(self(0x80000001)[2] & TOPOLOGY_EXTENSIONS)


def decode_lists(data: bytes) -> list[Cpuid]:
    """Lists one after the other, each a struct kvm_cpuid2."""
    lists, at = [], 0
    while at < len(data):
        count, padding = struct.unpack_from("<II", data, at)
        assert padding == 0
        rows = [ENTRY.unpack_from(data, at + 8 + i * ENTRY.size) for i in range(count)]
        lists.append(Cpuid(tuple(Entry(f, i, flags, (a, b, c, d)) for f, i, flags, a, b, c, d in rows)))
        at += 8 + count * ENTRY.size
    return lists


def order(count: int) -> int:
    """get_count_order: how many bits number so many things."""
    return (count - 1).bit_length()


def cache_leaves(cpuid: Cpuid) -> list[tuple[int, int, int, int]]:
    """cpu/cacheinfo.c: find_num_cache_leaves, then each leaf."""
    function = 4 if cpuid.vendor == "GenuineIntel" else 0x8000001D
    leaves: list[tuple[int, int, int, int]] = []
    while (leaf := cpuid(function, len(leaves)))[0] & 0x1F:
        leaves.append(leaf)
        assert len(leaves) < 16
    return leaves


def sharing(leaf: tuple[int, int, int, int]) -> int:
    return (leaf[0] >> 14 & 0xFFF) + 1


def llc_id(cpuid: Cpuid, apic: int) -> int:
    """cpu/cacheinfo.c, 6.1 to 7.x: init_intel_cacheinfo and cacheinfo_amd_init_llc_id."""
    leaves = cache_leaves(cpuid)
    if cpuid.vendor == "GenuineIntel":
        (l3,) = [leaf for leaf in leaves if leaf[0] >> 5 & 7 == 3]
        return apic & ~((1 << order(sharing(l3))) - 1)
    family, model = cpuid.family_model
    assert cpuid(0x80000006)[3], "Linux takes this for a CPU without an L3"
    assert family > 0x17 or (family == 0x17 and model > 0x1F), "Linux takes the L3 id from bit 3 of the APIC id"
    return apic >> order(sharing(leaves[-1]))


def parse_levels(cpuid: Cpuid, leaf: int, domains: dict[int, int]) -> dict[int, tuple[int, int]] | None:
    """cpu/topology_ext.c, 6.9 and later: the shift and CPUs of each domain, higher ones as the one below."""
    found: dict[int, tuple[int, int]] = {}
    index = 0
    while (regs := cpuid(leaf, index))[1] & 0xFFFF and regs[2] >> 8 & 0xFF:
        assert regs[2] & 0xFF == index
        domain = domains[regs[2] >> 8 & 0xFF]
        for d in range(domain, GROUP + 1):
            found[d] = (regs[0] & 0x1F, regs[1] & 0xFFFF)
        assert regs[3] == cpuid(leaf, 0)[3], "APIC id mismatch"
        index += 1
    return found if index else None


INTEL_LEVELS = {1: SMT, 2: CORE, 3: MODULE, 4: TILE, 5: DIE, 6: GROUP}
AMD_LEVELS = {1: SMT, 2: CORE, 3: TILE, 4: DIE}


def ids_since_6_9(cpuid: Cpuid) -> Ids:
    """cpu/topology_common.c and topology_amd.c; what makes siblings is smpboot.c: match_smt."""
    found = None
    for leaf, levels in ((0x1F, INTEL_LEVELS), (0x80000026, AMD_LEVELS), (0xB, INTEL_LEVELS)):
        if found is None and cpuid.in_range(leaf):
            found = parse_levels(cpuid, leaf, levels)
            apic = cpuid(leaf)[3]
    assert found is not None
    package, die = apic >> found[GROUP][0], apic >> found[TILE][0]
    core = (apic & ((1 << found[GROUP][0]) - 1)) >> found[SMT][0]
    llc = llc_id(cpuid, apic)
    if not cpuid.has_topology_extensions:
        return Ids(apic, package, die, (package, die, core), llc)
    extended, _, ecx, _ = cpuid(0x8000001E)
    assert extended == apic, "6.9 to 6.14 take the APIC id from here"
    assert ecx >> 8 & 7 == 0, "one node in a package"
    return Ids(apic, package, die, (package, die, ecx & 0xFF, llc, core), llc)


def ids_in_6_1(cpuid: Cpuid) -> Ids:
    """cpu/topology.c: detect_extended_topology; AMD's die is its node (cpu/amd.c: amd_get_topology)."""
    leaf = next(x for x in (0x1F, 0xB) if cpuid.in_range(x) and cpuid(x)[1] and cpuid(x)[2] >> 8 & 0xFF == 1)
    smt_shift, _, _, apic = cpuid(leaf)
    core_shift = package_shift = smt_shift & 0x1F
    index = 1
    while kind := (regs := cpuid(leaf, index))[2] >> 8 & 0xFF:
        package_shift = regs[0] & 0x1F
        core_shift = package_shift if kind == 2 else core_shift
        assert kind != 5, "a die level is not expected"
        index += 1
    package, core = apic >> package_shift, (apic >> smt_shift) & ((1 << package_shift >> smt_shift) - 1)
    die = cpuid(0x8000001E)[2] & 0xFF if cpuid.has_topology_extensions else 0
    llc = llc_id(cpuid, apic)
    return Ids(apic, package, die, (package, die, llc, core), llc)


def cache_map(cpus: Sequence[Cpuid], ids: Sequence[Ids], index: int) -> list[frozenset[int]]:
    """Which CPUs each CPU shares cache leaf number index with (cpu/cacheinfo.c: __cache_cpumap_setup)."""

    def key(cpu: int) -> int:
        count = sharing(cache_leaves(cpus[cpu])[index])
        if cpus[cpu].vendor == "GenuineIntel":
            return ids[cpu].apic >> order(count)
        return ids[cpu].llc if index == 3 else ids[cpu].apic // count

    return groups(range(len(cpus)), key)


def groups(cpus: Iterable[int], key: Callable[[int], object]) -> list[frozenset[int]]:
    """For each CPU those that have the same key."""
    keys = [key(cpu) for cpu in cpus]
    members: dict[object, set[int]] = {}
    for cpu, k in enumerate(keys):
        members.setdefault(k, set()).add(cpu)
    return [frozenset(members[k]) for k in keys]
