"""Types the workers of tests: what they do, how they are scheduled, where they and their memory are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ktstr.config import scenario_fields as tables
from ktstr.config.cpusetdecl import read_affinity
from ktstr.config.memdecl import read_mem_policy
from ktstr.config.phasedecl import read_phases
from ktstr.config.placed import at
from ktstr.config.problems import nearest_of
from ktstr.config.reader import Reader
from ktstr.config.scenario import Count, Deadline, Work
from ktstr.config.typed import read_table
from ktstr.config.yaml_lines import Node
from ktstr.record.facts import WorkParam
from ktstr.record.vocabulary import DEFAULT_WORK_TYPE, POLICIES, WORK_TYPES

_RESERVATION = ("runtime", "deadline", "period")
# What says nothing of a worker that is a program of its own.
_NOT_OF_CUSTOM = ("threads", "comm", "pcomm", "cgroup_namespace", "swappable", "mem_policy", "mem_flags")


@dataclass(frozen=True)
class Scope:
    """What works and ops of a test are read against.

    ``workers``: how many a work has that says nothing of it. ``payloads``: the declared ones.
    """

    workers: int = 2
    payloads: tuple[str, ...] = ()


def params_of(work_type: str) -> tuple[WorkParam, ...]:
    """What a work type takes by keys of its own: ``Custom``, which is a payload, nothing."""
    return WORK_TYPES[work_type].params if work_type in WORK_TYPES and not WORK_TYPES[work_type].has_phases else ()


def group_size(work_type: str, params: Sequence[int]) -> int:
    """Of how many workers a work of a type, with these numbers, is a multiple."""
    return WORK_TYPES[work_type].group(params) if work_type in WORK_TYPES else 1


def read_works(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> tuple[Work, ...]:
    """The works of a cgroup, whose typed fields ``values`` are: its ``works``, else the one of its own keys, none where
    it has no workers."""
    if "works" not in values:
        return () if values.get("workers") == 0 else (read_work(r, node, values, path, scope),)
    if isinstance(node.value, dict):
        for key in node.value:
            if key in tables.WORK:
                r.wrong_key(node, key, f"{path}.{key}", "no keys of one work beside works")
    children = r.items(values["works"], f"{path}.works", "a list of works")
    places = [(child, f"{path}.works[{i}]") for i, child in enumerate(children)]
    return tuple(read_work(r, child, read_table(r, child, at, tables.WORK), at, scope) for child, at in places)


def read_work(r: Reader, node: Node, values: dict[str, Any], path: str, scope: Scope) -> Work:
    """One work, whose typed fields ``values`` are. Problems are recorded in the reader."""
    work_type = values.get("work", DEFAULT_WORK_TYPE)
    params = read_phases(r, node, values, work_type, path) or tuple(
        (p.name, int(values.get(p.key, p.default))) for p in params_of(work_type)
    )
    size = group_size(work_type, [value for _, value in params])
    workers, count = _workers(values.get("workers", scope.workers), size)
    policy = values.get("policy", "normal")
    _check_params(r, node, values, work_type, path)
    _check_policy(r, node, policy, path)
    _check_names(r, node, values, path)
    _check_payload(r, node, values, work_type, path, scope)
    if workers % size:
        r.wrong(at(node, "workers"), f"{path}.workers", f"a multiple of {size} for {work_type}", what=f"{workers}")
    affinity = read_affinity(r, values.get("affinity"), f"{path}.affinity")
    if affinity is not None and affinity.kind == "each" and len(affinity.cpusets) > workers:
        expected = f"at most as many as there are workers ({workers})"
        r.wrong(at(node, "affinity"), f"{path}.affinity.each", expected, what=f"{len(affinity.cpusets)}")
    return Work(
        work_type,
        workers,
        params,
        policy,
        values.get("priority", 1 if POLICIES[policy].has_priority else 0),
        values.get("nice", 0),
        affinity,
        _deadline(r, node, values, policy, path),
        read_mem_policy(r, node, values, path),
        count=count,
        where=r.place(node, path),
        **{key: values[key] for key in _PLAIN if key in values},
    )


def _workers(given: int | Count, size: int) -> tuple[int, Count | None]:
    """How many there are at the least, and what decides it; of that, whole groups of ``size``."""
    if isinstance(given, int):
        return given, None
    return -(-given.low // size) * size, given


_PLAIN = ("threads", "comm", "pcomm", "swappable", "payload", "cgroup_namespace")


def _check_params(r: Reader, node: Node, values: dict[str, Any], work_type: str, path: str) -> None:
    own = {param.key: param for param in params_of(work_type)}
    for key in tables.PARAMS:
        if key not in values:
            continue
        if key not in own:
            expected = f"a parameter of {work_type} ({', '.join(own) or 'it has none'})"
            r.wrong_key(node, key, f"{path}.{key}", expected, nearest_of(key, own))
        elif not own[key].low <= values[key] <= own[key].high:
            r.wrong(at(node, key), f"{path}.{key}", f"{tables.bounds_of(own[key])} of {work_type}")


def _check_policy(r: Reader, node: Node, policy: str, path: str) -> None:
    facts = POLICIES[policy]
    entries = node.value if isinstance(node.value, dict) else {}
    if "priority" in entries and not facts.has_priority:
        expected = f"no priority for policy {policy} (only fifo and rr have one)"
        r.wrong_key(node, "priority", f"{path}.priority", expected)
    if "nice" in entries and not facts.has_nice:
        r.wrong_key(node, "nice", f"{path}.nice", f"no nice value for policy {policy}")


def _deadline(r: Reader, node: Node, values: dict[str, Any], policy: str, path: str) -> Deadline | None:
    """The reservation of policy deadline, with runtime <= deadline <= period as sched_setattr(2) has it."""
    entries = node.value if isinstance(node.value, dict) else {}
    written = [key for key in _RESERVATION if key in entries]
    if policy != "deadline":
        for key in written:
            r.wrong_key(node, key, f"{path}.{key}", f"{key} only beside policy: deadline")
        return None
    if missing := [key for key in _RESERVATION if key not in entries]:
        r.wrong(at(node, "policy"), f"{path}.policy", f"{' and '.join(missing)} beside it")
    if not set(_RESERVATION) <= set(values):
        return None
    for shorter, longer in (("runtime", "deadline"), ("deadline", "period")):
        if values[shorter] > values[longer]:
            r.wrong(at(node, shorter), f"{path}.{shorter}", f"at most the {longer} ({at(node, longer).raw})")
    return Deadline(values["runtime"], values["deadline"], values["period"])


def _check_names(r: Reader, node: Node, values: dict[str, Any], path: str) -> None:
    if "pcomm" in values and not values.get("threads", False):
        r.wrong_key(node, "pcomm", f"{path}.pcomm", "pcomm only beside threads: true")


def _check_payload(r: Reader, node: Node, values: dict[str, Any], work_type: str, path: str, scope: Scope) -> None:
    entries = node.value if isinstance(node.value, dict) else {}
    if work_type != tables.CUSTOM:
        if "payload" in values:
            r.wrong_key(node, "payload", f"{path}.payload", f"payload only beside work: {tables.CUSTOM}")
        return
    if "payload" not in entries:
        r.wrong(at(node, "work"), f"{path}.work", "a payload beside it, which each worker is")
    elif "payload" in values and values["payload"] not in scope.payloads:
        r.unknown(entries["payload"], f"{path}.payload", "one of the payloads", scope.payloads)
    for key in _NOT_OF_CUSTOM:
        if key in entries:
            r.wrong_key(node, key, f"{path}.{key}", f"no {key} for {tables.CUSTOM}, which is a program of its own")
    if values.get("policy") == "deadline":
        r.wrong(entries["policy"], f"{path}.policy", f"another policy for {tables.CUSTOM}")
