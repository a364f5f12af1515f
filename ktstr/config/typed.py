"""Reads YAML nodes into typed values by the field tables: one function for each kind of field."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from ktstr import cpulist
from ktstr.config import fields, quantities, temporal
from ktstr.config import scenario_fields as tables
from ktstr.config.durations import DURATION_RULE, parse_duration, render_duration
from ktstr.config.fields import Field, Table
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, NAME, NAME_RULE, Reader, is_text
from ktstr.config.scenario import Count
from ktstr.config.select import parse_seeds
from ktstr.config.topology import Topology
from ktstr.config.yaml_lines import Node
from ktstr.record.vocabulary import RENAMED_WORK_TYPES

_WORD = re.compile(fields.WORD_PATTERN)
_SYSCTL = re.compile(fields.SYSCTL_PATTERN)
_ENV = re.compile(fields.ENV_PATTERN)
_LINE = re.compile(fields.LINE_PATTERN)
_CRATE = re.compile(fields.CRATE_PATTERN)
_FEATURE = re.compile(fields.FEATURE_PATTERN)
_WRITE = re.compile(fields.WRITE_PATTERN)
_CGROUP = re.compile(fields.CGROUP_PATTERN)


def _text(r: Reader, node: Node, path: str, field: Field) -> Any:
    return node.value if isinstance(node.value, str) else r.wrong(node, path, "text")


def _word(r: Reader, node: Node, path: str, field: Field) -> Any:
    if is_text(node) and node.raw and node.raw.isprintable() and len(node.raw) <= 1024:
        return node.raw
    return r.wrong(node, path, "one line of text")


def _bool(r: Reader, node: Node, path: str, field: Field) -> Any:
    if isinstance(node.value, bool):
        return node.value
    hint = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
    return r.wrong(node, path, "true or false", hint.get(node.raw.lower()))


def _bounds(what: str, low: str, high: str, bounded: bool) -> str:
    return f"{what} from {low} to {high}" if bounded else f"{what} of at least {low}"


def _int(r: Reader, node: Node, path: str, field: Field) -> Any:
    if isinstance(node.value, int) and not isinstance(node.value, bool) and field.low <= node.value <= field.high:
        return node.value
    bounded = field.high < 2**63 - 1 or field.high == 2**64 - 1
    digits = node.raw.replace("_", "").replace(",", "")
    hint = digits if isinstance(node.value, str) and digits.isdecimal() else None
    return r.wrong(node, path, _bounds("a whole number", f"{int(field.low)}", f"{int(field.high)}", bounded), hint)


def _number(r: Reader, node: Node, path: str, field: Field) -> Any:
    value = node.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and field.low <= value <= field.high:  # type: ignore[operator]
        return value
    if field.low < -(2**63):
        return r.wrong(node, path, "a finite number")
    return r.wrong(node, path, _bounds("a number", f"{field.low:g}", f"{field.high:g}", field.high < 2**63 - 1))


def _duration(r: Reader, node: Node, path: str, field: Field) -> Any:
    if not isinstance(node.value, str):
        is_count = isinstance(node.value, int) and not isinstance(node.value, bool)
        return r.wrong(node, path, DURATION_RULE, f"{node.value}s" if is_count else None)
    try:
        ns = parse_duration(node.value)
    except ValueError as err:
        return r.wrong(node, path, str(err))
    if field.low <= ns <= field.high:
        return ns
    return r.wrong(node, path, f"from {render_duration(int(field.low))} to {render_duration(int(field.high))}")


def _choice(r: Reader, node: Node, path: str, field: Field) -> Any:
    if isinstance(node.value, str) and node.value in field.choices:
        return node.value
    hint = RENAMED_WORK_TYPES.get(node.raw)
    if hint not in field.choices:
        hint = nearest_of(node.raw, field.choices)
    return r.wrong(node, path, "one of " + ", ".join(field.choices), hint)


def _metric(r: Reader, node: Node, path: str, field: Field) -> Any:
    from ktstr.record.metrics import METRICS  # few files name one

    if isinstance(node.value, str) and node.value in METRICS:
        return node.value
    expected = "a metric of the registry (doit stats_list_metrics)"
    return r.wrong(node, path, expected, nearest_of(node.raw, METRICS))


def _name(r: Reader, node: Node, path: str, field: Field) -> Any:
    ok = is_text(node) and NAME.fullmatch(node.raw)
    return node.raw if ok else r.wrong(node, path, NAME_RULE)


def _label(r: Reader, node: Node, path: str, field: Field) -> Any:
    if not isinstance(node.value, str):
        return r.wrong(node, path, field.about)
    if not re.fullmatch(fields.LABEL_PATTERN, node.value):
        return r.wrong(node, path, field.about)
    try:
        return Topology.parse(node.value)
    except ValueError as err:
        return r.wrong(node, path, f"a possible machine: {str(err).partition(': ')[2]}")


def _texts(r: Reader, node: Node, path: str, field: Field) -> Any:
    if not isinstance(node.value, list):
        return r.wrong(node, path, "a list of texts")
    return _all(
        child.raw if is_text(child) and "\0" not in child.raw else r.wrong(child, f"{path}[{i}]", "text")
        for i, child in enumerate(node.value)
    )


def _all(values: Iterable[Any]) -> Any:
    made = tuple(values)
    return BAD if BAD in made else made


def _karg(r: Reader, node: Node, path: str) -> Any:
    if not isinstance(node.value, str) or not _WORD.fullmatch(node.value):
        return r.wrong(node, path, "one kernel argument, without spaces or quotes")
    name = node.value.partition("=")[0]
    if name.replace("_", "-") in fields.RESERVED_KARGS:
        reserved = ", ".join(sorted(fields.RESERVED_KARGS))
        return r.wrong(node, path, f"an argument that ktstr does not set itself ({reserved})")
    return node.value


def _kargs(r: Reader, node: Node, path: str, field: Field) -> Any:
    if not isinstance(node.value, list):
        return r.wrong(node, path, "a list of kernel arguments")
    return _all(_karg(r, child, f"{path}[{i}]") for i, child in enumerate(node.value))


def _sysctls(r: Reader, node: Node, path: str, field: Field) -> Any:
    pairs = []
    for key, child in r.mapping(node, path, "a mapping of kernel settings by dotted name").items():
        if not _SYSCTL.fullmatch(key):
            r.wrong_key(node, key, path, "a dotted name, such as kernel.sched_schedstats")
        elif not is_text(child) or not _WORD.fullmatch(child.raw):
            r.wrong(child, f"{path}.{key}", "a value without spaces or quotes")
        else:
            pairs.append((key, child.raw))
    return tuple(pairs)


def _env(r: Reader, node: Node, path: str, field: Field) -> Any:
    pairs = []
    for key, child in r.mapping(node, path, "a mapping of variables by name").items():
        if not _ENV.fullmatch(key):
            r.wrong_key(node, key, path, "a variable's name, such as RUST_LOG")
        elif key in fields.RESERVED_ENV:
            r.wrong_key(node, key, f"{path}.{key}", "a variable that ktstr does not set itself")
        elif not is_text(child) or not _LINE.fullmatch(child.raw):
            r.wrong(child, f"{path}.{key}", "one line of text")
        else:
            pairs.append((key, child.raw))
    return tuple(pairs)


def _paths(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Relative paths that, as far as their text says, stay inside the folder they are relative to."""
    made = _one_or_list(r, node, path, "a path, or a list of paths")
    return _all(dict.fromkeys(_path_inside(r, child, at, field) for child, at in made))


