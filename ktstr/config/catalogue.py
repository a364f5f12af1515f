"""The canned scenarios that ``include: ktstr:catalogue`` brings: their names, and how each is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ktstr.config.include import Sources, sources_of
from ktstr.config.reader import OURS
from ktstr.resources import include_dir

NAME = f"{OURS}catalogue"
_INDENT = "    "  # of what belongs to an entry, in the files


@dataclass(frozen=True)
class Entry:
    """One scenario. ``text``: its lines in the file, as they stand below ``tests:``."""

    name: str
    category: str
    text: str


def sources() -> Sources:
    """What a ktstr.yaml reads as that includes the catalogue and nothing else."""
    return sources_of(f"include: {NAME}\n".encode(), Path("ktstr.yaml"))


@cache
def entries() -> dict[str, Entry]:
    """All of them by name, in the order of the files."""
    root = sources().root.value
    tests = root["tests"] if isinstance(root, dict) else None
    if tests is None or not isinstance(tests.value, dict):
        raise ValueError(f"{NAME}: has no tests")
    made = {}
    for name, node in tests.value.items():
        fields = node.value if isinstance(node.value, dict) else {}
        category = fields["category"].raw if "category" in fields else ""
        made[name] = Entry(name, category, _text(node.file, tests.keys[name][0]))
    return made


@cache
def _lines(file: str) -> list[str]:
    return (include_dir() / file.removeprefix(OURS)).read_text(encoding="utf-8").splitlines()


def _text(file: str, line: int) -> str:
    """An entry from the line of its name on."""
    lines = _lines(file)
    end = line
    while end < len(lines) and lines[end].startswith(_INDENT):
        end += 1
    return "\n".join(lines[line - 1 : end]) + "\n"
