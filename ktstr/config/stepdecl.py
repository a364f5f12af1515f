"""Types the steps of tests, what lives through all of them, and how long each lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ktstr.config import scenario_fields as tables
from ktstr.config.cgroupdecl import read_cgroups
from ktstr.config.model import Backdrop, Step
from ktstr.config.opdecl import read_ops, read_runs
from ktstr.config.ops import Op, RunPayload
from ktstr.config.placed import Placed
from ktstr.config.reader import BAD, Reader
from ktstr.config.scenario import FULL, Cgroup, Hold
from ktstr.config.typed import read, read_table
from ktstr.config.workdecl import Scope
from ktstr.config.yaml_lines import Node

_HOLD_RULE = "a fraction of the duration above 0, a duration such as 200ms, or {every: 100ms}"


@dataclass(frozen=True)
class Stage:
    """What a step, or the backdrop, does, with the nodes that it was read from. ``path``: of its field."""

    path: str
    cgroups: tuple[Placed[Cgroup], ...] = ()
    ops: tuple[Placed[Op], ...] = ()
    payloads: tuple[Placed[RunPayload], ...] = ()
    hold: Hold = FULL
    name: str = ""
    where: str = ""

    def step(self) -> Step:
        """Its values alone."""
        return Step(
            tuple(placed.value for placed in self.cgroups),
            tuple(placed.value for placed in self.ops),
            tuple(placed.value for placed in self.payloads),
            self.hold,
            self.name,
            self.where,
        )

    def backdrop(self) -> Backdrop:
        """Its values alone."""
        step = self.step()
        return Backdrop(step.cgroups, step.ops, step.payloads)


def read_steps(r: Reader, node: Node, path: str, scope: Scope) -> tuple[Stage, ...]:
    """The steps, in order. Problems are recorded in the reader."""
    stages = [
        _step(r, child, f"{path}[{i}]", scope)
        for i, child in enumerate(r.items(node, path, "a list of steps, such as [{cgroups: [a]}]"))
    ]
    names: set[str] = set()
    for i, (stage, child) in enumerate(zip(stages, node.value if isinstance(node.value, list) else (), strict=False)):
        if stage.name and stage.name in names and isinstance(child.value, dict):
            r.wrong(child.value["name"], f"{path}[{i}].name", "each step name once in a test")
        names.add(stage.name)
    return tuple(stages)


def _step(r: Reader, node: Node, path: str, scope: Scope) -> Stage:
    values = read_table(r, node, path, tables.STEP)
    stage = Stage(
        path,
        read_cgroups(r, values.get("cgroups"), f"{path}.cgroups", scope),
        read_ops(r, values.get("ops"), f"{path}.ops", scope),
        read_runs(r, values.get("payloads"), f"{path}.payloads", scope),
        _hold(r, values.get("hold"), f"{path}.hold"),
        values.get("name", ""),
        r.place(node, path),
    )
    if stage.hold.kind == "loop" and "ops" not in values:
        r.wrong(values["hold"], f"{path}.hold", "ops in this step, which are what is done again", what="a loop")
    return stage


def read_backdrop(r: Reader, node: Node, path: str, scope: Scope) -> Stage:
    """What lives through all steps. Problems are recorded in the reader."""
    values = read_table(r, node, path, tables.BACKDROP)
    return Stage(
        path,
        read_cgroups(r, values.get("cgroups"), f"{path}.cgroups", scope),
        read_ops(r, values.get("ops"), f"{path}.ops", scope),
        read_runs(r, values.get("payloads"), f"{path}.payloads", scope),
        where=r.place(node, path),
    )


def _hold(r: Reader, node: Node | None, path: str) -> Hold:
    """How long a step lasts; the whole duration without one, or for a wrong one."""
    if node is None:
        return FULL
    if isinstance(node.value, dict):
        values = read_table(r, node, path, tables.LOOP)
        return Hold("loop", ns=values["every"]) if "every" in values else FULL
    if isinstance(node.value, str):
        ns = read(r, node, path, tables.HOLD)
        return FULL if ns is BAD else Hold("fixed", ns=ns)
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        r.wrong(node, path, _HOLD_RULE)
    elif not 0 < value <= tables.MAX_HOLD_FRACTION:
        r.wrong(node, path, _HOLD_RULE if value <= 0 else f"a fraction of at most {tables.MAX_HOLD_FRACTION}")
    else:
        return Hold("fraction", float(value))
    return FULL
