"""The guest protocol, read from its one home: the C headers the agent is compiled with.

``ffi`` knows every struct of ``ktstr_program.h``, ``ktstr_report.h`` and ``ktstr_proto.h`` (cffi, ABI mode: nothing
is compiled), ``lib`` their integer constants and enumerators. Names of policies, events and the like follow from the
enumerators, those of work types and ops are in the agent's tables (``record.vocabulary``), so they are written once
too.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cffi import FFI

from ktstr.errors import HostError
from ktstr.record import vocabulary
from ktstr.resources import c_dir

_HEADERS = ("ktstr_program.h", "ktstr_report.h", "ktstr_proto.h")  # each includes those before it
_CONSTANT = re.compile(r"#define\s+\w+\s+(0[xX][0-9a-fA-F]+|\d+)\s*")


def header_paths() -> tuple[Path, ...]:
    """The headers in this installation, each after those it includes. Raises HostError when one is not there."""
    paths = tuple(c_dir() / "include" / name for name in _HEADERS)
    for path in paths:
        if not path.is_file():
            raise HostError(f"{path}: found no protocol header there", fix="install ktstr again")
    return paths


def declarations(header: str) -> str:
    """What cffi can read of the header: its rule is stated in the header's first comment."""
    lines = []
    for line in header.splitlines():
        if line.startswith("_Static_assert") or (line.startswith("#") and not _CONSTANT.fullmatch(line)):
            continue
        lines.append(line)
    return "\n".join(lines)


def _load() -> tuple[Any, Any]:
    """cffi's two halves; what a struct holds is known to the headers alone, hence no types."""
    ffi = FFI()
    for path in header_paths():
        ffi.cdef(declarations(path.read_text(encoding="ascii")))
    return ffi, ffi.dlopen(None)


def enum_values(enum: str) -> dict[str, int]:
    """The enumerators of ``enum ktstr_<enum>``, in order, by name without prefix: ``{"NORMAL": 0, ...}``."""
    prefix = f"KTSTR_{enum.removesuffix('_event').upper()}_"
    named = ffi.typeof(f"enum ktstr_{enum}").elements
    return {named[value].removeprefix(prefix): value for value in sorted(named)}


def _numbers(enum: str) -> MappingProxyType[str, int]:
    return MappingProxyType({name.lower(): value for name, value in enum_values(enum).items()})


def _names(enum: str) -> MappingProxyType[int, str]:
    return MappingProxyType({value: name.lower() for name, value in enum_values(enum).items()})


ffi, lib = _load()

OPS = MappingProxyType({name: facts.number for name, facts in vocabulary.OPS.items()})
OP_NAMES = MappingProxyType({number: name for name, number in OPS.items()})
WORK_TYPES = MappingProxyType({name: facts.number for name, facts in vocabulary.WORK_TYPES.items()})
POLICIES = _numbers("policy")
MEM_POLICIES = _numbers("mem_policy")
SCOPES = _numbers("scope")
ON_ERRORS = _numbers("on_error")
SCHED_EVENTS = _names("sched")
"""Kinds of scheduler events by number, in the words of ``record.guest.SchedEventKind``."""
RETRY_OUTCOMES = _names("retry")
"""How a loader that failed ended when it was traced, by number, in the words of ``record.guest.RetryOutcome``."""
STREAMS = _names("stream")
"""Where a payload wrote, by number, in the words of ``record.guest.Stream``."""
PAYLOAD_EVENTS = _names("payload_event")
"""Kinds of payload events by number, in the words of ``record.guest.PayloadEventKind``."""
