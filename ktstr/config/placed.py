"""Values that keep the YAML node they were read from, for what is judged only when all of a test is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ktstr.config.reader import Reader
from ktstr.config.yaml_lines import Node

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def at(node: Node, key: str) -> Node:
    """The node of a mapping's key; the node itself where it has none: the short form of a mapping is a name."""
    return node.value.get(key, node) if isinstance(node.value, dict) else node


@dataclass(frozen=True)
class Placed(Generic[T_co]):
    """A value, its node, and the path of the field, such as ``tests.a.steps[0].ops[1]``."""

    value: T_co
    node: Node
    path: str

    def at(self, key: str) -> tuple[Node, str]:
        """The node and path of one of its keys; its own where that is not written."""
        child = at(self.node, key)
        return child, self.path if child is self.node else f"{self.path}.{key}"


def read_list(
    r: Reader, node: Node | None, path: str, rule: str, read: Callable[[Node, str], T | None]
) -> tuple[Placed[T], ...]:
    """The items of a list, each with its place; none without a node. ``read`` records what is wrong with an item and
    gives None for it: it is left out."""
    if node is None:
        return ()
    made = []
    for i, child in enumerate(r.items(node, path, rule)):
        value = read(child, f"{path}[{i}]")
        if value is not None:
            made.append(Placed(value, child, f"{path}[{i}]"))
    return tuple(made)
