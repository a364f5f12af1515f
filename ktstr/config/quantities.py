"""Reads YAML nodes into the texts that files of a cgroup take, and the like: bytes, percentages, nodes, names.

What each file takes: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ktstr import cpulist
from ktstr.config import scenario_fields as tables
from ktstr.config.durations import DURATION_RULE, parse_duration, render_duration
from ktstr.config.fields import Field
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, NAME, NAME_RULE, Reader, is_text
from ktstr.config.yaml_lines import Node

PERIOD_US = 100_000  # of cpu.max, where none is named
MIN_QUOTA_US = 1_000  # min_bw_runtime of kernel/sched/core.c; the period is at least that, and at most a second
MAX_PERIOD_US = 1_000_000
_CPU_MAX = re.compile(tables.CPU_MAX_PATTERN)
_CLAMP = re.compile(tables.CLAMP_PATTERN)
_SIZE = re.compile(tables.SIZE_PATTERN)
_COMM = re.compile(tables.COMM_PATTERN)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
CGROUP_PATH_RULE = f"{NAME_RULE}, or up to {tables.MAX_CGROUP_DEPTH} of them joined by '/'"
_MAX_CGROUP_PATH = 255  # bytes: what the agent takes


def _cgroup_path(r: Reader, node: Node, path: str, field: Field) -> Any:
    parts = node.raw.split("/") if is_text(node) else []
    if not parts or not all(map(NAME.fullmatch, parts)) or len(parts) > tables.MAX_CGROUP_DEPTH:
        return r.wrong(node, path, CGROUP_PATH_RULE)
    if len(node.raw) > _MAX_CGROUP_PATH:
        return r.wrong(node, path, f"at most {_MAX_CGROUP_PATH} characters", what=f"a path of {len(node.raw)}")
    if any(part.startswith("cgroup.") for part in parts):
        return r.wrong(node, path, "a name that does not begin with 'cgroup.'")
    return node.raw


def _pair(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Two different cgroups."""
    if not isinstance(node.value, list) or len(node.value) != 2:
        what = f"a list of {len(node.value)}" if isinstance(node.value, list) else None
        return r.wrong(node, path, "two cgroups, such as [a, b]", what=what)
    names = tuple(_cgroup_path(r, child, f"{path}[{i}]", field) for i, child in enumerate(node.value))
    if BAD in names:
        return BAD
    return r.wrong(node.value[1], f"{path}[1]", "another cgroup than the first") if names[0] == names[1] else names


