"""The guest's frames out of the channel's bytes. Everything the guest says is hostile.

A stream is read until the first thing that is wrong with it; there is no way to find the next
good frame in bytes that cannot be trusted. What came before stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zlib import crc32

from ktstr.vm.protocol import ffi, lib

ChannelFault: TypeAlias = Literal["garbage", "flood", "truncated"]

_HEADER = "struct ktstr_frame_header"
_HEADER_BYTES: int = ffi.sizeof(_HEADER)
_BEFORE_CRC: int = ffi.offsetof(_HEADER, "crc")
_CHUNK = 64 << 10
_FOLLOW_S = 0.05  # how often a file that grows is read


@dataclass(frozen=True)
class ChannelError:
    """Why the channel could not be read on, as a value.

    ``offset`` is where in the stream the frame at fault begins. ``garbage``: it is no frame of
    this protocol. ``flood``: more than the protocol allows. ``truncated``: the stream ends in it.
    """

    kind: ChannelFault
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} at {self.offset}"


@dataclass(frozen=True)
class Frame:
    """One frame whose checksum and sequence are right; its payload is not looked at yet."""

    type: int
    offset: int
    payload: bytes


class FrameParser:
    """Bytes in, in pieces of any size; frames out. After an error nothing more comes out."""

    def __init__(self) -> None:
        self.error: ChannelError | None = None
        self._pending = bytearray()
        self._offset = 0  # of the first pending byte
        self._seq = 0

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes."""
        if self.error is None:
            room = lib.KTSTR_MAX_CHANNEL_BYTES - self._offset - len(self._pending)
            self._pending += data[:room]
            frames = self._take_frames()
            if len(data) > room and self.error is None:
                self._fail("flood", f"more than {lib.KTSTR_MAX_CHANNEL_BYTES} bytes on the channel")
            return frames
        return []

    def finish(self) -> ChannelError | None:
        """The stream has ended: the error it ended with, if any."""
        if self.error is None and self._pending:
            self._fail("truncated", f"truncated frame of {len(self._pending)} bytes")
        return self.error

    def _fail(self, kind: ChannelFault, reason: str) -> None:
        self.error = ChannelError(kind, self._offset, reason)
        self._pending.clear()

    def _take_frames(self) -> list[Frame]:
        frames = []
        used = 0
        while (frame := self._frame_at(used)) is not None:
            frames.append(frame)
            size = _HEADER_BYTES + len(frame.payload)
            used += size
            self._offset += size
            self._seq += 1
        if self.error is None:
            del self._pending[:used]
        return frames

    def _frame_at(self, at: int) -> Frame | None:
        """The frame there, or None when it is not complete yet or wrong."""
        if len(self._pending) - at < _HEADER_BYTES:
            return None
        raw = bytes(self._pending[at : at + _HEADER_BYTES])
        header = ffi.from_buffer(_HEADER + " *", raw)
        if (fault := self._header_fault(header)) is not None:
            self._fail("garbage", fault)
            return None
        end = at + _HEADER_BYTES + header.bytes
        if len(self._pending) < end:
            return None
        payload = bytes(self._pending[at + _HEADER_BYTES : end])
        crc = crc32(payload, crc32(raw[:_BEFORE_CRC]))
        if crc != header.crc:
            self._fail("garbage", f"frame with checksum {header.crc:#010x}, expected {crc:#010x},")
            return None
        return Frame(header.type, self._offset, payload)

    def _header_fault(self, header: Any) -> str | None:
        if header.magic != lib.KTSTR_FRAME_MAGIC:
            return f"frame with magic {header.magic:#010x}, expected {lib.KTSTR_FRAME_MAGIC:#010x},"
        if header.reserved:
            return f"frame of type {header.type} with a reserved field set"
        if header.bytes > lib.KTSTR_MAX_PAYLOAD:
            return f"frame of {header.bytes} bytes, expected at most {lib.KTSTR_MAX_PAYLOAD},"
        if header.seq != self._seq:
            return f"frame number {header.seq}, expected {self._seq},"
        return None


def follow(path: Path, has_ended: Callable[[float], bool]) -> Iterator[Frame]:
    """The frames in a file that a guest still appends to, as they come; up to the first thing that is no frame.

    ``has_ended`` blocks for so many seconds, or less when nothing is written to the file any more, and says whether
    that is so. Raises OSError when the file cannot be read.
    """
    parser = FrameParser()
    with path.open("rb", buffering=0) as file:
        last = False
        while not last:
            last = has_ended(_FOLLOW_S)  # before the read: nothing is appended after it
            while data := file.read(_CHUNK):
                yield from parser.feed(data)
                if parser.error is not None:
                    return
