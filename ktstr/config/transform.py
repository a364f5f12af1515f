"""What YAML nodes become before they are typed: what a step of it gives, and mappings with other entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ktstr.config.yaml_lines import MAX_NODES, Node, Place


def with_entries(node: Node, entries: Mapping[str, Node], keys: Mapping[str, Place]) -> Node:
    """The mapping with these entries, whose keys are at these places, in its own place."""
    size = 1 + sum(child.size for child in entries.values())
    return node._replace(value=dict(entries), keys=dict(keys), size=size)


def with_items(node: Node, items: Iterable[Node]) -> Node:
    """The list with these items, in its own place."""
    children = list(items)
    return node._replace(value=children, size=1 + sum(child.size for child in children))


def without(node: Node, *names: str) -> Node:
    """A mapping without some of its keys."""
    if not isinstance(node.value, dict) or not set(names) & node.value.keys():
        return node
    entries = {key: child for key, child in node.value.items() if key not in names}
    return with_entries(node, entries, {key: node.keys[key] for key in entries})


def is_too_large(node: Node) -> bool:
    """Whether it unfolds further than any document may."""
    return node.size > MAX_NODES
