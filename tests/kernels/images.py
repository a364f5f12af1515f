"""Kernel images made by hand, as small as their formats allow."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable

import lz4.block  # type: ignore[import-untyped]
import zstandard

BANNER = b"Linux version 6.99.1-test (me@here) (gcc) #1\n\0"
BTF = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 0) + b"\0bpf_struct_ops_sched_ext_ops\0"
PVH = struct.pack("<III", 4, 4, 18) + b"Xen\0" + struct.pack("<I", 0x100_0000)
CONFIG = "CONFIG_64BIT=y\nCONFIG_HZ=250\nCONFIG_SCHED_CLASS_EXT=y\n# CONFIG_PSI is not set\n"


def vmlinux(
    banner: bytes = BANNER, btf: bytes | None = BTF, note: bytes = PVH, config: str | None = None, kind: int = 2
) -> bytes:
    """An ELF64 x86-64 file: one loaded segment, one note segment, and ``.BTF`` when given."""
    embedded = b"" if config is None else b"IKCFG_ST" + gzip.compress(config.encode(), mtime=0) + b"IKCFG_ED"
    text = banner + embedded
    names = b"\0.BTF\0.shstrtab\0"
    text_at = 64 + 2 * 56
    note_at = text_at + len(text)
    btf_at = note_at + len(note)
    names_at = btf_at + len(btf or b"")
    table_at = names_at + len(names)
    sections = [(0, 0, 0, 0)]
    if btf is not None:
        sections.append((1, 1, btf_at, len(btf)))
    sections.append((6, 3, names_at, len(names)))
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH", kind, 62, 1, 0x100_0000, 64, table_at, 0, 64, 56, 2, 64, len(sections), len(sections) - 1
    )
    segments = struct.pack("<IIQQQQQQ", 1, 5, text_at, 0x100_0000, 0x100_0000, len(text), len(text), 4096)
    segments += struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    table = b"".join(struct.pack("<IIQQQQIIQQ", n, t, 0, 0, at, size, 0, 0, 1, 0) for n, t, at, size in sections)
    return head + segments + text + note + (btf or b"") + names + table


def _with_size(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: compress(data) + struct.pack("<I", len(data))


def _lz4(data: bytes) -> bytes:
    blocks = [lz4.block.compress(data[at : at + (8 << 20)], store_size=False) for at in range(0, len(data), 8 << 20)]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),  # its own trailer is the size
    "xz": _with_size(lzma.compress),
    "lzma": _with_size(lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE)),
    "bzip2": _with_size(bz2.compress),
    "zstd": _with_size(zstandard.compress),
    "lz4": _with_size(_lz4),
}


def bzimage(
    payload: bytes, *, version: int = 0x20F, flags: int = 1, offset: int = 64, length: int | None = None
) -> bytes:
    """A bzImage around a compressed payload: two setup sectors, then ``offset`` bytes of stub."""
    setup = bytearray(2 * 512)
    setup[0x1F1] = 1
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<H", setup, 0x236, flags)
    struct.pack_into("<II", setup, 0x248, offset, len(payload) if length is None else length)
    return bytes(setup) + bytes(64) + payload + bytes(100)
