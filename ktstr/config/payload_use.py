"""Which payloads a test runs: beside cgroups, in steps and backdrop, by ``run``, and as ``Custom`` workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ktstr.config import ops
from ktstr.config.model import TestDecl
from ktstr.config.scenario import Cgroup


def used_payloads(test: TestDecl) -> tuple[str, ...]:
    """Their names, each once, in the order in which the declaration has them."""
    return tuple(dict.fromkeys(_names(test)))


def _names(test: TestDecl) -> Iterator[str]:
    backdrop = test.backdrop
    yield from _of_cgroups(backdrop.cgroups)
    yield from _of_ops((*backdrop.ops, *backdrop.payloads))
    for step in test.all_steps:
        yield from _of_ops(step.ops)
        yield from _of_cgroups(step.cgroups)
        yield from _of_ops(step.payloads)


def _of_cgroups(cgroups: Iterable[Cgroup]) -> Iterator[str]:
    return (work.payload for cgroup in cgroups for work in cgroup.works if work.payload is not None)


def _of_ops(declared: Iterable[ops.Op]) -> Iterator[str]:
    for op in declared:
        if isinstance(op, ops.RunPayload):
            yield op.payload
        elif isinstance(op, ops.Spawn) and op.work.payload is not None:
            yield op.work.payload
