"""``doit catalogue``: the canned scenarios that ``include: ktstr:catalogue`` brings, and how one is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.config.problems import nearest_of
from ktstr.errors import InputError
from ktstr.options import FLAG, LIST, variable

if TYPE_CHECKING:
    from ktstr.config.catalogue import Entry
    from ktstr.config.model import TestDecl

_HEAD = "tests:\n"


@dataclass(frozen=True)
class Options:
    """Which scenarios, and what is printed of them."""

    category: tuple[str, ...] = variable(LIST, "of these categories, by glob or bare substring", (), environment=False)
    test: tuple[str, ...] = variable(LIST, "scenarios by name, glob or bare substring", (), environment=False)
    show: tuple[str, ...] = variable(LIST, "print these, by name, as they are written", (), environment=False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True)
class Row:
    """A scenario as it is listed. ``needs``: the topologies that it runs on, empty for all; ``work_types``: each
    once."""

    name: str
    category: str
    description: str
    needs: str
    work_types: tuple[str, ...]
    duration_ms: int
    checks: Mapping[str, bool | int | float]


def run(invocation: Invocation, options: Options) -> Report:
    """The list; with ``show=`` the lines of a ktstr.yaml."""
    from ktstr.config import catalogue

    entries = catalogue.entries()
    if options.show:
        shown = "\n".join(_entry(name, entries).text for name in options.show)
        return Report(_HEAD + shown)
    rows = [row_of(test) for test in _chosen(options, entries)]
    return Report(_to_json(rows) if options.json else _to_text(rows))


def row_of(test: TestDecl) -> Row:
    """What the list says of a test."""
    kinds = tuple(dict.fromkeys(work.work_type for work in test.works))
    return Row(test.name, test.category, test.description, _needs(test), kinds, test.duration_ns // 10**6, test.checks)


def _needs(test: TestDecl) -> str:
    limits = (
        (test.min_cpus, "CPUs"),
        (test.min_llcs, "LLCs"),
        (test.min_numa_nodes, "NUMA nodes"),
    )
    return ", ".join(f"{least} {what}" for least, what in limits if least > 1)


def _entry(name: str, entries: Mapping[str, Entry]) -> Entry:
    """The scenario of a name. Raises InputError with the nearest one."""
    if name in entries:
        return entries[name]
    hint = nearest_of(name, entries)
    raise InputError(
        f"show={name}: found no such scenario" + (f", nearest match {hint!r}" if hint else ""), fix="doit catalogue"
    )


def _chosen(options: Options, entries: Mapping[str, Entry]) -> list[TestDecl]:
    """Those that the patterns mean, all without one. Raises InputError for a pattern that means none."""
    from ktstr.config import catalogue
    from ktstr.config.load import typed

    names = _met("test", options.test, {name: name for name in entries})
    kinds = _met("category", options.category, {name: entry.category for name, entry in entries.items()})
    return [test for name, test in typed(catalogue.sources(), validated=True).tests.items() if name in names & kinds]


def _met(variable: str, patterns: tuple[str, ...], words: Mapping[str, str]) -> set[str]:
    """The scenarios whose word a pattern means. ``words``: by scenario."""
    from ktstr.config.patterns import match

    chosen: set[str] = set()
    for pattern in patterns:
        hits = match(pattern, dict.fromkeys(words.values()))
        if not hits:
            hint = nearest_of(pattern, dict.fromkeys(words.values()))
            raise InputError(
                f"{variable}={pattern}: found no scenario of that {'name' if variable == 'test' else variable}"
                + (f", nearest match {hint!r}" if hint else ""),
                fix="doit catalogue",
            )
        chosen.update(name for name, word in words.items() if word in hits)
    return chosen if patterns else set(words)


def _to_text(rows: list[Row]) -> str:
    from ktstr.columns import beside

    lines = [f"{len(rows)} scenarios; include: ktstr:catalogue brings them, doit test test=NAME runs one", ""]
    for category in dict.fromkeys(row.category for row in rows):
        lines.append(f"{category} (test=category:{category})")
        for row in (row for row in rows if row.category == category):
            needs = [f"needs {row.needs}"] if row.needs else []
            facts = "; ".join([row.description, ", ".join(row.work_types), *needs])
            lines += beside(f"  {row.name}", facts, 8)
        lines.append("")
    return "\n".join(lines)


def _to_json(rows: list[Row]) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({"scenarios": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False) + "\n"


COMMAND = Command("catalogue", "Run", "canned scenarios: all of them, or how one is written", Options, run)
