"""Types the schedulers of ktstr.yaml: their kinds, and what goes with each."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ktstr.config import fields
from ktstr.config.expectdecl import read_expect
from ktstr.config.model import (
    Binary,
    Builtin,
    Command,
    Crate,
    Discover,
    SchedulerDecl,
    SchedulerKind,
    Source,
    Tree,
)
from ktstr.config.placed import at
from ktstr.config.reader import Reader
from ktstr.config.select import DEFAULT_SCHEDULER
from ktstr.config.testdecl import read_checks
from ktstr.config.typed import read_table
from ktstr.config.yaml_lines import Node

EEVDF = Builtin("eevdf")
_OF_PROGRAMS = ("args", "files", "env", "config", "cgroup_parent")  # keys that say nothing of the kernel's own
_ONLY_BESIDE = {"features": "crate", "enable": "builtin", "disable": "builtin"}
_PLAIN = ("args", "sysctls", "kargs", "files", "env", "config", "cgroup_parent", "preset")


def read_scheduler(r: Reader, node: Node, name: str, path: str, presets: Collection[str]) -> SchedulerDecl | None:
    """One scheduler; ``presets``: the topologies there are. Paths are relative to the file that has them.

    Problems are recorded in the reader; None when its kind could not be read.
    """
    if not isinstance(node.value, dict):
        r.wrong(node, path, f"a mapping with one of {', '.join(fields.SCHEDULER_KINDS)}")
        return None
    values = read_table(r, node, path, fields.SCHEDULER)
    key = _kind_key(r, node, name, path)
    if name == DEFAULT_SCHEDULER:
        values["builtin"] = EEVDF.name
    _refuse_others(r, node, path, key, values)
    if "preset" in values and values["preset"] not in presets:
        r.unknown(node.value["preset"], f"{path}.preset", "one of the presets", dict.fromkeys(presets))
    more: dict[str, Any] = {option: values[option] for option in _PLAIN if option in values}
    more["checks"] = read_checks(r, values.get("checks"), f"{path}.checks")
    more["expect"] = read_expect(r, values.get("expect"), f"{path}.expect")
    more["kernels"] = tuple(pattern.raw for pattern in values.get("kernels", ()))
    if "attach_timeout" in values:
        more["attach_timeout_ns"] = values["attach_timeout"]
    if {"files", "config"} & set(values):
        more["base"] = _base(r, node, path)
    folder = r.folder(at(node, key or ""))
    kind = None if key is None or key not in values else _kind(r, key, values, f"{path}.{key}", folder)
    return None if kind is None else SchedulerDecl(name, kind, where=r.where(node), **more)


def _base(r: Reader, node: Node, path: str) -> Path:
    """The folder that ``files`` and ``config`` are relative to: the scheduler starts in one that has both."""
    folders = {key: r.folder(child) for key in ("files", "config") if (child := at(node, key)) is not node}
    if len(set(folders.values())) > 1:
        r.wrong_key(node, "config", f"{path}.config", "config in a file of the same folder as that of files")
    return next(iter(folders.values()))


def _kind(r: Reader, key: str, values: dict[str, Any], path: str, base: Path) -> SchedulerKind | None:
    """The kind that the value of ``key``, one of ``fields.SCHEDULER_KINDS``, declares."""
    value = values[key]
    if key == "builtin":
        return Builtin(value, values.get("enable", ()), values.get("disable", ()))
    if key == "path":
        return Binary(user_path(value, base))
    if key == "source":
        return Source(user_path(value, base))
    if key == "crate":
        crate, _, version = value.partition("@")
        return Crate(crate, version, tuple(sorted(values.get("features", ()))))
    if key == "tree":
        return Tree(value)
    if key == "discover":
        return Discover(value, base)
    return _command(r, value, path, base)


def _command(r: Reader, node: Node, path: str, base: Path) -> Command | None:
    values = read_table(r, node, path, fields.BUILD)
    if not {"command", "inputs", "output"} <= set(values):
        return None
    if not values["command"] or not values["command"][0]:
        r.wrong(node, f"{path}.command", "a program and its arguments, such as [make, scx_mine]", what="no program")
    return Command(values["command"], values["inputs"], values["output"], base, values.get("env", ()))


def user_path(text: str, base: Path) -> Path:
    """A path that the user wrote, as an absolute one: relative to ``base``, ``~`` a home."""
    home = os.path.expanduser(text)  # noqa: PTH111  (Path.expanduser raises for a user that is unknown)
    return Path(os.path.normpath(base / home))


def _refuse_others(r: Reader, node: Node, path: str, key: str | None, values: dict[str, Any]) -> None:
    """Keys that mean something for another kind only."""
    for option in _OF_PROGRAMS:
        if key == "builtin" and option in values:
            what = "arguments" if option == "args" else option
            r.wrong_key(node, option, f"{path}.{option}", f"no {what} for {EEVDF.name}, which runs no binary")
    for option, kind in _ONLY_BESIDE.items():
        if option in values and key not in (kind, None):
            r.wrong_key(node, option, f"{path}.{option}", f"{option} only beside {kind}")


def _kind_key(r: Reader, node: Node, name: str, path: str) -> str | None:
    """The key of the scheduler's kind; None, with the problem recorded, unless exactly one is declared."""
    entries = node.value if isinstance(node.value, dict) else {}
    declared = [key for key in fields.SCHEDULER_KINDS if key in entries]
    if name == DEFAULT_SCHEDULER:
        for key in declared:
            if key != "builtin":
                r.wrong_key(node, key, f"{path}.{key}", "another name: eevdf is the kernel's own scheduler")
        return "builtin"
    if len(declared) != 1:
        *others, last = fields.SCHEDULER_KINDS
        expected = f"exactly one of {', '.join(others)} and {last}"
        r.wrong(node, path, expected, what=" and ".join(declared) or "none")
        return None
    return declared[0]
