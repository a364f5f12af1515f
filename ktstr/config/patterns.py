"""What a pattern of names means; of tests also their category.

A pattern is a name, else a glob (``*``, ``?``, ``[``), else a part of names. ``category:NAME`` means the tests of a
category, which is a pattern too.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable

from ktstr.config import catalogue
from ktstr.config.model import TestDecl

GLOB = frozenset("*?[")
CATEGORY = "category:"


def match(pattern: str, names: Collection[str]) -> tuple[str, ...]:
    """The names a pattern means: itself if it is one, else those of the glob, else those that contain it."""
    if pattern in names:
        return (pattern,)
    if GLOB.intersection(pattern):
        return tuple(n for n in names if fnmatch.fnmatchcase(n, pattern))
    return tuple(n for n in names if pattern and pattern in n)


def tests_of(patterns: Iterable[str], tests: dict[str, TestDecl]) -> tuple[str, ...]:
    """Tests that patterns mean, ``category:NAME`` those of that category; a demo test only by its exact name."""
    hits = (n for p in patterns for n in _meant(p, tests) if n == p or not tests[n].demo)
    return tuple(dict.fromkeys(hits))


def categories(tests: dict[str, TestDecl]) -> tuple[str, ...]:
    """The patterns that mean the tests of one category, of which there are some."""
    return tuple(dict.fromkeys(f"{CATEGORY}{test.category}" for test in tests.values() if test.category))


def _meant(pattern: str, tests: dict[str, TestDecl]) -> tuple[str, ...]:
    if not pattern.startswith(CATEGORY):
        return match(pattern, tests)
    chosen = match(pattern, categories(tests))
    return tuple(name for name, test in tests.items() if f"{CATEGORY}{test.category}" in chosen)


def canned_tests(pattern: str) -> tuple[str, ...]:
    """The canned scenarios of the catalogue that a pattern means."""
    entries = catalogue.entries()
    chosen = match(pattern.removeprefix(CATEGORY), {entry.category: None for entry in entries.values()})
    if pattern.startswith(CATEGORY):
        return tuple(entry.name for entry in entries.values() if entry.category in chosen)
    return match(pattern, entries)
