"""ELF files read as hostile input: headers, sections, notes, and the shared libraries a program needs.

64-bit little-endian x86-64 only, from the System V ABI and its AMD64 supplement. Every offset
and count in the file is checked against its length before use.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Buffer: TypeAlias = bytes | mmap.mmap

ET_EXEC, ET_DYN = 2, 3
EM_X86_64 = 62
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29
SHT_NOBITS = 8
_MAX_STRING = 4096
_SYSTEM_FOLDERS = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")


class BadElf(ValueError):
    """The bytes are not the ELF file that was expected; the text says why."""


@dataclass(frozen=True)
class Segment:
    """A program header: type, file offset, virtual and physical address, and sizes in the file and in memory."""

    kind: int
    offset: int
    vaddr: int
    paddr: int
    file_size: int
    mem_size: int


@dataclass(frozen=True)
class Section:
    """A section header; ``size`` counts bytes in the file (0 for NOBITS)."""

    name: str
    kind: int
    offset: int
    size: int


@dataclass(frozen=True)
class Dynamic:
    """What a dynamically linked file asks of the loader. ``interpreter`` is None for a library or a static file."""

    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]
    runpath: tuple[str, ...]


@dataclass(frozen=True)
class Elf:
    """An ELF64 x86-64 file: its bytes, type, entry address, segments and sections."""

    data: Buffer
    kind: int
    entry: int
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]

    def section(self, name: str) -> bytes | None:
        """The bytes of the first section called ``name``; None when there is none or it has no bytes."""
        for section in self.sections:
            if section.name == name and section.size:
                return _slice(self.data, section.offset, section.size, f"section {name}")
        return None

    def notes(self) -> Iterator[tuple[str, int, bytes]]:
        """Every note (owner, type, description) of the PT_NOTE segments."""
        for segment in self.segments:
            if segment.kind == PT_NOTE:
                yield from _notes(_slice(self.data, segment.offset, segment.file_size, "note segment"))


def _slice(data: Buffer, offset: int, size: int, what: str) -> bytes:
    """The one border check: ``size`` bytes at ``offset``, all inside the file."""
    if offset < 0 or size < 0 or offset + size > len(data):
        raise BadElf(f"{what} lies at {offset}..{offset + size}, beyond the file's {len(data)} bytes (truncated?)")
    return data[offset : offset + size]


def _string(table: bytes, offset: int) -> str:
    if not 0 <= offset < len(table):
        raise BadElf(f"a name lies at {offset}, beyond its table's {len(table)} bytes")
    return table[offset : offset + _MAX_STRING].split(b"\0", 1)[0].decode("utf-8", "replace")


def _table(data: Buffer, offset: int, size: int, count: int, least: int, what: str) -> list[bytes]:
    if count and size < least:
        raise BadElf(f"{what} entries are {size} bytes, expected {least}")
    raw = _slice(data, offset, size * count, what)
    return [raw[i * size : (i + 1) * size] for i in range(count)]


def _segment(raw: bytes) -> Segment:
    kind, _flags, offset, vaddr, paddr, file_size, mem_size = struct.unpack_from("<IIQQQQQ", raw)
    return Segment(kind, offset, vaddr, paddr, file_size, mem_size)


def _sections(data: Buffer, offset: int, size: int, count: int, names: int) -> tuple[Section, ...]:
    heads = [
        struct.unpack_from("<IIQQQQ", raw) for raw in _table(data, offset, size, count, 64, "section header table")
    ]
    if not heads:
        return ()
    if names >= len(heads):
        raise BadElf(f"the section name table is number {names} of {len(heads)} sections")
    table = _slice(data, heads[names][4], heads[names][5], "section name table")
    return tuple(
        Section(_string(table, head[0]), head[1], head[4], 0 if head[1] == SHT_NOBITS else head[5]) for head in heads
    )


def parse(data: Buffer) -> Elf:
    """Read the headers of an ELF64 x86-64 file. Raises BadElf for anything else."""
    if data[:4] != b"\x7fELF":
        raise BadElf(f"first bytes are {bytes(data[:4]).hex(' ') or 'none'}, expected an ELF file")
    ident = _slice(data, 0, 16, "ELF header")
    if ident[4] != 2:
        raise BadElf(
            "a 32-bit ELF file, expected a 64-bit one" if ident[4] == 1 else f"ELF class {ident[4]} is unknown"
        )
    if ident[5] != 1:
        raise BadElf("a big-endian ELF file, expected little-endian x86-64")
    head = struct.unpack_from("<HHIQQQIHHHHHH", _slice(data, 16, 48, "ELF header"))
    kind, machine, _version, entry, phoff, shoff, _flags, _ehsize, phsize, phnum, shsize, shnum, shstrndx = head
    if machine != EM_X86_64:
        raise BadElf(f"ELF machine number {machine}, expected {EM_X86_64} (x86-64)")
    segments = tuple(_segment(raw) for raw in _table(data, phoff, phsize, phnum, 56, "program header table"))
    return Elf(data, kind, entry, segments, _sections(data, shoff, shsize, shnum, shstrndx))


def _notes(raw: bytes) -> Iterator[tuple[str, int, bytes]]:
    at = 0
    while at + 12 <= len(raw):
        name_size, size, kind = struct.unpack_from("<III", raw, at)
        start = at + 12 + (name_size + 3 & ~3)
        if start + size > len(raw):
            raise BadElf(f"a note of {name_size} + {size} bytes does not fit its segment of {len(raw)} bytes")
        name = raw[at + 12 : at + 12 + name_size].rstrip(b"\0").decode("utf-8", "replace")
        yield name, kind, raw[start : start + size]
        at = start + (size + 3 & ~3)


@contextmanager
def opened(path: Path) -> Iterator[Elf]:
    """Map a file and read its headers; the Elf is valid inside the block. Raises BadElf and OSError."""
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise BadElf("the file is empty, expected an ELF file") from None
        with mapped:
            yield parse(mapped)


def _file_offset(elf: Elf, vaddr: int) -> int:
    for segment in elf.segments:
        if segment.kind == PT_LOAD and segment.vaddr <= vaddr < segment.vaddr + segment.file_size:
            return segment.offset + vaddr - segment.vaddr
    raise BadElf(f"address {vaddr:#x} lies in no loaded segment")


def dynamic(elf: Elf) -> Dynamic:
    """The loader's view of a file; all empty for a static one. Raises BadElf."""
    interpreter: str | None = None
    pairs: list[tuple[int, int]] = []
    for segment in elf.segments:
        raw = b""
        if segment.kind in (PT_DYNAMIC, PT_INTERP):
            raw = _slice(elf.data, segment.offset, segment.file_size, "dynamic segment")
        if segment.kind == PT_INTERP:
            interpreter = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
        elif segment.kind == PT_DYNAMIC:
            pairs = [struct.unpack_from("<QQ", raw, at) for at in range(0, len(raw) - 15, 16)]
    values = dict(reversed(pairs))
    if DT_STRTAB not in values:
        return Dynamic(interpreter, None, (), ())
    offset = _file_offset(elf, values[DT_STRTAB])
    table = _slice(elf.data, offset, values.get(DT_STRSZ, 0), "dynamic string table")
    end = next((i for i, (tag, _) in enumerate(pairs) if tag == DT_NULL), len(pairs))
    names = [(tag, _string(table, v)) for tag, v in pairs[:end] if tag in (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)]
    soname = next((name for tag, name in names if tag == DT_SONAME), None)
    paths = [part for tag, name in names if tag in (DT_RPATH, DT_RUNPATH) for part in name.split(":") if part]
    return Dynamic(interpreter, soname, tuple(name for tag, name in names if tag == DT_NEEDED), tuple(paths))


