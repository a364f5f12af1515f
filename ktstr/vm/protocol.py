"""The guest protocol, read from its one home: the C header the agent is compiled with.

``ffi`` knows every struct of ``ktstr_proto.h`` (cffi, ABI mode: nothing is compiled), ``lib`` its
integer constants and enumerators. Names of ops, work types, policies and scheduler events
follow from the enumerators, so they are written once too.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cffi import FFI

from ktstr.errors import HostError
from ktstr.resources import c_dir

_HEADER = "ktstr_proto.h"
_CONSTANT = re.compile(r"#define\s+\w+\s+(0[xX][0-9a-fA-F]+|\d+)\s*")


def header_path() -> Path:
    """The header in this installation. Raises HostError when it is not there."""
    path = c_dir() / "include" / _HEADER
    if not path.is_file():
        raise HostError(f"{path}: found no protocol header there", fix="install ktstr again")
    return path


def declarations(header: str) -> str:
    """What cffi can read of the header: its rule is stated in the header's first comment."""
    lines = []
    for line in header.splitlines():
        if line.startswith("_Static_assert") or (line.startswith("#") and not _CONSTANT.fullmatch(line)):
            continue
        lines.append(line)
    return "\n".join(lines)


def _load() -> tuple[Any, Any]:
    """cffi's two halves; what a struct holds is known to the header alone, hence no types."""
    ffi = FFI()
    ffi.cdef(declarations(header_path().read_text(encoding="ascii")))
    return ffi, ffi.dlopen(None)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def enum_values(enum: str) -> dict[str, int]:
    """The enumerators of ``enum ktstr_<enum>`` by their name without its prefix: ``{"ADD_CGROUP": 3, ...}``."""
    prefix = f"KTSTR_{enum.upper()}_"
    return {name.removeprefix(prefix): value for name, value in ffi.typeof(f"enum ktstr_{enum}").relements.items()}


ffi, lib = _load()

OPS = MappingProxyType({_camel(name): value for name, value in enum_values("op").items()})
OP_NAMES = MappingProxyType({value: name for name, value in OPS.items()})
WORK_TYPES = MappingProxyType({_camel(name): value for name, value in enum_values("work").items()})
POLICIES = MappingProxyType({name.lower(): value for name, value in enum_values("policy").items()})
SCHED_EVENTS = MappingProxyType({value: name.lower() for name, value in enum_values("sched").items()})
"""Kinds of scheduler events by number, in the words of ``record.guest.SchedEventKind``."""
