"""Types the phases that workers of a Sequence go through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ktstr.config import scenario_fields as tables
from ktstr.config.placed import at
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, Reader
from ktstr.config.typed import read
from ktstr.config.yaml_lines import Node
from ktstr.record.facts import MAX_PHASES, PHASE_KINDS
from ktstr.record.vocabulary import WORK_TYPES


def read_phases(
    r: Reader, node: Node, values: dict[str, Any], work_type: str, path: str
) -> tuple[tuple[str, int], ...] | None:
    """The numbers that a work's ``phases`` are, by their names; None for a type that has none, and for wrong ones."""
    if work_type not in WORK_TYPES or not WORK_TYPES[work_type].has_phases:
        if "phases" in values:
            r.wrong_key(node, "phases", f"{path}.phases", f"phases only beside work: {' or '.join(tables.PHASED)}")
        return None
    if "phases" not in values:
        if not isinstance(node.value, dict) or "phases" not in node.value:
            r.wrong(at(node, "work"), f"{path}.work", "phases beside it, such as [{spin: 10ms}, {sleep: 5ms}]")
        return None
    children = r.items(values["phases"], f"{path}.phases", "a list of phases")
    if len(children) > MAX_PHASES:
        r.wrong(values["phases"], f"{path}.phases", f"at most {MAX_PHASES} phases", what=f"{len(children)}")
    numbers = [_phase(r, child, f"{path}.phases[{i}]") for i, child in enumerate(children)]
    return _named(work_type, [number for phase in numbers for number in phase])


def _phase(r: Reader, node: Node, path: str) -> tuple[int, int]:
    """Its kind and its ns; zeros for a wrong one."""
    kinds = ", ".join(PHASE_KINDS)
    if not isinstance(node.value, dict):
        r.wrong(node, path, f"a mapping with one of {kinds}: {{spin: 10ms}}", nearest_of(node.raw, PHASE_KINDS))
        return 0, 0
    if len(node.value) != 1:
        r.wrong(node, path, f"exactly one of {kinds}", what=f"{len(node.value)} keys")
        return 0, 0
    kind, child = next(iter(node.value.items()))
    if kind not in PHASE_KINDS:
        r.wrong_key(node, kind, f"{path}.{kind}", f"one of {kinds}", nearest_of(kind, PHASE_KINDS))
        return 0, 0
    ns = read(r, child, f"{path}.{kind}", tables.PHASES[kind])
    return (0, 0) if ns is BAD else (PHASE_KINDS.index(kind) + 1, ns)


def _named(work_type: str, numbers: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """All numbers of the type, those after the last phase 0."""
    names = [param.name for param in WORK_TYPES[work_type].params]
    return tuple(zip(names, (*numbers, *[0] * (len(names) - len(numbers))), strict=False))
