"""Collects what is wrong with YAML nodes while they are read, each problem with its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ktstr.config.fields import NAME_PATTERN
from ktstr.config.problems import Problem, nearest_of, quoted
from ktstr.config.yaml_lines import DOCUMENT, Node
from ktstr.resources import include_dir

BAD: Any = object()  # what a reader gives for a value it has already complained about
NAME = re.compile(NAME_PATTERN)
OURS = "ktstr:"  # before what messages call a file that comes with ktstr
NAME_RULE = "a name of up to 64 letters, digits, '_', '.' and '-'"


def found(node: Node) -> str:
    """What stands at a node, as messages say it."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    return quoted(node.raw) if isinstance(node.value, str) else node.raw


def is_text(node: Node) -> bool:
    """Whether a scalar has a text of its own: numbers count by their spelling, so 6.10 stays 6.10."""
    return isinstance(node.value, str | int | float) and not isinstance(node.value, bool)


class Reader:
    """Collects problems while nodes are read.

    ``file`` is what messages call the main file, and ``base`` its folder. Files that it includes are called by their
    paths from there.
    """

    def __init__(self, file: str, base: Path = Path()) -> None:
        self.file = file
        self.base = base
        self.problems: list[Problem] = []

    def where(self, node: Node) -> str:
        return f"{node.file or self.file}:{node.line}:{node.col}"

    def place(self, node: Node, path: str) -> str:
        """Where a value is, with its field, as errors that need the topology name it."""
        return f"{self.where(node)} {path}"

    def folder(self, node: Node) -> Path:
        """The folder of the file that a node was written in: its relative paths begin there."""
        if node.file in ("", self.file):
            return self.base
        if node.file.startswith(OURS):
            return (include_dir() / node.file.removeprefix(OURS)).parent
        return Path(os.path.normpath(self.base / node.file)).parent

    def problem(self, problem: Problem) -> None:
        """Record a problem; one of the main file needs no file's name."""
        self.problems.append(problem._replace(origin="") if problem.origin == self.file else problem)

    def wrong(self, node: Node, path: str, expected: str, hint: str | None = None, what: str | None = None) -> Any:
        """Record a problem and give BAD, so that readers can return it."""
        self.problem(Problem(node.line, node.col, path, what or found(node), expected, hint, node.file))
        return BAD

    def wrong_key(self, node: Node, key: str, path: str, expected: str, hint: str | None = None) -> None:
        line, col = node.keys[key]
        file = node.value[key].file if isinstance(node.value, dict) else node.file
        self.problem(Problem(line, col, path, quoted(key), expected, hint, file))

    def unknown(self, node: Node, path: str, what: str, names: Iterable[str]) -> Any:
        """A name nobody knows, with what there is and the nearest of it."""
        names = tuple(names)
        listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        return self.wrong(node, path, f"{what} ({listed or 'none is declared'})", nearest_of(node.raw, names))

    def mapping(self, node: Node, path: str, expected: str = "a mapping") -> dict[str, Node]:
        if not isinstance(node.value, dict):
            self.wrong(node, path or DOCUMENT, expected)
            return {}
        return node.value

    def named(self, node: Node, path: str, what: str) -> dict[str, Node]:
        """A mapping from names: those entries whose name is one."""
        entries = self.mapping(node, path, f"a mapping of {what} by name")
        for name in entries:
            if not NAME.fullmatch(name):
                self.wrong_key(node, name, path, NAME_RULE)
        return {name: child for name, child in entries.items() if NAME.fullmatch(name)}

    def items(self, node: Node, path: str, expected: str) -> list[Node]:
        if not isinstance(node.value, list) or not node.value:
            self.wrong(node, path, expected, what="an empty list" if node.value == [] else None)
            return []
        return node.value
