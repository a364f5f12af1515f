"""Types ``expect:``: how a run must end, where that is no pass."""

from __future__ import annotations

from ktstr.config import fields
from ktstr.config.model import Expect
from ktstr.config.reader import BAD, Reader
from ktstr.config.typed import read, read_table
from ktstr.config.yaml_lines import Node


def read_expect(r: Reader, node: Node | None, path: str) -> Expect | None:
    """An ``expect:`` of a test or a scheduler: the word of an end, or a mapping with it. Problems are recorded."""
    if node is None:
        return None
    if not isinstance(node.value, dict):
        end = read(r, node, path, fields.EXPECT["end"])
        return None if end is BAD else Expect(end)
    values = read_table(r, node, path, fields.EXPECT)
    if "exit_kind" in values and values.get("end") != "evicted":
        r.wrong_key(node, "exit_kind", f"{path}.exit_kind", "exit_kind only beside end: evicted")
    return Expect(**values) if "end" in values else None
