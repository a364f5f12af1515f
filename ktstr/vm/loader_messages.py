"""What the kernel refused a loader: a SchedRefusal message, checked."""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

from ktstr.record.guest import Refusal, RetryOutcome
from ktstr.vm import parts
from ktstr.vm.parts import Bad
from ktstr.vm.protocol import RETRY_OUTCOMES, ffi, lib

# include/uapi/linux/bpf.h, enum bpf_cmd: those whose refusal ends a loader (vmm_c/guest/proc/refusal.c).
_COMMANDS = MappingProxyType(
    {0: "BPF_MAP_CREATE", 2: "BPF_MAP_UPDATE_ELEM", 5: "BPF_PROG_LOAD", 18: "BPF_BTF_LOAD", 28: "BPF_LINK_CREATE"}
)
_MAX_ERRNO = 4095  # include/linux/err.h


def refusal(payload: bytes) -> Refusal:
    """The message as a value. Raises Bad."""
    msg, text = parts.struct_and_text("struct ktstr_msg_sched_refusal", payload)
    if msg.outcome not in RETRY_OUTCOMES:
        raise Bad(f"SchedRefusal message with unknown outcome {msg.outcome}")
    if msg.alike > 1 or not 0 <= msg.error <= _MAX_ERRNO:
        raise Bad(f"SchedRefusal message with error {msg.error} and alike {msg.alike}")
    refused = msg.outcome == lib.KTSTR_RETRY_REFUSED
    if refused is not (msg.command in _COMMANDS) or not (refused or msg.command == lib.KTSTR_REFUSED_NOTHING):
        raise Bad(f"SchedRefusal message of outcome {msg.outcome} with command {msg.command}")
    return Refusal(
        at_ns=msg.at_ns,
        outcome=cast(RetryOutcome, RETRY_OUTCOMES[msg.outcome]),
        command=_COMMANDS.get(msg.command),
        name=parts.decode(bytes(ffi.buffer(msg.name)).split(b"\0", 1)[0]),
        error=msg.error,
        calls=msg.calls,
        alike=bool(msg.alike),
        text=text,
    )
