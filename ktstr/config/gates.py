"""Types what a test declares for comparisons: its limits against a baseline, and two schedulers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ktstr.config import fields
from ktstr.config.model import PerfGate
from ktstr.config.reader import BAD, Reader, is_text
from ktstr.config.typed import read, read_table
from ktstr.config.yaml_lines import Node


def read_gates(r: Reader, node: Node | None, path: str) -> tuple[PerfGate, ...]:
    """A test's ``perf_delta:``: metrics by name, or mappings. Problems are recorded in the reader."""
    if node is None:
        return ()
    made: dict[tuple[str, int | None], PerfGate] = {}
    for i, child in enumerate(r.items(node, path, "a list of metrics, such as [iteration_rate]")):
        gate = _gate(r, child, f"{path}[{i}]")
        if gate is None:
            continue
        if (gate.metric, gate.phase) in made:
            r.wrong(_at(child, "metric"), f"{path}[{i}]", "each metric once in a phase, and once of the whole run")
        made[gate.metric, gate.phase] = gate
    return tuple(made.values())


def _gate(r: Reader, node: Node, path: str) -> PerfGate | None:
    if isinstance(node.value, dict):
        values = read_table(r, node, path, fields.PERF_GATE)
    else:
        metric = read(r, node, path, fields.PERF_GATE["metric"])
        values = {} if metric is BAD else {"metric": metric}
    if "metric" not in values or not _can_gate(r, node, path, values):
        return None
    return PerfGate(**values)


def _can_gate(r: Reader, node: Node, path: str, values: dict[str, Any]) -> bool:
    """Whether the metric can be judged as declared: a limit that never is would be no limit."""
    from ktstr.record.metrics import METRICS

    metric = METRICS[values["metric"]]
    at = _at(node, "metric")
    if not metric.rendered:
        r.wrong(at, path, "a metric that is judged: this one is a component that others are made of")
    elif not metric.gates_aggregate(True) and "phase" not in values:
        r.wrong(at, path, "a phase beside it: this metric says nothing of a whole run")
    elif metric.polarity == "Informational" and "direction" not in values:
        r.wrong(at, path, "a direction (higher or lower) beside it: the registry says of neither that it is better")
    else:
        return True
    return False


def read_pair(r: Reader, node: Node | None, path: str, schedulers: Collection[str]) -> tuple[str, ...]:
    """A test's ``compare:``: two of the declared schedulers; empty without it, or when it is wrong."""
    if node is None:
        return ()
    rule = "two schedulers, such as [mine, eevdf]"
    if not isinstance(node.value, list) or len(node.value) != 2:
        r.wrong(node, path, rule, what=f"a list of {len(node.value)}" if isinstance(node.value, list) else None)
        return ()
    names = []
    for i, child in enumerate(node.value):
        if not is_text(child) or child.raw not in schedulers:
            r.unknown(child, f"{path}[{i}]", "one of the schedulers", dict.fromkeys(schedulers))
        elif child.raw in names:
            r.wrong(child, f"{path}[{i}]", "another scheduler than the first")
        else:
            names.append(child.raw)
    return tuple(names) if len(names) == 2 else ()


def _at(node: Node, key: str) -> Node:
    return node.value.get(key, node) if isinstance(node.value, dict) else node
