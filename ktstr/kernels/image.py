"""Kernel images read as hostile input: bzImage to vmlinux, and what a vmlinux says about itself.

bzImage: the x86 boot protocol (Documentation/arch/x86/boot.rst), version 2.08 and later, whose
setup header names the compressed payload. Every size from the file is checked before use, and
what it unpacks to is capped.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import Changed, InputError
from ktstr.files import unreadable
from ktstr.host.elf import ET_DYN, ET_EXEC, PT_LOAD, BadElf, Elf, parse

FILE_CAP = 2 << 30
VMLINUX_CAP = 1 << 30
BTF_MAGIC = 0xEB9F
PVH_OWNER, PVH_TYPE = "Xen", 18  # XEN_ELFNOTE_PHYS32_ENTRY: the address QEMU enters a vmlinux at
_BANNER = re.compile(rb"Linux version ([!-~]{1,64}) \(")
_SCHED_EXT_OPS = b"\0bpf_struct_ops_sched_ext_ops\0"  # made by the kernel's struct_ops registration
_EXPECTED = "expected bzImage or ELF vmlinux"


class BadImage(ValueError):
    """The bytes are no kernel that can be used; the text says why."""


@dataclass(frozen=True)
class KernelImage:
    """A 64-bit x86 kernel: its vmlinux bytes and facts read from them.

    ``config`` is the embedded one (IKCONFIG), ``btf`` the raw ``.BTF`` section; None when not there.
    """

    vmlinux: bytes
    release: str
    btf: bytes | None
    config: str | None


def _gzip(data: bytes, cap: int) -> bytes:
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data, cap)


def _lzma(data: bytes, cap: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=VMLINUX_CAP).decompress(data, cap)


def _bzip2(data: bytes, cap: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, cap)


def _zstd(data: bytes, cap: int) -> bytes:
    import zstandard

    # The kernel is compressed with a 128 MiB window (zstd --ultra -22).
    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
        pieces, size = [], 0
        while size < cap and (piece := reader.read(min(4 << 20, cap - size))):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)


def _lz4(data: bytes, cap: int) -> bytes:
    """The legacy frame that ``lz4 -l`` writes: magic, then blocks of at most 8 MiB, each with its size."""
    import lz4.block  # type: ignore[import-untyped]

    out, at = bytearray(), 4
    while at + 4 <= len(data) and len(out) < cap:
        (size,) = struct.unpack_from("<I", data, at)
        if size == 0 or at + 4 + size > len(data):
            break
        out += lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=8 << 20)
        at += 4 + size
    return bytes(out[:cap])


_FORMATS: tuple[tuple[bytes, str, Callable[[bytes, int], bytes]], ...] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\xfd7zXZ\0", "xz", _lzma),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"\x02\x21\x4c\x18", "lz4", _lz4),
    (b"BZh", "bzip2", _bzip2),
    (b"\x5d\0\0", "lzma", _lzma),
)


def decompress(payload: bytes, cap: int = VMLINUX_CAP) -> bytes:
    """Unpack a kernel payload by its magic. Raises BadImage for an unknown or broken one, or beyond ``cap`` bytes."""
    for magic, name, function in _FORMATS:
        if payload.startswith(magic):
            try:
                data = function(payload, cap + 1)
            except MemoryError:
                raise
            except Exception as err:  # each library has errors of its own
                raise BadImage(f"its {name} payload is damaged: {err}") from None
            if len(data) > cap:
                raise BadImage(f"its {name} payload unpacks to more than {cap} bytes")
            return data
    raise BadImage(
        f"its payload begins with {payload[:4].hex(' ')}, no compression known here (gzip, xz, zstd, lz4, ...)"
    )


def is_bzimage(data: bytes) -> bool:
    """Whether the bytes carry the boot sector's signature and the setup header's magic."""
    return data[0x1FE:0x200] == b"\x55\xaa" and data[0x202:0x206] == b"HdrS"


def extract_vmlinux(data: bytes) -> bytes:
    """The vmlinux inside a bzImage. Raises BadImage.

    The payload ends with its unpacked size in 4 bytes, which must agree.
    """
    if not is_bzimage(data):
        raise BadImage("no boot sector with a setup header")
    if len(data) < 0x268:
        raise BadImage(f"it ends after {len(data)} bytes, inside the setup header (truncated?)")
    (version,) = struct.unpack_from("<H", data, 0x206)
    if version < 0x208:
        raise BadImage(f"boot protocol {version >> 8}.{version & 0xFF:02}, expected 2.08 or later")
    if version >= 0x20C and not struct.unpack_from("<H", data, 0x236)[0] & 1:
        raise BadImage("a 32-bit kernel, expected a 64-bit one (CONFIG_64BIT=y)")
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    if length < 8 or start + length > len(data):
        raise BadImage(f"its payload of {length} bytes at {start} lies beyond its {len(data)} bytes (truncated?)")
    payload = data[start : start + length]
    # gzip's own trailer is the size; after every other compression the kernel's build appends it.
    vmlinux = decompress(payload if payload.startswith(b"\x1f\x8b") else payload[:-4])
    (size,) = struct.unpack_from("<I", payload, length - 4)
    if len(vmlinux) != size:
        raise BadImage(f"its payload unpacks to {len(vmlinux)} bytes, its trailer says {size} (damaged?)")
    return vmlinux


def check_vmlinux(elf: Elf) -> None:
    """Raise BadImage unless the emulator can enter this ELF file: an executable with segments and a PVH note."""
    if elf.kind not in (ET_EXEC, ET_DYN):
        raise BadImage(f"an ELF file of type {elf.kind} (an object or a module?), expected an executable vmlinux")
    if not any(segment.kind == PT_LOAD and segment.file_size for segment in elf.segments):
        raise BadImage("an ELF file without a loaded segment")
    for segment in elf.segments:
        if segment.kind == PT_LOAD and segment.offset + segment.file_size > len(elf.data):
            raise BadImage(f"a segment ends at {segment.offset + segment.file_size}, beyond its {len(elf.data)} bytes")
    if not any(owner == PVH_OWNER and kind == PVH_TYPE for owner, kind, _ in elf.notes()):
        raise BadImage("it has no PVH entry note, so the emulator cannot start it; build it with CONFIG_PVH=y")


def embedded_config(vmlinux: bytes) -> str | None:
    """The ``.config`` between IKCFG_ST and IKCFG_ED (CONFIG_IKCONFIG), or None."""
    start = vmlinux.find(b"IKCFG_ST\x1f\x8b")
    if start < 0:
        return None
    try:
        text = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(vmlinux[start + 8 :], 4 << 20)
    except zlib.error:
        return None
    return text.decode("utf-8", "replace")


def kernel_btf(elf: Elf) -> bytes | None:
    """The ``.BTF`` section, or None. Raises BadImage when it is there but is no BTF."""
    raw = elf.section(".BTF")
    if raw is None:
        return None
    if len(raw) < 24 or struct.unpack_from("<H", raw)[0] != BTF_MAGIC:
        raise BadImage(f"its .BTF section begins with {raw[:2].hex(' ')}, expected 9f eb")
    return raw


def read_image(data: bytes) -> KernelImage:
    """Everything known about a kernel image's bytes. Raises BadImage saying what is wrong with it."""
    if is_bzimage(data):
        data = extract_vmlinux(data)
    elif data[:4] != b"\x7fELF":
        raise BadImage(f"first bytes are {data[:4].hex(' ') or 'none'}")
    try:
        elf = parse(data)
        banner = _BANNER.search(data)
        if banner is None:
            raise BadImage("an ELF file without a Linux version banner")
        check_vmlinux(elf)
        return KernelImage(data, banner.group(1).decode("ascii"), kernel_btf(elf), embedded_config(data))
    except BadElf as err:
        raise BadImage(str(err)) from None


