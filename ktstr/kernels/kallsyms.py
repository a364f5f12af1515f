"""kallsyms out of a vmlinux file that has no names for its own tables (scripts/kallsyms.c of Linux 6.1 to 7.3).

The token table is found by its digits: tokens 48 to 57 are the characters themselves wherever no symbol is without
one. Its index, of 256 u16, follows and must agree. Before both are the markers (u32: where every 256th name begins),
and before those the names, behind their number. Since 6.4 the addresses follow the token index, until 6.3 they
precede the number. What is found is checked against ``_stext``, which is where the first segment is loaded.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from ktstr.host.elf import PT_LOAD, Elf

_DIGITS = b"\0" + b"".join(b"%c\0" % digit for digit in b"0123456789")
_EACH = 256  # names between two markers
_LEAST_MARKERS = 16
_MAX_NAMES = 4_000_000
_MAX_TOKEN = 64
_BEFORE = 24 << 20  # how far before the token table the markers may be: names are behind them, sequences between
_MASK = (1 << 64) - 1
_NAME_BYTES = range(2 * _EACH, 160 * _EACH)  # of 256 names


class BadKallsyms(ValueError):
    """There are no kallsyms that can be read; the text says why."""


@dataclass(frozen=True)
class _Tokens:
    """``begin`` of the table and ``end`` of its index in the file; the text of each token."""

    begin: int
    end: int
    texts: tuple[bytes, ...]


@dataclass(frozen=True)
class _Names:
    """Where the number of names is in the file, and where each name's tokens are."""

    number_at: int
    spans: list[tuple[int, int]]


def kallsyms(elf: Elf) -> list[tuple[int, str]]:
    """Address and name of each symbol, each name behind its nm(1) letter. Raises BadKallsyms."""
    try:
        for tokens in _token_tables(elf.data):
            for names in _names(elf.data, tokens):
                texts = [b"".join([tokens.texts[c] for c in elf.data[a:b]]).decode("latin-1") for a, b in names.spans]
                if (addresses := _addresses(elf, tokens, names, texts)) is not None:
                    return list(zip(addresses, texts, strict=True))
    except (struct.error, IndexError):
        raise BadKallsyms("kallsyms are cut off") from None
    raise BadKallsyms("found no kallsyms of a known form")


def _token_tables(data: bytes | mmap.mmap) -> Iterator[_Tokens]:
    at = -1
    while (at := data.find(_DIGITS, at + 1)) >= 0:
        begin = at + 1
        for _ in range(ord("0")):
            begin = data.rfind(b"\0", max(0, begin - 1 - _MAX_TOKEN), begin - 1) + 1
            if begin == 0:
                break
        if begin and (tokens := _tokens(data, begin)) is not None:
            yield tokens


def _tokens(data: bytes | mmap.mmap, begin: int) -> _Tokens | None:
    texts, starts, at = [], [], begin
    for _ in range(256):
        end = data.find(b"\0", at, at + _MAX_TOKEN)
        if end < 0:
            return None
        texts.append(data[at:end])
        starts.append(at - begin)
        at = end + 1
    index = _up(at, 8)
    if data[index : index + 512] != struct.pack("<256H", *(start & 0xFFFF for start in starts)):
        return None
    return _Tokens(begin, index + 512, tuple(texts))


def _names(data: bytes | mmap.mmap, tokens: _Tokens) -> Iterator[_Names]:
    base = _up(max(0, tokens.begin - _BEFORE), 8)
    words = array("I", data[base : base + (tokens.begin - base) // 4 * 4])
    end = len(words)
    while (at := _markers_before(words, end)) is not None:
        count = _rising(words, at)
        found = _names_before(data, base + 4 * at, words[at : at + count])
        if found is not None:
            yield found
        end = at


def _markers_before(words: array[int], end: int) -> int | None:
    """The last place before ``end`` where what may be markers begins: a zero, and then ever more."""
    raw = words.tobytes()
    at = end * 4
    while (at := raw.rfind(b"\0\0\0\0", 0, at + 3)) >= 0:
        place = at // 4
        if at % 4 == 0 and _rising(words, place) >= _LEAST_MARKERS:
            return place
    return None


def _rising(words: array[int], at: int) -> int:
    count = 1
    while at + count < len(words) and words[at + count] - words[at + count - 1] in _NAME_BYTES:
        count += 1
    return count


def _names_before(data: bytes | mmap.mmap, markers_at: int, markers: array[int]) -> _Names | None:
    """Names whose every 256th is where the markers say. What follows the markers may look like one more."""
    last = len(markers)
    farthest = markers_at - markers[-1] - _NAME_BYTES.stop
    for start in range((markers_at - markers[_LEAST_MARKERS - 1]) & ~3, max(8, farthest), -4):
        for number_at in (start - 8, start - 4):
            (number,) = struct.unpack_from("<I", data, number_at)
            if not (_LEAST_MARKERS - 1) * _EACH < number <= min(last * _EACH, _MAX_NAMES):
                continue
            spans = _spans(data, start, number, markers)
            if spans is not None and 0 <= markers_at - spans[-1][1] < 8:
                return _Names(number_at, spans)
    return None


def _spans(data: bytes | mmap.mmap, start: int, number: int, markers: array[int]) -> list[tuple[int, int]] | None:
    spans, at = [], start
    for index in range(number):
        if index % _EACH == 0 and at - start != markers[index // _EACH]:
            return None
        length = data[at]
        at += 1
        if length & 0x80:  # since 6.1: a long one has two bytes
            length = length & 0x7F | data[at] << 7
            at += 1
        spans.append((at, at + length))
        at += length
    return spans


def _addresses(elf: Elf, tokens: _Tokens, names: _Names, texts: list[str]) -> list[int] | None:
    """The addresses in whichever form makes sense of ``_stext``."""
    load = next((s for s in elf.segments if s.kind == PT_LOAD), None)
    stext = next((index for index, text in enumerate(texts) if text[1:] == "_stext"), None)
    if load is None or stext is None:
        return None
    return next((found for found in _forms(elf, tokens, names) if found[stext] == load.vaddr), None)


def _forms(elf: Elf, tokens: _Tokens, names: _Names) -> Iterator[list[int]]:
    """The addresses in each form that there is, or that what is there would be."""
    data, count = elf.data, len(names.spans)
    size, before = _up(4 * count, 8), names.number_at & ~7
    for at, base_at in ((tokens.end, tokens.end + size), (before - 8 - size, before - 8)):
        if at < 0:
            continue
        offsets = struct.unpack_from(f"<{count}i", data, at)
        (base,) = struct.unpack_from("<Q", data, base_at)
        # CONFIG_KALLSYMS_ABSOLUTE_PERCPU (until 6.14): what is not negative is absolute.
        yield [offset if offset >= 0 else (base - 1 - offset) & _MASK for offset in offsets]
        yield [(base + (offset & 0xFFFFFFFF)) & _MASK for offset in offsets]
        if (place := _loaded_at(elf, at)) is not None:  # since 7.0: from its own place
            yield [(place + 4 * index + offset) & _MASK for index, offset in enumerate(offsets)]
    if before >= 8 * count:  # !CONFIG_KALLSYMS_BASE_RELATIVE
        yield list(struct.unpack_from(f"<{count}Q", data, before - 8 * count))


def _loaded_at(elf: Elf, offset: int) -> int | None:
    for segment in elf.segments:
        if segment.kind == PT_LOAD and segment.offset <= offset < segment.offset + segment.file_size:
            return segment.vaddr + offset - segment.offset
    return None


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
