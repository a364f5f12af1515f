"""Cgroups of which a machine has as many as its CPUs make it: what there is on one topology."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

from ktstr.config.model import Backdrop, Step
from ktstr.config.ops import Op, RunPayload
from ktstr.config.scenario import Cgroup
from ktstr.config.topology import Topology
from ktstr.scenarios.spans import named_by

Part = TypeVar("Part", Backdrop, Step)


def is_there(cgroup: Cgroup, topology: Topology) -> bool:
    """Whether a machine has it: there are as many copies as its usable CPUs make, the lowest first."""
    return cgroup.copy is None or cgroup.copy.index < cgroup.copy.count.of(len(topology.usable_cpus))


def fitted(part: Part, absent: Collection[str], topology: Topology) -> Part:
    """A step or the backdrop without the cgroups that are not there, and without ops that name one of ``absent``."""
    ops: tuple[Op, ...] = tuple(op for op in part.ops if not set(named_by(op)) & set(absent))
    payloads: tuple[RunPayload, ...] = tuple(run for run in part.payloads if run.cgroup not in absent)
    cgroups = tuple(cgroup for cgroup in part.cgroups if is_there(cgroup, topology))
    return replace(part, cgroups=cgroups, ops=ops, payloads=payloads)
