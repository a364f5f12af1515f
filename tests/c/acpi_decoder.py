"""Reads ACPI tables as an operating system does, written from the ACPI specification 6.4.

Every number is checked where it is read: addresses, lengths, checksums, alignment.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER = struct.Struct("<4sIBB6s8sI4sI")


@dataclass(frozen=True)
class Register:
    """A generic address structure."""

    space: int
    bits: int
    offset: int
    access: int
    address: int


@dataclass(frozen=True)
class Memory:
    base: int
    bytes: int
    domain: int


@dataclass(frozen=True)
class Matrix:
    """A matrix of the HMAT, in picoseconds or MB/s."""

    initiators: tuple[int, ...]
    targets: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Tables:
    """What lies in memory from base on, the RSDP first."""

    data: bytes
    base: int

    def at(self, address: int, count: int) -> bytes:
        begin = address - self.base
        assert 0 <= begin <= begin + count <= len(self.data)
        return self.data[begin : begin + count]

    def table(self, address: int) -> bytes:
        assert address % 4 == 0
        _, length, *_ = HEADER.unpack(self.at(address, HEADER.size))
        table = self.at(address, length)
        assert sum(table) % 256 == 0, f"checksum of {table[:4]!r}"
        return table

    def rsdp(self) -> bytes:
        rsdp = self.at(self.base, 36)
        assert rsdp[:8] == b"RSD PTR " and rsdp[15] == 2
        assert sum(rsdp[:20]) % 256 == 0 and sum(rsdp) % 256 == 0
        assert struct.unpack_from("<I", rsdp, 20) == (36,)
        return rsdp

    def xsdt(self) -> bytes:
        (address,) = struct.unpack_from("<Q", self.rsdp(), 24)
        table = self.table(address)
        assert table[:4] == b"XSDT" and table[8] == 1
        return table

    def all(self) -> dict[str, bytes]:
        """By signature; with what the FADT points to."""
        listed = [self.table(address) for (address,) in struct.iter_unpack("<Q", self.xsdt()[36:])]
        found = {table[:4].decode(): table for table in listed}
        assert len(found) == len(listed)
        facs, dsdt = struct.unpack_from("<II", found["FACP"], 36)
        assert struct.unpack_from("<QQ", found["FACP"], 132) == (0, dsdt)
        assert facs % 64 == 0
        return found | {"DSDT": self.table(dsdt), "FACS": self.at(facs, 64), "XSDT": self.xsdt()}


def register(fadt: bytes, offset: int) -> Register:
    return Register(*struct.unpack_from("<BBBBQ", fadt, offset))


def entries(table: bytes, offset: int) -> list[tuple[int, bytes]]:
    """Structures that begin with type and length, one byte each."""
    found = []
    while offset < len(table):
        kind, length = table[offset], table[offset + 1]
        assert length >= 2 and offset + length <= len(table)
        found.append((kind, table[offset : offset + length]))
        offset += length
    return found


def madt_cpus(madt: bytes) -> list[tuple[int, int, int]]:
    """Type of entry, processor uid and APIC id of all enabled CPUs, in order (5.2.12.2 and 5.2.12.12)."""
    found = []
    for kind, entry in entries(madt, 44):
        if kind == 0:
            _, _, uid, apic, flags = struct.unpack("<BBBBI", entry)
        elif kind == 9:
            _, _, _, apic, flags, uid = struct.unpack("<BBHIII", entry)
        else:
            continue
        assert flags == 1
        found.append((kind, uid, apic))
    return found


def srat_cpus(srat: bytes) -> dict[int, int]:
    """Proximity domain of each x2APIC id (5.2.16.3)."""
    found = {}
    for kind, entry in entries(srat, 48):
        if kind == 2:
            _, _, _, domain, apic, flags, _, _ = struct.unpack("<BBHIIIII", entry)
            assert flags == 1 and apic not in found
            found[apic] = domain
    return found


def srat_memory(srat: bytes) -> list[Memory]:
    """5.2.16.2"""
    found = []
    for kind, entry in entries(srat, 48):
        assert kind in (1, 2)
        if kind == 1:
            _, _, domain, _, base, count, _, flags, _ = struct.unpack("<BBIHQQIIQ", entry)
            assert flags == 1
            found.append(Memory(base, count, domain))
    return found


def slit(table: bytes) -> tuple[tuple[int, ...], ...]:
    (n,) = struct.unpack_from("<Q", table, 36)
    assert len(table) == 44 + n * n
    return tuple(tuple(table[44 + i * n : 44 + (i + 1) * n]) for i in range(n))


def hmat_parts(table: bytes) -> list[tuple[int, bytes]]:
    found, offset = [], 40
    while offset < len(table):
        kind, _, length = struct.unpack_from("<HHI", table, offset)
        assert length >= 8 and offset + length <= len(table)
        found.append((kind, table[offset : offset + length]))
        offset += length
    return found


def hmat_initiators(table: bytes) -> dict[int, int]:
    """The initiator of each memory domain that is said to have one (5.2.27.3)."""
    found = {}
    for kind, part in hmat_parts(table):
        if kind == 0:
            assert len(part) == 40
            flags, _, initiator, target = struct.unpack_from("<HHII", part, 8)
            assert flags & 1
            found[target] = initiator
    return found


def hmat_matrices(table: bytes) -> dict[int, Matrix]:
    """By data type: 0 access latency, 3 access bandwidth (5.2.27.4)."""
    found = {}
    for kind, part in hmat_parts(table):
        if kind != 1:
            continue
        flags, data, _, _, n, m, _, unit = struct.unpack_from("<BBBBIIIQ", part, 8)
        assert flags == 0
        lists = struct.unpack_from(f"<{n + m}I", part, 32)
        values = struct.unpack_from(f"<{n * m}H", part, 32 + 4 * (n + m))
        assert len(part) == 32 + 4 * (n + m) + 2 * n * m
        assert all(0 < value < 0xFFFF for value in values)
        rows = tuple(tuple(v * unit for v in values[i * m : (i + 1) * m]) for i in range(n))
        found[data] = Matrix(lists[:n], lists[n:], rows)
    return found
