"""Types the cgroups of tests, with their workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from ktstr.config import scenario_fields as tables
from ktstr.config.controls import check_partition, read_controls
from ktstr.config.cpusetdecl import read_cpuset
from ktstr.config.placed import Placed, at, read_list
from ktstr.config.reader import BAD, Reader, is_text
from ktstr.config.scenario import Cgroup, Copy, Count, Work
from ktstr.config.typed import read, read_table
from ktstr.config.workdecl import Scope, read_work, read_works
from ktstr.config.yaml_lines import Node


def read_cgroups(r: Reader, node: Node | None, path: str, scope: Scope) -> tuple[Placed[Cgroup], ...]:
    """A list of cgroups: names, or mappings, of which one may be several. Problems are recorded in the reader; what is
    wrong is left out."""
    made = read_list(r, node, path, "a list of cgroups", lambda child, at: _cgroup(r, child, at, scope))
    return tuple(copy for placed in made for copy in _copies(r, placed))


def _copies(r: Reader, placed: Placed[Cgroup]) -> Iterator[Placed[Cgroup]]:
    """The cgroups that one is: itself without ``copies``."""
    cgroup = placed.value
    written, path = placed.at("copies")
    count = BAD if written is placed.node else read(r, written, path, tables.CGROUP["copies"])
    if count is BAD:
        yield placed
        return
    for index in range(count.high if isinstance(count, Count) else count):
        copy = Copy(index, count) if isinstance(count, Count) else None
        works = tuple(_spread(work, index) for work in cgroup.works)
        yield replace(placed, value=replace(cgroup, name=f"{cgroup.name}_{index}", works=works, copy=copy))


def _spread(work: Work, index: int) -> Work:
    """Of the ``index``-th copy: its workers go on where those of the copies before it end."""
    if work.affinity is None or work.affinity.kind != "spread":
        return work
    return replace(work, affinity=replace(work.affinity, number=index * work.workers))


def _cgroup(r: Reader, node: Node, path: str, scope: Scope) -> Cgroup | None:
    if is_text(node):
        name = read(r, node, path, tables.CGROUP["name"])
        where = r.place(node, path)
        return None if name is BAD else Cgroup(name, (read_work(r, node, {}, path, scope),), where=where)
    values = read_table(r, node, path, tables.CGROUP)
    cpuset = read_cpuset(r, values.get("cpuset"), f"{path}.cpuset")
    expected = read_cpuset(r, values.get("expect_cpuset"), f"{path}.expect_cpuset")
    works = read_works(r, node, values, path, scope)
    controls = read_controls(r, node, values, path)
    check_partition(r, node, values, path)
    _check_nodes(r, node, works, values.get("mems"), path)
    if "name" not in values:
        return None
    return Cgroup(values["name"], works, cpuset, expected, values.get("mems"), controls, r.place(node, path))


def _check_nodes(r: Reader, node: Node, works: tuple[Work, ...], mems: tuple[int, ...] | None, path: str) -> None:
    """A memory policy names nodes that its cgroup has, unless flags make its nodes mean others."""
    for i, work in enumerate(works):
        policy = work.mem_policy
        if policy is None or mems is None or {"static_nodes", "relative_nodes"} & set(policy.flags):
            continue
        if outside := [str(number) for number in policy.nodes if number not in mems]:
            inner, where = (node, path) if "works" not in _keys(node) else (_item(node, i), f"{path}.works[{i}]")
            expected = f"nodes of the cgroup's mems ({', '.join(map(str, mems))})"
            r.wrong(at(inner, "mem_policy"), f"{where}.mem_policy", expected, what=f"nodes {', '.join(outside)}")


def _keys(node: Node) -> Collection[str]:
    return node.value if isinstance(node.value, dict) else ()


def _item(node: Node, index: int) -> Node:
    works = at(node, "works")
    return works.value[index] if isinstance(works.value, list) else node
