"""A guest's memory as an ELF core, as /proc/vmcore of a crashed kernel is one, and such a file as memory again.

The file has a segment for each piece of RAM and one for the kernel's image, a VMCOREINFO note, a CORE note with the
registers of each vCPU, and a note of ours that names the kernel. drgn and crash(8) read it too; they want debugging
symbols, which ``doit introspect`` does not. Pages of zeros are holes in the file.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from ktstr.errors import InputError
from ktstr.files import full_or_denied, staged, unreadable
from ktstr.host.elf import PT_LOAD, BadElf, opened
from ktstr.introspect.program import GuestProgram, Unreadable
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.symbols import KERNEL_MAP
from ktstr.record.codec import ready
from ktstr.vm.guest_memory import BadAddress, GuestMemory, Layout, Piece
from ktstr.vm.machine import Registers

OWNER, _OURS = "KTSTR", 0x4B54  # owner and type of our note
_VMCOREINFO = "VMCOREINFO"
_MAX_VMCOREINFO = 4096
_NT_PRSTATUS = 1
_PRSTATUS = struct.Struct("<112s27Q4s4x")  # struct elf_prstatus of x86-64: 336 bytes, pr_pid at 32
_PRSTATUS_NOTE = ("CORE", _NT_PRSTATUS, _PRSTATUS.size)
_PID_AT = 32
_GREGS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "", "rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base", "", "", "", "",
)  # fmt: skip
_EHDR = struct.Struct("<4sBBB9xHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_ET_CORE, _EM_X86_64, _PT_NOTE, _READ_WRITE = 4, 62, 4, 6
_BLOCK = 64 << 10  # bytes; what is zero by that much is a hole
_CHUNK = 4 << 20
_ALIGN = 4096
_MAX_PIECES = 1024


class CoreNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a core of ours says of the kernel: SHA-256 of its vmlinux, its entry's key, its release."""

    vmlinux: str
    key: str
    release: str


def write_core(path: Path, program: GuestProgram, entry: KernelEntry) -> None:
    """Write the memory and registers that a program was opened with. The guest should stand still.

    Raises HostError when the file cannot be written; Unreadable, and then there is no file.
    """
    notes = _notes_of(program, entry)
    image = program.address("_text")
    physical = image - KERNEL_MAP + program.phys_base
    pieces = program.memory.layout.pieces
    count = 1 + len(pieces) + 1
    notes_at = _EHDR.size + count * _PHDR.size
    offsets: list[int] = []
    at = _up(notes_at + len(notes))
    for piece in pieces:
        offsets.append(at)
        at = _up(at + piece.size)
    headers = [_PHDR.pack(_PT_NOTE, 0, notes_at, 0, 0, len(notes), len(notes), 4)]
    for piece, offset in zip(pieces, offsets, strict=True):
        virtual = (program.page_offset + piece.address) & ((1 << 64) - 1)
        headers.append(_load(offset, virtual, piece.address, piece.size))
        if piece.address <= physical < piece.end:
            size = min(program.address("_end") - image, piece.end - physical)
            headers.append(_load(offset + physical - piece.address, image, physical, size))
    head = _EHDR.pack(
        b"\x7fELF", 2, 1, 1, _ET_CORE, _EM_X86_64, 1, 0, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, len(headers), 0, 0, 0
    )
    try:
        with staged(path) as temp, temp.open("wb") as file:
            file.write((head + b"".join(headers)).ljust(notes_at, b"\0") + notes)
            for piece, offset in zip(pieces, offsets, strict=True):
                _copy(program.memory, piece, file.fileno(), offset)
            file.truncate(at)
    except OSError as err:
        raise full_or_denied(err, path, None) from err


def _load(offset: int, virtual: int, physical: int, size: int) -> bytes:
    return _PHDR.pack(PT_LOAD, _READ_WRITE, offset, virtual, physical, size, size, _ALIGN)


def _copy(memory: GuestMemory, piece: Piece, fd: int, offset: int) -> None:
    chunk, zeros = bytes(_CHUNK), bytes(_BLOCK)
    for at in range(0, piece.size, _CHUNK):
        data = memory.read(piece.address + at, min(_CHUNK, piece.size - at))
        if data == chunk[: len(data)]:
            continue
        for begin in range(0, len(data), _BLOCK):
            block = data[begin : begin + _BLOCK]
            if block != zeros[: len(block)]:
                os.pwrite(fd, block, offset + at + begin)


