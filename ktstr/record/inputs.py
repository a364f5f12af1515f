"""What a cell's result depends on: the parts that a sidecar has a digest of, and their names for people."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

# In the order in which people ask for them.
INPUTS = {
    "scheduler": "the scheduler's program, with what is packed beside it",
    "settings": "the scheduler's arguments, and what is set before the workload",
    "kernel": "the kernel",
    "scenario": "the test's scenario",
    "limits": "the limits that it is judged by",
    "files": "payloads or include files",
    "machine": "the machine: topology, memory, kernel arguments",
    "emulator": "what runs the guest",
    "agent": "ktstr's guest agent",
}

InputDigests: TypeAlias = dict[str, Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]]
