"""``define`` and ``use``: reusable mappings, put in place before anything is typed.

A mapping's own keys win over those that it uses; of several that it uses, the first wins. A nested mapping is replaced,
not merged. Every key and value keeps the place and the file that it was written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ktstr.config.problems import quoted
from ktstr.config.reader import Reader, is_text
from ktstr.config.transform import is_too_large, with_entries, with_items, without
from ktstr.config.yaml_lines import MAX_DEPTH, MAX_NODES, Node

USE = "use"
DEFINE = "define"
PLACES = ("define", "payloads", "schedulers", "tests")  # below which mappings may have ``use``
_RULE = "the name of a mapping of define, or a list of such names"


@dataclass
class _Pieces:
    """The defined mappings as written, and those that are expanded already. ``open``: those that are being expanded."""

    written: Mapping[str, Node]
    expanded: dict[str, Node] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)


def expand_uses(r: Reader, root: Node) -> Node:
    """The document with every ``use`` replaced by what it names. Problems are recorded in the reader."""
    if not isinstance(root.value, dict):
        return root
    written = root.value.get(DEFINE)
    pieces = _Pieces({} if written is None else r.named(written, DEFINE, "mappings"))
    for name, node in pieces.written.items():
        if not isinstance(node.value, dict):
            r.wrong(node, f"{DEFINE}.{name}", "a mapping")
    entries = dict(root.value)
    for name in pieces.written:
        _piece(r, pieces, name)
    for key in PLACES:
        if key in entries and key != DEFINE:
            entries[key] = _inside(r, pieces, entries[key], key)
    made = with_entries(root, entries, root.keys)
    if is_too_large(made):
        r.wrong(root, "", f"at most {MAX_NODES} values", what=f"what {USE} unfolds into {made.size}")
        return without(root, *PLACES)
    return made


def _piece(r: Reader, pieces: _Pieces, name: str) -> Node:
    """A defined mapping without ``use``."""
    if name not in pieces.expanded:
        pieces.open.append(name)
        pieces.expanded[name] = _expanded(r, pieces, pieces.written[name], f"{DEFINE}.{name}")
        pieces.open.pop()
    return pieces.expanded[name]


def _inside(r: Reader, pieces: _Pieces, node: Node, path: str) -> Node:
    """A mapping by names: what is in it, but not itself, may use others."""
    if not isinstance(node.value, dict):
        return node
    entries = {name: _expanded(r, pieces, child, f"{path}.{name}") for name, child in node.value.items()}
    return with_entries(node, entries, node.keys)


def _expanded(r: Reader, pieces: _Pieces, node: Node, path: str) -> Node:
    """The node without ``use``; itself, where nothing in it changes."""
    if isinstance(node.value, list):
        items = [_expanded(r, pieces, child, f"{path}[{i}]") for i, child in enumerate(node.value)]
        same = all(new is old for new, old in zip(items, node.value, strict=True))
        return node if same else with_items(node, items)
    if not isinstance(node.value, dict):
        return node
    entries, keys, changed = {}, dict(node.keys), False
    for key, child in node.value.items():
        if key == USE:
            changed = True
            continue
        entries[key] = _expanded(r, pieces, child, f"{path}.{key}")
        changed = changed or entries[key] is not child
    if USE in node.value:
        del keys[USE]
        for piece in _used(r, pieces, node.value[USE], f"{path}.{USE}"):
            if not isinstance(piece.value, dict):
                continue
            for key, child in piece.value.items():
                if key not in entries:
                    entries[key], keys[key] = child, piece.keys[key]
    if not changed:
        return node
    made = with_entries(node, entries, keys)
    if is_too_large(made):
        r.wrong(node, path, f"at most {MAX_NODES} values", what=f"what {USE} unfolds into {made.size}")
        return node._replace(value=None, raw="", keys={}, size=1)
    return made


def _used(r: Reader, pieces: _Pieces, node: Node, path: str) -> list[Node]:
    """The mappings that a ``use`` names."""
    children = [(node, path)]
    if isinstance(node.value, list):
        children = [(child, f"{path}[{i}]") for i, child in enumerate(r.items(node, path, _RULE))]
    found = []
    for child, at in children:
        if not is_text(child):
            r.wrong(child, at, _RULE)
        elif child.raw not in pieces.written:
            r.unknown(child, at, "a mapping of define", pieces.written)
        elif child.raw in pieces.open:
            circle = " -> ".join((*pieces.open[pieces.open.index(child.raw) :], child.raw))
            r.wrong(child, at, "a mapping that does not use itself", what=f"{quoted(child.raw)} ({circle})")
        elif len(pieces.open) >= MAX_DEPTH:
            r.wrong(child, at, f"at most {MAX_DEPTH} mappings that use one another", what="one more")
        else:
            found.append(_piece(r, pieces, child.raw))
    return found
