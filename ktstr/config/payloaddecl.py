"""Types the payloads of ktstr.yaml: programs that tests run beside workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from ktstr.config import scenario_fields as tables
from ktstr.config.model import PayloadCheck, PayloadDecl, PayloadMetric, Polarity
from ktstr.config.opdecl import check_args
from ktstr.config.placed import at
from ktstr.config.reader import BAD, Reader, is_text
from ktstr.config.schedulerdecl import user_path
from ktstr.config.typed import read, read_table
from ktstr.config.yaml_lines import Node

_METRIC = re.compile(tables.PAYLOAD_METRIC_PATTERN)
_METRIC_RULE = "the dotted path of a metric, such as run.iops"
_ANY = "any"


def read_payload(r: Reader, node: Node, name: str, path: str) -> PayloadDecl | None:
    """One payload; None, with the problems recorded, when it has no program."""
    values = read_table(r, node, path, tables.PAYLOAD)
    metrics = _metrics(r, values.pop("metrics", None), f"{path}.metrics", is_text=values.get("output") == "text")
    checks = values.pop("checks", None)
    limits = {} if checks is None else read_table(r, checks, f"{path}.checks", tables.PAYLOAD_CHECKS)
    if values.get("output", "exit_code") == "exit_code":
        _refuse_metrics(r, node, checks, path)
    judged = _checks(r, limits, f"{path}.checks")
    exit_code = _exit_code(r, limits.get("exit_code"), f"{path}.checks.exit_code")
    check_args(r, node, values.get("args", ()), path)
    if len(values.get("env", ())) > tables.MAX_ENV:
        found = f"{len(values['env'])} variables"
        r.wrong(at(node, "env"), f"{path}.env", f"at most {tables.MAX_ENV}", what=found)
    program = _program(r, node, values, path)
    if program is None:
        return None
    base = r.folder(at(node, "files"))
    return PayloadDecl(
        name, program, base=base, metrics=metrics, checks=judged, exit_code=exit_code, where=r.where(node), **values
    )


def _program(r: Reader, node: Node, values: dict[str, Any], path: str) -> Path | None:
    """Its program: an absolute path, or a bare name that PATH decides; takes both keys out of ``values``."""
    entries = node.value if isinstance(node.value, dict) else {}
    place, name = values.pop("path", None), values.pop("program", None)
    if "path" in entries and "program" in entries:
        r.wrong_key(node, "program", f"{path}.program", "path or program, not both")
    elif not {"path", "program"} & entries.keys():
        r.wrong(node, f"{path}.path", "the program, relative to this file; or program", what="nothing")
    if "install" in entries and "program" not in entries:
        r.wrong_key(node, "install", f"{path}.install", "install only beside program")
    if name is not None:
        return Path(name)
    return None if place is None else user_path(place, r.folder(at(node, "path")))


def _refuse_metrics(r: Reader, node: Node, checks: Node | None, path: str) -> None:
    """Nothing is measured of a payload without metrics: what is said of them would never be judged."""
    if isinstance(node.value, dict) and "metrics" in node.value:
        r.wrong_key(node, "metrics", f"{path}.metrics", "metrics only beside output: json or text")
    if checks is not None and isinstance(checks.value, dict):
        for key in checks.value:
            if key in tables.PAYLOAD_CHECKS and key != "exit_code":
                r.wrong_key(checks, key, f"{path}.checks.{key}", f"{key} only beside output: json or text")


def _by_metric(r: Reader, node: Node | None, path: str) -> dict[str, Node]:
    """A mapping by the dotted paths of metrics: those entries whose key is one."""
    if node is None:
        return {}
    entries = r.mapping(node, path, "a mapping by the dotted paths of metrics")
    for key in entries:
        if not _METRIC.fullmatch(key):
            r.wrong_key(node, key, path, _METRIC_RULE)
    return {key: child for key, child in entries.items() if _METRIC.fullmatch(key)}


def _metrics(r: Reader, node: Node | None, path: str, is_text: bool) -> tuple[PayloadMetric, ...]:
    made = []
    for name, child in _by_metric(r, node, path).items():
        values = read_table(r, child, f"{path}.{name}", tables.PAYLOAD_METRIC)
        polarity, target = _polarity(r, values.get("polarity"), f"{path}.{name}.polarity")
        match = values.get("match", "")
        _check_match(r, child, match, f"{path}.{name}", is_text)
        made.append(PayloadMetric(name, polarity, values.get("unit", ""), target, match, values.get("pick", "first")))
    return tuple(made)


def _check_match(r: Reader, node: Node, match: str, path: str, is_text: bool) -> None:
    """A number of a text has to be found in it, one of JSON has its path."""
    entries = node.value if isinstance(node.value, dict) else {}
    if is_text and "match" not in entries:
        r.wrong(node, f"{path}.match", "the regular expression that finds it in the text", what="nothing")
    elif match and re.compile(match).groups != 1:
        r.wrong(at(node, "match"), f"{path}.match", "one group, which is the number")
    for key in () if is_text else ("match", "pick"):
        if key in entries:
            r.wrong_key(node, key, f"{path}.{key}", f"{key} only of output: text")


def _polarity(r: Reader, node: Node | None, path: str) -> tuple[Polarity, float | None]:
    """Which value is better, and the target where it is that."""
    if node is None:
        return "unknown", None
    if isinstance(node.value, dict):
        values = read_table(r, node, path, tables.TARGET)
        return ("target", float(values["target"])) if "target" in values else ("unknown", None)
    word = read(r, node, path, tables.POLARITY)
    return ("unknown" if word is BAD else cast(Polarity, word)), None


def _exit_code(r: Reader, node: Node | None, path: str) -> int | None:
    if node is None:
        return 0
    if node.value == _ANY:
        return None
    if isinstance(node.value, str):
        r.wrong(node, path, f"a whole number from 0 to 255, or {_ANY}")
        return 0
    code = read(r, node, path, tables.EXIT_CODE)
    return 0 if code is BAD else code


def _checks(r: Reader, limits: dict[str, Any], path: str) -> tuple[PayloadCheck, ...]:
    """What must hold of metrics: that they exist, then least and greatest values, then ranges."""
    made = [PayloadCheck(name) for name in _names(r, limits.get("exists"), f"{path}.exists")]
    least = _limits(r, limits.get("min"), f"{path}.min")
    greatest = _limits(r, limits.get("max"), f"{path}.max")
    for name in least.keys() & greatest.keys():
        if least[name] > greatest[name]:
            expected = f"at least the min of it ({least[name]:g})"
            r.wrong(limits["max"].value[name], f"{path}.max.{name}", expected)
    made += [PayloadCheck(name, low=value) for name, value in least.items()]
    made += [PayloadCheck(name, high=value) for name, value in greatest.items()]
    return (*made, *_ranges(r, limits.get("range"), f"{path}.range"))


def _names(r: Reader, node: Node | None, path: str) -> tuple[str, ...]:
    if node is None:
        return ()
    names: dict[str, None] = {}
    for i, child in enumerate(r.items(node, path, "a list of metrics, such as [run.iops]")):
        if is_text(child) and _METRIC.fullmatch(child.raw):
            names[child.raw] = None
        else:
            r.wrong(child, f"{path}[{i}]", _METRIC_RULE)
    return tuple(names)


def _limits(r: Reader, node: Node | None, path: str) -> dict[str, float]:
    found = {
        name: read(r, child, f"{path}.{name}", tables.METRIC_VALUE) for name, child in _by_metric(r, node, path).items()
    }
    return {name: value for name, value in found.items() if value is not BAD}


def _ranges(r: Reader, node: Node | None, path: str) -> tuple[PayloadCheck, ...]:
    made = []
    for name, child in _by_metric(r, node, path).items():
        where = f"{path}.{name}"
        if not isinstance(child.value, list) or len(child.value) != 2:
            what = f"a list of {len(child.value)}" if isinstance(child.value, list) else None
            r.wrong(child, where, "[least, greatest], two numbers", what=what)
            continue
        low, high = (read(r, n, f"{where}[{i}]", tables.METRIC_VALUE) for i, n in enumerate(child.value))
        if low is BAD or high is BAD:
            continue
        if low > high:
            r.wrong(child.value[1], f"{where}[1]", f"at least the least ({low:g})")
        made.append(PayloadCheck(name, low, high))
    return tuple(made)
