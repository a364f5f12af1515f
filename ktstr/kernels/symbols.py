"""The symbols of a kernel, by name and by address: decoded once from its vmlinux file and kept beside it.

A prebuilt kernel has no ``.symtab``. What it has is kallsyms, in its read-only data (scripts/kallsyms.c), which needs
``CONFIG_KALLSYMS_ALL`` to know data. A kernel built here keeps its ``.symtab``. Addresses are those it was linked at;
one below ``KERNEL_MAP`` is an offset into per-CPU memory (before Linux 6.15) and is not moved by KASLR.

``symbols.zst`` in the entry's folder: one zstandard frame of a header, the number of symbols (u64), addresses (u64,
sorted), and names, each behind its nm(1) letter, joined by newlines. It carries the digest of the vmlinux it was made
from, and its own.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ktstr.errors import HostError
from ktstr.files import write_atomic
from ktstr.host.cache import Cache
from ktstr.host.elf import BadElf, Elf, opened
from ktstr.kernels.cache import KIND
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.kallsyms import BadKallsyms, kallsyms

KERNEL_MAP = 0xFFFFFFFF80000000  # __START_KERNEL_map of arch/x86/include/asm/page_64_types.h
FILE = "symbols.zst"
_MAGIC = b"ktstrsym2\n"
_HEAD = struct.Struct("<10s32s32s")  # magic, digests of vmlinux and of what follows
_COUNT = struct.Struct("<Q")  # of symbols
_CAP = 256 << 20  # bytes, unpacked
_LEVEL = 3
_MAX_SYMBOLS = 4_000_000
_SYM = struct.Struct("<IBBHQQ")  # Elf64_Sym
_STT = {0: "n", 1: "d", 2: "t"}  # as nm(1) calls STT_NOTYPE, STT_OBJECT, STT_FUNC


class BadSymbols(ValueError):
    """The bytes are no symbols of this kernel; the text says why."""


class Symbols:
    """Addresses in order, and the name of each behind its nm(1) letter."""

    def __init__(self, addresses: array[int], names: Sequence[str]) -> None:
        if len(addresses) != len(names):
            raise ValueError(f"{len(addresses)} addresses of {len(names)} names")
        self.addresses, self._names = addresses, names

    def __len__(self) -> int:
        return len(self.addresses)

    @cached_property
    def _by_name(self) -> dict[str, int]:
        # Backwards: of several static functions with one name the first is found.
        return {name[1:]: index for index, name in zip(reversed(range(len(self))), reversed(self._names), strict=True)}

    def address(self, name: str) -> int | None:
        """Where ``name`` was linked; None for one that is not there."""
        index = self._by_name.get(name)
        return None if index is None else self.addresses[index]

    def index(self, name: str) -> int | None:
        return self._by_name.get(name)

    def index_at(self, address: int) -> int | None:
        """The last symbol at or below ``address``; None below all."""
        index = bisect_right(self.addresses, address) - 1
        return index if index >= 0 else None

    def name(self, index: int) -> str:
        return self._names[index][1:]

    def letter(self, index: int) -> str:
        """As nm(1) has it: upper case for a global one, ``t`` for code."""
        return self._names[index][0]

    def size(self, index: int) -> int:
        """Bytes up to the next symbol elsewhere; 0 for the last."""
        following = bisect_right(self.addresses, self.addresses[index])
        return self.addresses[following] - self.addresses[index] if following < len(self) else 0


def pack(symbols: Symbols, vmlinux_digest: str) -> bytes:
    """The file's bytes. ``vmlinux_digest``: SHA-256 in hexadecimal."""
    import zstandard

    data = _COUNT.pack(len(symbols)) + symbols.addresses.tobytes() + "\n".join(symbols._names).encode()
    own = hashlib.sha256(data).digest()
    head = _HEAD.pack(_MAGIC, bytes.fromhex(vmlinux_digest), own)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(head + data)


def unpack(packed: bytes, vmlinux_digest: str) -> Symbols:
    """What ``pack`` packed. Raises BadSymbols for anything else."""
    import zstandard

    try:
        if zstandard.get_frame_parameters(packed).content_size > _CAP:
            raise BadSymbols(f"unpacks to more than {_CAP} bytes")
        data = zstandard.ZstdDecompressor().decompress(packed)
        magic, vmlinux, own = _HEAD.unpack_from(data)
    except (zstandard.ZstdError, struct.error) as err:
        raise BadSymbols(f"cannot be unpacked: {err}") from None
    body = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or hashlib.sha256(body).digest() != own:
        raise BadSymbols("is damaged")
    if vmlinux.hex() != vmlinux_digest:
        raise BadSymbols("is of another vmlinux")
    try:
        (count,) = _COUNT.unpack_from(body)
        names_at = _COUNT.size + 8 * count
        addresses = array("Q", bytes(body[_COUNT.size : names_at]))
        return Symbols(addresses, bytes(body[names_at:]).decode().split("\n") if count else ())
    except (struct.error, ValueError) as err:
        raise BadSymbols(f"makes no sense: {err}") from None


def decode(vmlinux: Path) -> Symbols:
    """The symbols of a vmlinux file: its ``.symtab``, else its kallsyms.

    Raises HostError for a kernel that has neither, OSError.
    """
    try:
        with opened(vmlinux) as elf:
            found = _symtab(elf) or kallsyms(elf)
    except (BadElf, BadKallsyms, struct.error) as err:
        raise HostError(
            f"{vmlinux}: has no symbols that can be read: {err}",
            fix="a kernel with CONFIG_KALLSYMS=y and CONFIG_KALLSYMS_ALL=y",
        ) from None
    found.sort()
    return Symbols(array("Q", [address for address, _ in found]), [name for _, name in found])


def _symtab(elf: Elf) -> list[tuple[int, str]]:
    """Named functions and objects; empty without a ``.symtab``."""
    table, strings = elf.section(".symtab"), elf.section(".strtab")
    if table is None or strings is None:
        return []
    found = []
    for name, info, _other, section, value, _size in _SYM.iter_unpack(table[: len(table) // _SYM.size * _SYM.size]):
        letter = _STT.get(info & 15)
        if letter is None or section == 0 or name == 0 or name >= len(strings):
            continue
        text = strings[name : strings.index(b"\0", name)].decode("ascii", "replace")
        if "\n" not in text:
            found.append((value, (letter.upper() if info >> 4 else letter) + text))
        if len(found) > _MAX_SYMBOLS:
            raise BadElf(f"found more than {_MAX_SYMBOLS} symbols")
    return found


def load(entry: KernelEntry) -> Symbols | None:
    """The symbols kept beside an entry's vmlinux; None when there are none, or not of this vmlinux."""
    try:
        return unpack((entry.metadata.parent / FILE).read_bytes(), entry.digest)
    except (OSError, BadSymbols):
        return None


def symbols_of(entry: KernelEntry, cache: Cache | None = None) -> Symbols:
    """The symbols of an entry, decoded when they were not yet, and then kept in its folder.

    The file appears whole, and is the same whoever made it: holding the entry's shared lock (``cache``; None for a
    caller who holds it) is enough, and in a cache that cannot be written nothing is kept. The entry's key and metadata
    do not change. Raises HostError for a kernel without symbols, OSError.
    """
    if (found := load(entry)) is not None:
        return found
    if cache is not None:
        with cache.reading(KIND, entry.key):
            return symbols_of(entry)
    symbols = decode(entry.vmlinux)
    try:
        write_atomic(entry.metadata.parent / FILE, pack(symbols, entry.digest))
    except HostError:  # full, or not this user's
        return symbols
    return symbols
