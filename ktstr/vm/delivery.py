"""Giving its program to a guest that has booted already and waits for it: a clone of a snapshot.

A kernel whose command line holds ``kernel_args.WAIT_ARGUMENT`` makes the agent wait; the agent says so with a
Ready message, and reads the delivery from the port that it writes to.
"""

from __future__ import annotations

from zlib import crc32

from ktstr.vm import parts
from ktstr.vm.channel import FrameParser
from ktstr.vm.protocol import ffi, lib

RANDOMNESS_BYTES: int = lib.KTSTR_RANDOMNESS_BYTES

_WORDS = 300  # bytes of what a guest says that are shown
_MAX_REALTIME_NS = 2**63 - 1  # what ktime_t holds
_HEAD, _FRAME = "struct ktstr_delivery", "struct ktstr_frame_header"
_FRAME_BYTES: int = ffi.sizeof(_FRAME)


def pack(program: bytes, randomness: bytes, realtime_ns: int) -> bytes:
    """What to send to a guest that waits.

    ``program``: as ``scenarios.encode`` makes it. ``randomness``: 64 bytes of the host's that no other
    guest gets. ``realtime_ns``: the guest's CLOCK_REALTIME, in ns since 1970. Raises ValueError when one
    of them is out of bounds.
    """
    if len(program) > lib.KTSTR_MAX_PROGRAM_BYTES:
        raise ValueError(f"program of {len(program)} bytes, expected at most {lib.KTSTR_MAX_PROGRAM_BYTES}")
    if len(randomness) != RANDOMNESS_BYTES:
        raise ValueError(f"{len(randomness)} bytes of randomness, expected {RANDOMNESS_BYTES}")
    if not 0 <= realtime_ns <= _MAX_REALTIME_NS:
        raise ValueError(f"time of {realtime_ns} ns, expected 0 to {_MAX_REALTIME_NS}")
    head = ffi.new(_HEAD + " *")
    head.magic = lib.KTSTR_DELIVERY_MAGIC
    head.version = lib.KTSTR_PROTO_VERSION
    head.header_bytes = ffi.sizeof(_HEAD)
    head.total_bytes = head.header_bytes + len(program)
    head.realtime_ns = realtime_ns
    head.randomness = randomness
    raw = bytes(ffi.buffer(head))
    before = ffi.offsetof(_HEAD, "crc")
    head.crc = crc32(program, crc32(raw[before + 4 :], crc32(raw[:before])))
    return bytes(ffi.buffer(head)) + program


def is_ready(channel_bytes: bytes) -> bool:
    """Whether the guest waits for its program: its channel so far is whole and ends with Ready."""
    if not _may_end_with_ready(channel_bytes):
        return False
    parser = FrameParser()
    frames = parser.feed(channel_bytes)
    if parser.finish() is not None:
        return False
    return bool(frames[-1].type == lib.KTSTR_MSG_READY and not frames[-1].payload)


def unparked(channel_bytes: bytes) -> str | None:
    """Why the guest could not be stopped so that clones of it go on, in its words; None when it did not say so."""
    texts = [f.payload for f in FrameParser().feed(channel_bytes) if f.type == lib.KTSTR_MSG_UNPARKED]
    return parts.printable(parts.decode(texts[0][:_WORDS])) or "the agent gave no reason" if texts else None


def _may_end_with_ready(channel_bytes: bytes) -> bool:
    """A look at the last bytes alone: the question is asked again and again while a guest boots."""
    if len(channel_bytes) < _FRAME_BYTES:
        return False
    frame = ffi.from_buffer(_FRAME + " *", channel_bytes[-_FRAME_BYTES:])
    return bool(frame.magic == lib.KTSTR_FRAME_MAGIC and frame.type == lib.KTSTR_MSG_READY)
