"""Loads ktstr.yaml: every problem is reported as ``ktstr.yaml:LINE:COL field: found, expected, nearest match``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ktstr.config import fields, yaml_lines
from ktstr.config.include import Sources, read_sources, sources_of
from ktstr.config.model import Config, KernelDecl, Matrix, SchedulerDecl, TestDecl
from ktstr.config.patterns import CATEGORY, categories, match
from ktstr.config.payloaddecl import read_payload
from ktstr.config.presetdecl import read_preset
from ktstr.config.problems import Problem, error
from ktstr.config.reader import BAD, Reader, is_text
from ktstr.config.schedulerdecl import EEVDF, read_scheduler
from ktstr.config.select import DEFAULT_SCHEDULER
from ktstr.config.testdecl import Known, read_test
from ktstr.config.topology import PRESETS, Topology
from ktstr.config.typed import read, read_table
from ktstr.config.use import expand_uses
from ktstr.config.variants import expand_variants
from ktstr.config.yaml_lines import Node

T = TypeVar("T")
_POINT_NAMES = {"test": "tests", "preset": "presets", "kernel": "kernels", "scheduler": "schedulers"}


def load(path: Path, validated: bool = False) -> Config:
    """The declarations in ``path``, and in the files that it includes.

    ``validated`` leaves out the JSON Schema: for a caller that knows these very bytes to have
    passed it, and wants to save its import. Raises InputError naming every problem with its place,
    HostError when the file cannot be read.
    """
    return typed(read_sources(path), validated)


def parse(data: bytes, path: Path, validated: bool = False) -> Config:
    """As ``load``, from the bytes of ``path``."""
    return typed(sources_of(data, path), validated)


def typed(sources: Sources, validated: bool = False) -> Config:
    """As ``load``, from files that are read already."""
    root = expanded(sources)
    config = _typed(root, sources.path)
    if not validated and (problems := validate(root)):
        raise error(sources.path.name, problems)
    return config


def expanded(sources: Sources) -> Node:
    """The document as it is typed: each ``use`` and ``matrix`` replaced by what it stands for. Raises InputError."""
    path = sources.path
    r = Reader(path.name, path.absolute().parent)
    root = expand_variants(r, expand_uses(r, sources.root))
    if r.problems:
        raise error(path.name, r.problems)
    return root


def validate(root: Node) -> list[Problem]:
    """What the JSON Schema says is wrong; empty when it is satisfied. Imports jsonschema."""
    from jsonschema import Draft202012Validator

    from ktstr.config.schema import document

    problems = []
    for found in Draft202012Validator(document()).iter_errors(yaml_lines.plain(root)):
        node, path = _follow(root, found.absolute_path)
        origin = "" if node.file == root.file else node.file
        what, expected = "a value outside the schema", found.message[:200]
        problems.append(Problem(node.line, node.col, path, what, expected, origin=origin))
    return problems


def _follow(root: Node, steps: Iterable[str | int]) -> tuple[Node, str]:
    node, path = root, ""
    for step in steps:
        if isinstance(node.value, dict) and step in node.value:
            node, path = node.value[str(step)], f"{path}.{step}"
        elif isinstance(node.value, list) and isinstance(step, int):
            node, path = node.value[step], f"{path}[{step}]"
    return node, path.removeprefix(".") or yaml_lines.DOCUMENT


def _typed(root: Node, path: Path) -> Config:
    base = path.absolute().parent
    r = Reader(path.name, base)
    top = read_table(r, root, "", fields.TOP)
    kernels = _each(r, top, "kernels", lambda n, name, at: _kernel(r, n, name, at))
    presets = {name: Topology.parse(label) for name, label in PRESETS.items()}
    presets.update(_each(r, top, "presets", lambda n, name, at: read_preset(r, n, name, at)))
    known = (*presets, *_declared(top, "presets"))
    schedulers = _each(r, top, "schedulers", lambda n, name, at: read_scheduler(r, n, name, at, known))
    schedulers.setdefault(DEFAULT_SCHEDULER, SchedulerDecl(DEFAULT_SCHEDULER, EEVDF))
    names: dict[str, Collection[str]] = {
        "tests": _declared(top, "tests"),
        "presets": known,
        "kernels": _declared(top, "kernels"),
        "schedulers": (*schedulers, *_declared(top, "schedulers")),
    }
    payloads = _each(r, top, "payloads", lambda n, name, at: read_payload(r, n, name, at))
    declared = Known(dict.fromkeys(names["schedulers"]) | schedulers, known, _declared(top, "payloads"))
    tests: dict[str, TestDecl] = _each(r, top, "tests", lambda n, name, at: read_test(r, n, name, at, declared))
    names["categories"] = categories(tests)
    matrices = _each(r, top, "matrices", lambda n, name, at: _matrix(r, n, name, at, names))
    for key in ("kernels", "tests"):
        if key in top and top[key].value == {}:
            r.wrong(top[key], key, f"at least one of the {key}", what="an empty mapping")
    if r.problems:
        raise error(path.name, r.problems)
    labels = {test.topology for test in tests.values() if test.topology is not None} - presets.keys()
    presets.update({label: Topology.parse(label) for label in sorted(labels)})
    declared_matrices = tuple(matrices.values())
    return Config(
        path, kernels, schedulers, presets, tests, declared_matrices, payloads, frozenset(labels), top.get("cluster")
    )


def _each(r: Reader, top: dict[str, Any], key: str, make: Callable[[Node, str, str], T | None]) -> dict[str, T]:
    if key not in top:
        return {}
    made = {name: make(node, name, f"{key}.{name}") for name, node in r.named(top[key], key, key).items()}
    return {name: value for name, value in made.items() if value is not None}


def _declared(top: dict[str, Any], key: str) -> tuple[str, ...]:
    """Names as written, also of entries that are themselves wrong: a reference to those is no second problem."""
    return tuple(top[key].value) if key in top and isinstance(top[key].value, dict) else ()


def _kernel(r: Reader, node: Node, name: str, path: str) -> KernelDecl | None:
    if is_text(node):
        spec = read(r, node, path, fields.KERNEL["spec"])
        return None if spec is BAD else KernelDecl(name, _spec(spec, r.folder(node)), where=r.where(node))
    if not isinstance(node.value, dict):
        r.wrong(node, path, "a kernel spec, such as deb:forky/cloud-amd64, or a mapping with spec")
        return None
    values = read_table(r, node, path, fields.KERNEL)
    if "spec" not in values:
        return None
    more: dict[str, Any] = {key: values[key] for key in ("kargs", "kconfig", "cc", "llvm") if key in values}
    if "patch" in values:
        folder = r.folder(node.value["patch"])
        more["patches"] = tuple(folder / path for path in values["patch"])
    base = r.folder(node.value["spec"])
    return KernelDecl(name, _spec(values["spec"], base), where=r.where(node), **more)


def _spec(spec: str, base: Path) -> str:
    """A kernel spec; one that begins with ``./``, ``../`` or ``~/`` is a path, here made absolute."""
    if spec.startswith(("./", "../")) or spec in (".", ".."):
        return os.path.normpath(base / spec)
    return str(Path(spec).expanduser()) if spec.startswith("~/") else spec


def _matrix(r: Reader, node: Node, name: str, path: str, names: dict[str, Collection[str]]) -> Matrix:
    values = read_table(r, node, path, fields.MATRIX)
    patterns = {}
    for key in ("tests", "presets", "kernels", "schedulers"):
        for i, pattern in enumerate(values.get(key, ())):
            is_list = isinstance(node.value, dict) and isinstance(node.value[key].value, list)
            _known(r, pattern, f"{path}.{key}[{i}]" if is_list else f"{path}.{key}", key, names)
        patterns[key] = tuple(n.raw for n in values.get(key, ()))
    include = _points(r, values.get("include"), f"{path}.include", names)
    exclude = _points(r, values.get("exclude"), f"{path}.exclude", names)
    return Matrix(name, **patterns, seeds=values.get("seeds", (0,)), include=include, exclude=exclude,
                  where=r.where(node))  # fmt: skip


def _known(r: Reader, node: Node, path: str, key: str, names: dict[str, Collection[str]]) -> None:
    kind = "categories" if key == "tests" and node.raw.startswith(CATEGORY) else key
    if not match(node.raw, names[kind]):
        r.unknown(node, path, f"one of the {kind}", dict.fromkeys(names[kind]))


def _points(
    r: Reader, node: Node | None, path: str, names: dict[str, Collection[str]]
) -> tuple[dict[str, str | int], ...]:
    if node is None:
        return ()
    if not isinstance(node.value, list):
        r.wrong(node, path, "a list of points, such as [{test: a, preset: b}]")
        return ()
    points = []
    for i, child in enumerate(node.value):
        values = read_table(r, child, f"{path}[{i}]", fields.POINT)
        if isinstance(child.value, dict) and not child.value:
            r.wrong(child, f"{path}[{i}]", "at least one of " + ", ".join(fields.POINT), what="an empty mapping")
        for field, key in _POINT_NAMES.items():
            if field in values and isinstance(child.value, dict):
                _known(r, child.value[field], f"{path}[{i}].{field}", key, names)
        points.append(values)
    return tuple(points)