def _notes_of(program: GuestProgram, entry: KernelEntry) -> bytes:
    ours = msgspec.json.encode(CoreNote(entry.digest, entry.key, entry.version))
    notes = _note(_VMCOREINFO, 0, _vmcoreinfo(program)) + _note(OWNER, _OURS, ours)
    for cpu, registers in enumerate(program.registers):
        values = [registers.get(name, 0) if name else 0 for name in _GREGS]
        head = bytearray(112)
        struct.pack_into("<I", head, _PID_AT, cpu)
        notes += _note("CORE", _NT_PRSTATUS, _PRSTATUS.pack(bytes(head), *values, b""))
    return notes


def _note(owner: str, kind: int, data: bytes) -> bytes:
    name = owner.encode() + b"\0"
    head = struct.pack("<III", len(name), len(data), kind)
    return head + name.ljust(_up(len(name), 4), b"\0") + data.ljust(_up(len(data), 4), b"\0")


def _vmcoreinfo(program: GuestProgram) -> bytes:
    """The guest's own, which crash(8) needs; else the lines that drgn needs."""
    try:
        if program.has("vmcoreinfo_data") and program.has("vmcoreinfo_size"):
            size = min(program.u64(program.address("vmcoreinfo_size")), _MAX_VMCOREINFO)
            data = program.bytes_at(program.u64(program.address("vmcoreinfo_data")), size)
            if data.startswith(b"OSRELEASE="):
                return data
    except Unreadable:
        pass
    return program.vmcoreinfo.encode()


@dataclass(frozen=True)
class _Place:
    """RAM from a physical address on, and where in the file it is."""

    address: int
    size: int
    offset: int


class Core:
    """A core of ours as a guest's memory (``vm.guest_memory.GuestMemory``), until it is closed. It cannot be written.

    Raises InputError for a file that is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            with opened(path) as elf:
                size, notes = len(elf.data), list(elf.notes())
                loads = [_Place(s.paddr, s.file_size, s.offset) for s in elf.segments if s.kind == PT_LOAD]
                if elf.kind != _ET_CORE or not loads or len(loads) > _MAX_PIECES:
                    raise BadElf("is no core dump with memory in it")
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as err:
            raise unreadable(err, path) from err
        except BadElf as err:
            raise InputError(f"core={path}: {err}", fix="a file that vmcore=1 wrote") from None
        self._places = _places(loads, size)
        self._starts = [place.address for place in self._places]
        self.layout = Layout(tuple(Piece(place.address, place.size, 0, 0) for place in self._places))
        self.registers = tuple(
            _registers(data) for owner, kind, data in notes if (owner, kind, len(data)) == _PRSTATUS_NOTE
        )
        self.note = next((_core_note(data) for owner, kind, data in notes if (owner, kind) == (OWNER, _OURS)), None)

    def read(self, address: int, size: int) -> bytes:
        """As ``GuestMemory.read``."""
        index = bisect_right(self._starts, address) - 1
        place = self._places[index] if index >= 0 else None
        if place is None or address + size > place.address + place.size:
            raise BadAddress(f"guest physical address {address:#x}: no RAM is there")
        data = os.pread(self._fd, size, place.offset + address - place.address)
        if len(data) != size:
            raise BadAddress(f"guest physical address {address:#x}: the file has become shorter")
        return data

    def write(self, address: int, data: bytes) -> None:
        raise BadAddress(f"guest physical address {address:#x}: a core dump is not written to")

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Core:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _places(loads: Sequence[_Place], file_size: int) -> tuple[_Place, ...]:
    """The pieces of RAM that are whole: of those that overlap, as the kernel's image does, the largest that begins
    first."""
    found: list[_Place] = []
    for load in sorted(loads, key=lambda each: (each.address, -each.size)):
        inside = load.size > 0 and load.offset + load.size <= file_size
        if inside and (not found or load.address >= found[-1].address + found[-1].size):
            found.append(load)
    return tuple(found)


def _registers(data: bytes) -> Registers:
    values = _PRSTATUS.unpack(data)[1:28]
    return {name: value for name, value in zip(_GREGS, values, strict=True) if name}


def _core_note(data: bytes) -> CoreNote | None:
    try:
        return msgspec.json.decode(data, type=ready(CoreNote))
    except msgspec.DecodeError:
        return None


def _up(value: int, to: int = _ALIGN) -> int:
    return -(-value // to) * to
