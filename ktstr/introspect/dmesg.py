"""The kernel's log out of its ring buffer (kernel/printk/printk_ringbuffer.c, since Linux 5.10)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ktstr.introspect.program import GuestProgram, Unreadable, clean, reading
from ktstr.record.kernel import KernelLog, LogLine

_MAX_BITS = 26  # log_buf_len is at most 64 MiB or so
_MAX_TEXT = 4096
_STATE_SHIFT = 62  # DESC_FLAGS_SHIFT
_COMMITTED, _FINALIZED = 1, 2
_NO_DATA = 1  # a blk_lpos that is odd has no text


@dataclass(frozen=True)
class _Ring:
    """``descs`` and ``infos``: bytes of the descriptors and of ``struct printk_info``; ``data``: all of the texts."""

    count: int
    head: int
    tail: int
    descs: bytes
    infos: bytes
    data: bytes


def read_dmesg(program: GuestProgram, last: int | None = None) -> KernelLog:
    """The log's records, only the ``last`` ones where that is given. Raises nothing."""
    lines: list[LogLine] = []
    try:
        with reading("dmesg"):
            ring = _ring(program)
            span = (ring.head - ring.tail) % (1 << _STATE_SHIFT) + 1
            if span > ring.count:
                raise Unreadable(f"the log has {span} records in a ring of {ring.count}")
            first = 0 if last is None else max(0, span - last)
            for number in range(first, span):
                line = _line(program, ring, (ring.tail + number) % (1 << _STATE_SHIFT))
                if line is not None:
                    lines.append(line)
    except Unreadable as err:
        return KernelLog(lines=tuple(lines), error=str(err))
    return KernelLog(lines=tuple(lines))


def _ring(program: GuestProgram) -> _Ring:
    address = program.u64(program.address("prb"))
    ring = program.at("struct printk_ringbuffer", address).read_()
    bits, size_bits = int(ring.desc_ring.count_bits), int(ring.text_data_ring.size_bits)
    if not (0 < bits <= _MAX_BITS and 0 < size_bits <= _MAX_BITS):
        raise Unreadable(f"the log is of 2^{bits} records in 2^{size_bits} bytes, expected at most 2^{_MAX_BITS}")
    count = 1 << bits
    return _Ring(
        count=count,
        head=int(ring.desc_ring.head_id.counter) % (1 << _STATE_SHIFT),
        tail=int(ring.desc_ring.tail_id.counter) % (1 << _STATE_SHIFT),
        descs=program.bytes_at(ring.desc_ring.descs.value_(), count * program.size("struct prb_desc")),
        infos=program.bytes_at(ring.desc_ring.infos.value_(), count * program.size("struct printk_info")),
        data=program.bytes_at(ring.text_data_ring.data.value_(), 1 << size_bits),
    )


def _line(program: GuestProgram, ring: _Ring, number: int) -> LogLine | None:
    """A record by its id; None for one without text, not whole yet, or written over meanwhile."""
    index = number % ring.count
    at = index * program.size("struct prb_desc")
    (state,) = struct.unpack_from("<Q", ring.descs, at + program.offset("struct prb_desc", "state_var"))
    begin, following = struct.unpack_from("<QQ", ring.descs, at + program.offset("struct prb_desc", "text_blk_lpos"))
    whole = state >> _STATE_SHIFT in (_COMMITTED, _FINALIZED)
    if not whole or state % (1 << _STATE_SHIFT) != number or begin & _NO_DATA:
        return None
    info = index * program.size("struct printk_info")
    seq, at_ns = struct.unpack_from("<QQ", ring.infos, info)
    (length,) = struct.unpack_from("<H", ring.infos, info + program.offset("struct printk_info", "text_len"))
    level = _level(program, ring.infos, info)
    text = _text(ring.data, begin, following, length)
    return LogLine(seq=seq, at_ns=at_ns, level=level, text=text)


def _level(program: GuestProgram, infos: bytes, info: int) -> int:
    """``flags : 5`` and ``level : 3`` are one byte."""
    return infos[info + program.offset("struct printk_info", "facility") + 1] >> 5


def _text(data: bytes, begin: int, following: int, length: int) -> str:
    """Behind the id of its record; one that would go over the buffer's end is at its begin instead."""
    size = len(data)
    start, end = begin % size, following % size
    if begin // size != following // size:
        start = 0
        if end == 0:
            start, end = begin % size, size
    room = max(0, end - start - 8)
    return clean(data[start + 8 : start + 8 + min(length, room, _MAX_TEXT)])