def load_image(path: Path, sha256: str | None = None) -> KernelImage:
    """Read a kernel image file. Raises InputError saying what the file is instead, Changed when its content is not
    the one with this ``sha256``."""
    try:
        size = path.stat().st_size
        if not path.is_file() or size > FILE_CAP:
            what = f"{size} bytes" if path.is_file() else "no regular file"
            raise InputError(f"kernel {path}: is no kernel: {what}, {_EXPECTED}")
        data = path.read_bytes()
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise Changed(f"kernel {path}")
        return read_image(data)
    except OSError as err:
        raise unreadable(err, f"kernel {path}") from None
    except BadImage as err:
        raise InputError(f"kernel {path}: is no kernel: {err}, {_EXPECTED}") from None


def option(config: str, name: str) -> str | None:
    """The value of ``CONFIG_name`` in a ``.config`` text: ``y``, ``m``, a number or text; None when not set."""
    match = re.search(rf"^CONFIG_{re.escape(name)}=(.*)$", config, re.MULTILINE)
    return match.group(1).strip().strip('"') if match else None


def has_sched_ext(config: str | None, btf: bytes | None) -> bool:
    """Whether the kernel was built with sched_ext: by its config when known, else by its BTF."""
    if config is not None:
        return option(config, "SCHED_CLASS_EXT") == "y"
    return btf is not None and _SCHED_EXT_OPS in btf