def read_dynamic(path: Path) -> Dynamic:
    """``dynamic`` of the file at ``path``. Raises BadElf and OSError."""
    with opened(path) as elf:
        return dynamic(elf)


def _conf_folders(conf: Path, depth: int = 0) -> Iterator[Path]:
    try:
        lines = conf.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words[:1] == ["include"] and depth < 4:
            for pattern in words[1:]:
                folder = conf.parent if not pattern.startswith("/") else Path("/")
                for found in sorted(folder.glob(pattern.lstrip("/"))):
                    yield from _conf_folders(found, depth + 1)
        elif words:
            yield Path(words[0])


def system_folders() -> tuple[Path, ...]:
    """Where this machine's loader looks for libraries: ld.so.conf(5), then its built-in folders."""
    folders = [*_conf_folders(Path("/etc/ld.so.conf")), *(Path(name) for name in _SYSTEM_FOLDERS)]
    return tuple(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _own_folders(path: Path, dyn: Dynamic) -> list[Path]:
    origin = str(path.resolve().parent)
    return [Path(part.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)) for part in dyn.runpath]


def find_library(name: str, folders: Sequence[Path]) -> Path | None:
    """The first x86-64 library called ``name`` in ``folders``; files of other machines are passed over."""
    for folder in folders:
        path = folder / name
        try:
            if path.is_file():
                read_dynamic(path)
                return path
        except (BadElf, OSError):
            continue
    return None


@dataclass(frozen=True)
class Libraries:
    """What a program needs, by library name. ``found``: its file; ``missing``: the file that needs it."""

    found: dict[str, Path]
    missing: dict[str, Path]


def needed_libraries(path: Path, folders: Sequence[Path]) -> Libraries:
    """The transitive DT_NEEDED closure of the ELF file ``path``, sought in its RUNPATH and then ``folders``.

    The interpreter counts as needed. Raises BadElf when ``path`` itself is no x86-64 ELF file.
    """
    found: dict[str, Path] = {}
    missing: dict[str, Path] = {}
    todo = [path]
    while todo:
        file = todo.pop(0)
        dyn = read_dynamic(file)
        names = [*([Path(dyn.interpreter).name] if dyn.interpreter else []), *dyn.needed]
        for name in names:
            if name in found or name in missing:
                continue
            library = find_library(name, [*_own_folders(file, dyn), *folders]) if "/" not in name else None
            if library is None:
                missing[name] = file
            else:
                found[name] = library
                todo.append(library)
    return Libraries(found, missing)
