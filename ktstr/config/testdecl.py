"""Types the tests of ktstr.yaml: cgroups, workers and cpusets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ktstr.config import fields
from ktstr.config.expectdecl import read_expect
from ktstr.config.fields import Field
from ktstr.config.gates import read_gates, read_pair
from ktstr.config.model import Cgroup, CheckValue, Cpuset, CpusetKind, SchedulerDecl, TestDecl, Work
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, Reader
from ktstr.config.scheduleropdecl import read_scheduler_ops
from ktstr.config.typed import read, read_table
from ktstr.config.yaml_lines import Node
from ktstr.record.vocabulary import DEFAULT_WORK_TYPE, POLICIES, WORK_TYPES

_INDEX = Field("int", "an index")
_PARTS = Field("int", "a number of parts", 1)
_FRACTION = Field("number", "a fraction", 0, 1)
_SHAPES: dict[CpusetKind, tuple[Field, ...]] = {
    "range": (_FRACTION, _FRACTION),
    "disjoint": (_INDEX, _PARTS),
    "overlap": (_INDEX, _PARTS, _FRACTION),
}
_SHAPE_RULE = {
    "range": "[from, to], two fractions",
    "disjoint": "[index, of], two whole numbers",
    "overlap": "[index, of, fraction]",
}


def read_test(r: Reader, node: Node, name: str, path: str, schedulers: Mapping[str, SchedulerDecl | None]) -> TestDecl:
    """One test; ``schedulers``: the declared ones, None for those that are declared wrongly. Problems are recorded in
    the reader; what could not be read takes its default."""
    values = read_table(r, node, path, fields.TEST)
    limits = _constraints(r, values.pop("constraints", None), f"{path}.constraints")
    cgroups = _cgroups(r, values.pop("cgroups", None), f"{path}.cgroups")
    checks = read_checks(r, values.pop("checks", None), f"{path}.checks")
    gates = read_gates(r, values.pop("perf_delta", None), f"{path}.perf_delta")
    expect = read_expect(r, values.pop("expect", None), f"{path}.expect")
    pair = read_pair(r, values.pop("compare", None), f"{path}.compare", schedulers)
    if (duration := values.pop("duration", None)) is not None:
        values["duration_ns"] = duration
    lasts = values.get("duration_ns", TestDecl.duration_ns)
    ops = values.pop("scheduler_ops", None)
    values["scheduler_ops"] = read_scheduler_ops(r, ops, f"{path}.scheduler_ops", lasts, schedulers)
    return TestDecl(
        name, cgroups, checks=checks, perf_delta=gates, compare=pair, expect=expect, where=r.where(node), **values,
        **limits,
    )  # fmt: skip


def read_checks(r: Reader, node: Node | None, path: str) -> dict[str, CheckValue]:
    """The thresholds a ``checks:`` mapping sets."""
    return {} if node is None else read_table(r, node, path, fields.CHECKS)


def _constraints(r: Reader, node: Node | None, path: str) -> dict[str, Any]:
    if node is None:
        return {}
    limits = read_table(r, node, path, fields.CONSTRAINTS)
    for what in ("cpus", "llcs", "numa_nodes"):
        low, high = limits.get(f"min_{what}"), limits.get(f"max_{what}")
        if low is not None and high is not None and low > high and isinstance(node.value, dict):
            r.wrong(node.value[f"max_{what}"], f"{path}.max_{what}", f"at least min_{what} ({low})")
    return limits


def _cgroups(r: Reader, node: Node | None, path: str) -> tuple[Cgroup, ...]:
    if node is None:
        return ()
    made: dict[str, Cgroup] = {}
    for i, child in enumerate(r.items(node, path, "a list of cgroups")):
        at = f"{path}[{i}]"
        cgroup = _cgroup(r, child, at)
        if cgroup is not None and cgroup.name in made:
            r.wrong(_at(child, "name"), f"{at}.name", "each cgroup name once in a test")
        elif cgroup is not None:
            made[cgroup.name] = cgroup
    workers = sum(work.workers for cgroup in made.values() for work in cgroup.works)
    if workers > fields.MAX_WORKERS:
        r.wrong(node, path, f"at most {fields.MAX_WORKERS}", what=f"{workers} workers")
    if len(made) > fields.MAX_CGROUPS:
        r.wrong(node, path, f"at most {fields.MAX_CGROUPS}", what=f"{len(made)} cgroups")
    return tuple(made.values())


def _cgroup(r: Reader, node: Node, path: str) -> Cgroup | None:
    values = read_table(r, node, path, fields.CGROUP)
    cpuset = _optional_cpuset(r, values.get("cpuset"), f"{path}.cpuset")
    expected = _optional_cpuset(r, values.get("expect_cpuset"), f"{path}.expect_cpuset")
    works = _works(r, node, values, path)
    name = values.get("name")
    if name is not None and name.startswith("cgroup."):
        r.wrong(_at(node, "name"), f"{path}.name", "a name that does not begin with 'cgroup.'")
    return None if name is None else Cgroup(name, works, cpuset, expected, r.where(node))


def _works(r: Reader, node: Node, values: dict[str, Any], path: str) -> tuple[Work, ...]:
    if "works" not in values:
        return (_work(r, node, values, path),)
    if isinstance(node.value, dict):
        for key in node.value:
            if key in fields.WORK:
                r.wrong_key(node, key, f"{path}.{key}", "no keys of one work beside works")
    children = r.items(values["works"], f"{path}.works", "a list of works")
    return tuple(
        _work(r, child, read_table(r, child, f"{path}.works[{i}]", fields.WORK), f"{path}.works[{i}]")
        for i, child in enumerate(children)
    )


def _work(r: Reader, node: Node, values: dict[str, Any], path: str) -> Work:
    work_type = values.get("work", DEFAULT_WORK_TYPE)
    workers = values.get("workers", 2)
    policy = values.get("policy", "normal")
    _check_params(r, node, values, work_type, path)
    _check_policy(r, node, policy, path)
    facts = WORK_TYPES[work_type]
    if workers % facts.group_size:
        r.wrong(_at(node, "workers"), f"{path}.workers", f"a multiple of {facts.group_size} for {work_type}")
    params = tuple((p.name, values.get(p.key, p.default)) for p in facts.params)
    priority = values.get("priority", 1 if POLICIES[policy].has_priority else 0)
    where = f"{r.where(node)} {path}"
    nice, affinity = values.get("nice", 0), values.get("affinity", ())
    return Work(work_type, workers, params, policy, priority, nice, affinity, where)


def _at(node: Node, key: str) -> Node:
    return node.value.get(key, node) if isinstance(node.value, dict) else node


def _check_params(r: Reader, node: Node, values: dict[str, Any], work_type: str, path: str) -> None:
    own = [param.key for param in WORK_TYPES[work_type].params]
    for owner, facts in WORK_TYPES.items():
        for param in facts.params:
            if param.key in values and owner != work_type:
                expected = f"a parameter of {work_type} ({', '.join(own) or 'it has none'})"
                r.wrong_key(node, param.key, f"{path}.{param.key}", expected, nearest_of(param.key, own))


def _check_policy(r: Reader, node: Node, policy: str, path: str) -> None:
    facts = POLICIES[policy]
    entries = node.value if isinstance(node.value, dict) else {}
    if "priority" in entries and not facts.has_priority:
        expected = f"no priority for policy {policy} (only fifo and rr have one)"
        r.wrong_key(node, "priority", f"{path}.priority", expected)
    if "nice" in entries and not facts.has_nice:
        r.wrong_key(node, "nice", f"{path}.nice", f"no nice value for policy {policy}")


def _optional_cpuset(r: Reader, node: Node | None, path: str) -> Cpuset | None:
    if node is None:
        return None
    entries = r.mapping(node, path, "a mapping with one of " + ", ".join(fields.CPUSET))
    if not isinstance(node.value, dict):
        return None
    if len(entries) != 1:
        r.wrong(node, path, "exactly one of " + ", ".join(fields.CPUSET), what=f"{len(entries)} keys")
        return None
    kind, value = next(iter(entries.items()))
    if kind not in fields.CPUSET:
        expected = "one of " + ", ".join(fields.CPUSET)
        r.wrong_key(node, kind, f"{path}.{kind}", expected, nearest_of(kind, fields.CPUSET))
        return None
    args = _CPUSETS[kind](r, value, f"{path}.{kind}")
    return None if args is None else Cpuset(_KINDS[kind], args, f"{r.where(node)} {path}")


def _index(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
    value = read(r, node, path, _INDEX)
    return None if value is BAD else (value,)


def _exact(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
    value = read(r, node, path, Field("cpu_list", ""))
    return None if value is BAD else value


def _parts(kind: CpusetKind) -> Callable[[Reader, Node, str], tuple[float, ...] | None]:
    def read_parts(r: Reader, node: Node, path: str) -> tuple[float, ...] | None:
        shape = _SHAPES[kind]
        if not isinstance(node.value, list) or len(node.value) != len(shape):
            what = f"a list of {len(node.value)}" if isinstance(node.value, list) else None
            r.wrong(node, path, _SHAPE_RULE[kind], what=what)
            return None
        args = [read(r, n, f"{path}[{i}]", f) for i, (n, f) in enumerate(zip(node.value, shape, strict=True))]
        if BAD in args:
            return None
        if args[0] < args[1]:
            return tuple(args)
        if kind == "range":
            r.wrong(node.value[1], f"{path}[1]", f"an end after the start ({args[0]:g})")
        else:
            r.wrong(node.value[0], f"{path}[0]", f"an index below the number of parts ({args[1]})")
        return None

    return read_parts


_CPUSETS: dict[str, Callable[[Reader, Node, str], tuple[float, ...] | None]] = {
    "llc": _index,
    "numa": _index,
    "range": _parts("range"),
    "disjoint": _parts("disjoint"),
    "overlap": _parts("overlap"),
    "exact": _exact,
}
_KINDS: dict[str, CpusetKind] = {
    "llc": "llc", "numa": "numa", "range": "range", "disjoint": "disjoint", "overlap": "overlap", "exact": "exact",
}  # fmt: skip