def _path_inside(r: Reader, node: Node, path: str, field: Field) -> Any:
    if _word(r, node, path, field) is BAD:
        return BAD
    normal = posixpath.normpath(node.raw)
    if normal.startswith(("/", "~")) or normal == ".." or normal.startswith("../"):
        return r.wrong(node, path, "a path inside this file's folder")
    return normal


def _globs(r: Reader, node: Node, path: str, field: Field) -> Any:
    """Globs of relative paths; those with ``!`` before leave files out."""
    made = _one_or_list(r, node, path, "a glob, or a list of globs")
    globs = _all(dict.fromkeys(_glob(r, child, at, field) for child, at in made))
    if globs is not BAD and all(glob.startswith("!") for glob in globs):
        return r.wrong(node, path, "a glob that names files, such as src/**")
    return globs


def _glob(r: Reader, node: Node, path: str, field: Field) -> Any:
    """The text as it stands: normalised, ``a/../b`` would lose what a glob in it means."""
    if _word(r, node, path, field) is BAD:
        return BAD
    parts = node.raw.removeprefix("!").split("/")
    if not parts[0] or parts[0].startswith("~") or ".." in parts:
        return r.wrong(node, path, "a glob of files inside this file's folder, such as src/**")
    return node.raw


def _writes(r: Reader, node: Node, path: str, field: Field) -> Any:
    pairs = []
    for key, child in r.mapping(node, path, "a mapping of values by the file they are written to").items():
        if not _WRITE.fullmatch(key):
            r.wrong_key(node, key, path, "a file of /proc or /sys, such as /sys/kernel/debug/sched/base_slice_ns")
        elif not is_text(child) or not child.raw or not _LINE.fullmatch(child.raw):
            r.wrong(child, f"{path}.{key}", "one line of text")
        else:
            pairs.append((key, child.raw))
    return tuple(pairs) or BAD


def _cgroup(r: Reader, node: Node, path: str, field: Field) -> Any:
    if isinstance(node.value, str) and _CGROUP.fullmatch(node.value):
        return node.value
    return r.wrong(node, path, "the path of a cgroup below the root, such as /cells")


def _regex(r: Reader, node: Node, path: str, field: Field) -> Any:
    if not is_text(node) or not node.raw or len(node.raw) > fields.MAX_REGEX:
        return r.wrong(node, path, f"a regular expression of 1 to {fields.MAX_REGEX} characters")
    try:
        re.compile(node.raw)
    except re.error as err:
        return r.wrong(node, path, f"a regular expression of Python's re module: {err}")
    return node.raw


