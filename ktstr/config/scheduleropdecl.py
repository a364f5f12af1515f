"""Types ``scheduler_ops:``: a scheduler that is detached, attached, restarted or replaced within a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ktstr.config import fields
from ktstr.config.model import Builtin, SchedulerDecl, SchedulerOp
from ktstr.config.reader import Reader
from ktstr.config.typed import read_table
from ktstr.config.yaml_lines import Node

MAX_OPS = 64


def read_scheduler_ops(
    r: Reader, node: Node | None, path: str, duration_ns: int, schedulers: Mapping[str, SchedulerDecl | None]
) -> tuple[SchedulerOp, ...]:
    """The ops, in the order of their moments, which lie within the duration. Problems are recorded in the reader.

    ``schedulers``: the declared ones, None for those that are declared wrongly.
    """
    if node is None:
        return ()
    children = r.items(node, path, "a list of {at, op}")
    if len(children) > MAX_OPS:
        r.wrong(node, path, f"at most {MAX_OPS}", what=f"{len(children)} ops")
    ops: list[SchedulerOp] = []
    attached, before = True, 0
    for i, child in enumerate(children):
        at = f"{path}[{i}]"
        values = read_table(r, child, at, fields.SCHEDULER_OP)
        if "at" not in values or "op" not in values:
            continue
        op = SchedulerOp(values["at"], values["op"], values.get("args"), values.get("scheduler"))
        _check_moment(r, child, at, op, before, duration_ns)
        if (op.op == "attach") is attached:
            expected = "detach, restart or replace: it is attached" if attached else "attach: it is detached"
            r.wrong(_at(child, "op"), f"{at}.op", f"{expected} then")
        _check_replacement(r, child, at, op, schedulers)
        attached, before = op.op != "detach", op.at_ns
        ops.append(op)
    return tuple(ops)


def _check_replacement(
    r: Reader, node: Node, path: str, op: SchedulerOp, schedulers: Mapping[str, SchedulerDecl | None]
) -> None:
    given: dict[str, Any] = {"args": op.args, "scheduler": op.scheduler}
    for key, value in given.items():
        if op.op != "replace" and value is not None:
            r.wrong_key(node, key, f"{path}.{key}", f"{key} only beside op: replace")
    if op.op != "replace" or op.scheduler is None:
        return
    declared = schedulers.get(op.scheduler)
    if op.scheduler not in schedulers:
        r.unknown(_at(node, "scheduler"), f"{path}.scheduler", "one of the schedulers", dict.fromkeys(schedulers))
    elif declared is not None and isinstance(declared.kind, Builtin):
        expected = "one that is a program: op: detach gives way to the kernel's own"
        r.wrong(_at(node, "scheduler"), f"{path}.scheduler", expected)


def _check_moment(r: Reader, node: Node, path: str, op: SchedulerOp, before: int, duration_ns: int) -> None:
    if op.at_ns < before:
        r.wrong(_at(node, "at"), f"{path}.at", "no earlier than the op before it")
    elif op.at_ns >= duration_ns:
        r.wrong(_at(node, "at"), f"{path}.at", f"within the test's duration, {duration_ns / 1e9:g}s")


def _at(node: Node, key: str) -> Node:
    return node.value.get(key, node) if isinstance(node.value, dict) else node
