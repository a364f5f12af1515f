"""Types the memory policies of workers (set_mempolicy(2))."""

from __future__ import annotations

from typing import Any, cast

from ktstr.config import scenario_fields as tables
from ktstr.config.fields import Field
from ktstr.config.placed import at
from ktstr.config.problems import nearest_of
from ktstr.config.reader import BAD, Reader
from ktstr.config.scenario import MemPolicy, MemPolicyMode
from ktstr.config.typed import read
from ktstr.config.yaml_lines import Node

LOCAL: MemPolicyMode = "local"
_NODES = Field("nodes", "")
_BALANCED = ("bind", "preferred_many")  # modes that take numa_balancing (sanitize_mpol_flags of mm/mempolicy.c)


def read_mem_policy(r: Reader, node: Node, values: dict[str, Any], path: str) -> MemPolicy | None:
    """The policy of a work, whose typed fields ``values`` are; None without one, or for a wrong one."""
    flags = values.get("mem_flags", ())
    if "mem_policy" not in values:
        if flags:
            r.wrong_key(node, "mem_flags", f"{path}.mem_flags", "mem_flags only beside mem_policy")
        return None
    written = values["mem_policy"]
    policy = _policy(r, written, f"{path}.mem_policy")
    if policy is None:
        return None
    made = MemPolicy(policy.mode, policy.nodes, flags, r.place(written, f"{path}.mem_policy"))
    _check_flags(r, at(node, "mem_flags"), f"{path}.mem_flags", made)
    return made


def _policy(r: Reader, node: Node, path: str) -> MemPolicy | None:
    modes = ", ".join(tables.MEM_POLICIES)
    if not isinstance(node.value, dict):
        if node.value == LOCAL:
            return MemPolicy(LOCAL)
        r.wrong(node, path, f"{LOCAL}, or a mapping with one of {modes}", nearest_of(node.raw, (LOCAL,)))
        return None
    if len(node.value) != 1:
        r.wrong(node, path, f"exactly one of {modes}", what=f"{len(node.value)} keys")
        return None
    mode, child = next(iter(node.value.items()))
    if mode not in tables.MEM_POLICIES:
        r.wrong_key(node, mode, f"{path}.{mode}", f"one of {modes}", nearest_of(mode, tables.MEM_POLICIES))
        return None
    nodes = read(r, child, f"{path}.{mode}", _NODES)
    if nodes is BAD:
        return None
    if mode == "preferred" and len(nodes) != 1:
        r.wrong(child, f"{path}.{mode}", "one node; preferred_many takes several", what=f"{len(nodes)} nodes")
    return MemPolicy(cast(MemPolicyMode, mode), nodes)


def _check_flags(r: Reader, node: Node, path: str, policy: MemPolicy) -> None:
    """As the kernel refuses them (mm/mempolicy.c)."""
    if {"static_nodes", "relative_nodes"} <= set(policy.flags):
        r.wrong(node, path, "one of static_nodes and relative_nodes", what="both")
    if "numa_balancing" in policy.flags and policy.mode not in _BALANCED:
        r.wrong(node, path, f"numa_balancing only with {' or '.join(_BALANCED)}", what=f"it with {policy.mode}")
    elif policy.mode == LOCAL and policy.flags:
        r.wrong(node, path, f"no flags with {LOCAL}, which names no nodes", what=", ".join(policy.flags))
