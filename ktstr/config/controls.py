"""Types the files of a cgroup that a test writes, such as cpu.max, in the kernel's words.

What they take: Documentation/admin-guide/cgroup-v2.rst, and tg_set_bandwidth of kernel/sched/core.c.
"""

from __future__ import annotations

from typing import Any

from ktstr.config import scenario_fields as tables
from ktstr.config.placed import at
from ktstr.config.reader import Reader
from ktstr.config.scenario import Controls
from ktstr.config.yaml_lines import Node

_TEXTS = {"io.weight": "default {}"}  # the others are written as they are
_WEIGHTS = ("cpu.weight", "cpu.weight.nice")


def read_controls(r: Reader, node: Node, values: dict[str, Any], path: str) -> Controls:
    """What is to be written, in the order of the table; ``values``: the typed fields of ``node``."""
    _check_weights(r, node, values, path)
    _check_burst(r, node, values, path)
    return tuple((key, _TEXTS.get(key, "{}").format(values[key])) for key in tables.CONTROLS if key in values)


def _check_weights(r: Reader, node: Node, values: dict[str, Any], path: str) -> None:
    """One weight; an idle cgroup has none of its own (sched_group_set_shares of kernel/sched/fair.c refuses it)."""
    given = [key for key in _WEIGHTS if key in values]
    if len(given) > 1:
        r.wrong_key(node, given[1], f"{path}.{given[1]}", f"one of {' and '.join(_WEIGHTS)}, which are the same")
    elif given and values.get("cpu.idle") == "1":
        r.wrong_key(node, given[0], f"{path}.{given[0]}", "no weight beside cpu.idle: true")


def _check_burst(r: Reader, node: Node, values: dict[str, Any], path: str) -> None:
    quota = values.get("cpu.max", "max").split()[0]
    burst = values.get("cpu.max.burst")
    if burst is not None and quota != "max" and int(burst) > int(quota):
        expected = f"at most the quota of cpu.max ({quota}us)"
        r.wrong(at(node, "cpu.max.burst"), f"{path}.cpu.max.burst", expected)


def check_partition(r: Reader, node: Node, values: dict[str, Any], path: str) -> None:
    """A partition is made of the CPUs that a cgroup has of its own."""
    kind = values.get("cpuset.cpus.partition", "member")
    if kind != "member" and "cpuset" not in values:
        r.wrong(at(node, "cpuset.cpus.partition"), f"{path}.cpuset.cpus.partition", "a cpuset beside it")
