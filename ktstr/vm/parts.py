"""The parts of a message's payload, each checked: structs of the protocol's headers, texts, arrays, numbers.

What breaks a rule raises Bad, which ``messages`` makes an error of.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from ktstr.vm.channel import ChannelFault
from ktstr.vm.protocol import ffi, lib


class Bad(Exception):
    """A message breaks a rule of the protocol; never leaves the decoder."""

    def __init__(self, reason: str, kind: ChannelFault = "garbage") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


def struct(name: str, payload: bytes) -> Any:
    """The payload as exactly this struct."""
    if len(payload) != ffi.sizeof(name):
        raise Bad(f"{name} of {len(payload)} bytes, expected {ffi.sizeof(name)},")
    return ffi.new(name + " *", ffi.from_buffer(name + " *", payload)[0])[0]


def struct_and_rest(name: str, payload: bytes) -> tuple[Any, bytes]:
    """The payload as this struct and what follows it."""
    size = ffi.sizeof(name)
    return struct(name, payload[:size]), payload[size:]


def struct_and_text(name: str, payload: bytes) -> tuple[Any, str]:
    """The payload as this struct and a text to its end."""
    head, rest = struct_and_rest(name, payload)
    return head, text(rest)


def struct_and_array(name: str, item: str, payload: bytes, least: int = 1) -> tuple[Any, Any]:
    """The payload as this struct and as many items as its ``count`` says, at least so many."""
    head, rest = struct_and_rest(name, payload)
    if head.count < least or len(rest) != head.count * ffi.sizeof(item):
        raise Bad(f"{name} of {len(rest)} bytes for {head.count} items")
    array = ffi.new(f"{item}[]", head.count)
    ffi.memmove(array, rest, len(rest))
    return head, array


def text(data: bytes) -> str:
    """A text of the length that one may have."""
    if len(data) > lib.KTSTR_MAX_TEXT_BYTES:
        raise Bad(f"text of {len(data)} bytes, expected at most {lib.KTSTR_MAX_TEXT_BYTES},")
    return decode(data)


def decode(data: bytes | bytearray) -> str:
    """Bytes as text, whatever they are."""
    return data.decode("utf-8", errors="replace")


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def extend_log(log: bytearray, data: bytes) -> None:
    """Add a piece of a log, whose whole is bounded."""
    if len(log) + len(data) > lib.KTSTR_MAX_LOG_BYTES:
        raise Bad(f"more than {lib.KTSTR_MAX_LOG_BYTES} bytes of one log", "flood")
    log += data


def room(what: str, items: Sized, limit: int) -> None:
    """Whether one more fits."""
    if len(items) >= limit:
        raise Bad(f"more than {limit} {what}", "flood")


def below(what: str, number: int, limit: int) -> int:
    """The number, which is less than the limit."""
    if not 0 <= number < limit:
        raise Bad(f"{what} {number}, expected 0 to {limit - 1},")
    return number


def cpu_number(cpu: int) -> int:
    """The number of a CPU."""
    return below("CPU number", cpu, lib.KTSTR_MAX_CPUS)


def op_place(op: int) -> int:
    """The place of an op in a program."""
    return below("op", op, lib.KTSTR_MAX_OPS)


def mask_cpus(mask: Any) -> tuple[int, ...]:
    """The CPUs of a mask, ascending."""
    bits = sum(word << 64 * i for i, word in enumerate(mask.bits))
    return tuple(cpu for cpu in range(lib.KTSTR_MAX_CPUS) if bits >> cpu & 1)