def _one_or_list(r: Reader, node: Node, path: str, expected: str) -> list[tuple[Node, str]]:
    if not isinstance(node.value, list):
        return [(node, path)]
    return [(child, f"{path}[{i}]") for i, child in enumerate(r.items(node, path, expected))]


def _crate(r: Reader, node: Node, path: str, field: Field) -> Any:
    """A crate's name and exact version, as one text: what a range means would be another crate tomorrow."""
    if isinstance(node.value, str) and _CRATE.fullmatch(node.value):
        return node.value
    return r.wrong(node, path, "a crate's name and its version in full, such as scx_lavd@1.1.4")


def _features(r: Reader, node: Node, path: str, field: Field) -> Any:
    made = _one_or_list(r, node, path, "a feature, or a list of features")
    rule = "a feature's name: letters, digits, '_', '-', '+' and '.'"
    return _all(
        dict.fromkeys(n.raw if is_text(n) and _FEATURE.fullmatch(n.raw) else r.wrong(n, at, rule) for n, at in made)
    )


def _patterns(r: Reader, node: Node, path: str, field: Field) -> Any:
    made = _one_or_list(r, node, path, "a name, or a list of names")
    return _all(n if _word(r, n, p, field) is not BAD else BAD for n, p in made)


def _seeds(r: Reader, node: Node, path: str, field: Field) -> Any:
    seeds: dict[int, None] = {}
    for child, at in _one_or_list(r, node, path, "seeds, such as 0, 1..20, or a list of these"):
        try:
            seeds.update(dict.fromkeys(parse_seeds((child.raw,))))
        except ValueError as err:
            return r.wrong(child, at, str(err))
    return tuple(seeds) or BAD


def _cpu_list(r: Reader, node: Node, path: str, field: Field) -> Any:
    """``0-3,5``, or a YAML list of such texts: inside ``{}`` the comma would need quotes."""
    cpus: set[int] = set()
    for child, at in _one_or_list(r, node, path, "a CPU list, such as 0-3,5"):
        try:
            cpus.update(cpulist.parse(child.raw if is_text(child) else ""))
        except ValueError as err:
            return r.wrong(child, at, str(err))
    return tuple(sorted(cpus)) or BAD


def _temporal(r: Reader, node: Node, path: str, field: Field) -> Any:
    made = _one_or_list(r, node, path, "an assertion, or a list of assertions")
    return _all(_assertion(r, child, at) for child, at in made)


def _assertion(r: Reader, node: Node, path: str) -> Any:
    try:
        return temporal.parse(node.raw if is_text(node) else "")
    except ValueError as err:
        return r.wrong(node, path, str(err))


def _count(r: Reader, node: Node, path: str, field: Field) -> Any:
    """A whole number, or a Count."""
    if not isinstance(node.value, dict):
        return _int(r, node, path, field)
    before = len(r.problems)
    values = read_table(r, node, path, tables.COUNT)
    if len(r.problems) > before:
        return BAD
    low, high = values.get("min", max(1, int(field.low))), values.get("max", int(field.high))
    if not low <= high <= field.high:
        return r.wrong(node.value.get("max", node), f"{path}.max", f"from {low} to {int(field.high)}", what=f"{high}")
    return Count(values["per_cpu"], low, high)


_READERS: dict[str, Callable[[Reader, Node, str, Field], Any]] = {
    "text": _text,
    "word": _word,
    "spec": _word,
    "bool": _bool,
    "int": _int,
    "number": _number,
    "duration": _duration,
    "choice": _choice,
    "name": _name,
    "label": _label,
    "texts": _texts,
    "kargs": _kargs,
    "sysctls": _sysctls,
    "env": _env,
    "path": _path_inside,
    "paths": _paths,
    "globs": _globs,
    "writes": _writes,
    "cgroup": _cgroup,
    "regex": _regex,
    "crate": _crate,
    "features": _features,
    "patterns": _patterns,
    "seeds": _seeds,
    "cpu_list": _cpu_list,
    "metric": _metric,
    "temporal": _temporal,
    "count": _count,
    **quantities.READERS,
    "node": lambda r, node, path, field: node,
}


def read(r: Reader, node: Node, path: str, field: Field) -> Any:
    """One field's value, or BAD."""
    return _READERS[field.kind](r, node, path, field)


def read_table(r: Reader, node: Node, path: str, table: Table) -> dict[str, Any]:
    """A mapping's fields, typed; fields that are wrong or unknown are left out and recorded.

    A ``node`` field comes as its Node, ``patterns`` as a tuple of Nodes.
    """
    values: dict[str, Any] = {}
    prefix = f"{path}." if path else ""
    for key, child in r.mapping(node, path).items():
        field = table.get(key)
        if field is None:
            expected = "one of " + ", ".join(table)
            r.wrong_key(node, key, prefix + key, expected, nearest_of(key, table))
        elif (value := _READERS[field.kind](r, child, prefix + key, field)) is not BAD:
            values[key] = value
    if isinstance(node.value, dict):
        for key, field in table.items():
            if field.required and key not in node.value:
                r.wrong(node, prefix + key, field.about, what="nothing")
    return values