def _nodes(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Numbers of NUMA nodes, ascending: ``0``, ``[0, 2]`` or ``0-3``."""
    rule = f"numbers of nodes below {tables.MAX_NODES}, such as [0, 1]"
    children = [(node, path)]
    if isinstance(node.value, list):
        children = [(child, f"{path}[{i}]") for i, child in enumerate(r.items(node, path, rule))]
    numbers: set[int] = set()
    for child, at in children:
        try:
            numbers.update(cpulist.parse(child.raw if is_text(child) else "", tables.MAX_NODES))
        except ValueError:
            return r.wrong(child, at, rule)
    return tuple(sorted(numbers)) or BAD


def _choices(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Some of the choices, in the order of the table."""
    listed = ", ".join(field.choices)
    children = [(node, path)]
    if isinstance(node.value, list):
        children = [(child, f"{path}[{i}]") for i, child in enumerate(r.items(node, path, f"some of {listed}"))]
    found = []
    for child, at in children:
        if not is_text(child) or child.raw not in field.choices:
            return r.wrong(child, at, f"one of {listed}", nearest_of(child.raw, field.choices))
        found.append(child.raw)
    return tuple(choice for choice in field.choices if choice in found) or BAD


def _comm(r: Reader, node: Node, path: str, field: Field) -> Any:
    if is_text(node) and _COMM.fullmatch(node.raw):
        return node.raw
    return r.wrong(node, path, "a name of 1 to 15 printable ASCII characters, without '/'")


def _cpu_max(r: Reader, node: Node, path: str, field: Field) -> Any:
    """``QUOTA PERIOD`` in microseconds. A percentage is that of one CPU."""
    rule = "a percentage of one CPU such as 25%, 'QUOTA PERIOD' in microseconds, or max"
    if not is_text(node) or not _CPU_MAX.fullmatch(node.raw):
        hint = f"{node.raw}%" if isinstance(node.value, int | float) and not isinstance(node.value, bool) else None
        return r.wrong(node, path, rule, hint)
    if node.raw == "max":
        return f"max {PERIOD_US}"
    if node.raw.endswith("%"):
        quota = Decimal(node.raw[:-1]) * (PERIOD_US // 100)
        if quota < MIN_QUOTA_US:
            return r.wrong(node, path, f"at least {100 * MIN_QUOTA_US // PERIOD_US}%, or max")
        return f"{int(quota)} {PERIOD_US}"
    quota_text, period = node.raw.split(" ")
    if not MIN_QUOTA_US <= int(period) <= MAX_PERIOD_US:
        return r.wrong(node, path, f"a period from {MIN_QUOTA_US} to {MAX_PERIOD_US} microseconds")
    if quota_text != "max" and int(quota_text) < MIN_QUOTA_US:
        return r.wrong(node, path, f"a quota of at least {MIN_QUOTA_US} microseconds")
    return f"{quota_text if quota_text == 'max' else int(quota_text)} {int(period)}"


def _us(r: Reader, node: Node, path: str, field: Field) -> Any:
    """A duration as the microseconds that the kernel counts in."""
    try:
        ns = parse_duration(node.value if isinstance(node.value, str) else "")
    except ValueError as err:
        is_count = isinstance(node.value, int) and not isinstance(node.value, bool)
        return r.wrong(node, path, str(err), f"{node.value}us" if is_count and str(err) == DURATION_RULE else None)
    if ns % 1000:
        return r.wrong(node, path, "a whole number of microseconds")
    if not field.low <= ns <= field.high:
        return r.wrong(node, path, f"from {render_duration(int(field.low))} to {render_duration(int(field.high))}")
    return str(ns // 1000)


def _switch(r: Reader, node: Node, path: str, field: Field) -> Any:
    return str(int(node.value)) if isinstance(node.value, bool) else r.wrong(node, path, "true or false")


def _clamp(r: Reader, node: Node, path: str, field: Field) -> Any:
    """A percentage with two digits, as cpu.uclamp.* hold it."""
    if is_text(node) and _CLAMP.fullmatch(node.raw):
        if node.raw == "max":
            return "max"
        percent = Decimal(node.raw[:-1])
        if percent <= 100:
            return f"{percent:.2f}"
    hint = f"{node.raw}%" if isinstance(node.value, int | float) and not isinstance(node.value, bool) else None
    return r.wrong(node, path, "a percentage from 0% to 100%, or max", hint)


def _size(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Bytes."""
    if is_text(node) and _SIZE.fullmatch(node.raw):
        if node.raw == "max":
            return "max"
        unit = _UNITS.get(node.raw[-1], 1)
        size = int(node.raw.rstrip("KMGT")) * unit
        if size < 2**63:
            return str(size)
    return r.wrong(node, path, "bytes such as 64M (K, M, G or T: powers of 1024), or max")


def _limit(r: Reader, node: Node, path: str, field: Field) -> Any:
    """A count, or ``max``."""
    if node.value == "max":
        return "max"
    if isinstance(node.value, int) and not isinstance(node.value, bool) and field.low <= node.value <= field.high:
        return str(node.value)
    return r.wrong(node, path, f"a whole number from {int(field.low)} to {int(field.high)}, or max")


READERS: dict[str, Callable[[Reader, Node, str, Field], Any]] = {
    "cgroup_path": _cgroup_path,
    "pair": _pair,
    "nodes": _nodes,
    "choices": _choices,
    "comm": _comm,
    "cpu_max": _cpu_max,
    "us": _us,
    "switch": _switch,
    "clamp": _clamp,
    "size": _size,
    "limit": _limit,
}
