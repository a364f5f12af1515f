"""Schedulers that the user names without declaring them: ``tree:NAME``, and the path of a program.

Each gets the name of its program, or, where another declared one has that, a name from all of the word:
``target-release-scx_mine``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from ktstr.config.fields import NAME_PATTERN
from ktstr.config.model import Binary, Config, Discover, SchedulerDecl, SchedulerKind, Tree
from ktstr.config.schedulerdecl import user_path
from ktstr.errors import InputError

TREE = "tree:"
VARIABLE = "KTSTR_SCHEDULER"
_NAME = re.compile(NAME_PATTERN)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Named:
    """The declarations with what was named beside them, and the patterns that mean both."""

    config: Config
    patterns: tuple[str, ...]


def undeclared_words(words: Sequence[str]) -> tuple[str, ...]:
    """Those of the words that name a scheduler without a declaration."""
    return tuple(word for word in words if word.startswith(TREE) or "/" in word)


def with_undeclared(config: Config, words: Sequence[str], stand: Path, environ: Mapping[str, str]) -> Named:
    """``config`` with those of ``words`` declared that are no pattern; paths are relative to ``stand``.

    A path in KTSTR_SCHEDULER whose last part a declared ``discover:`` looks for means that one: it finds it there.
    Raises InputError for a word of ``tree:`` without a name.
    """
    schedulers = dict(config.schedulers)
    patterns = []
    for word in words:
        if not word.startswith(TREE) and "/" not in word:
            patterns.append(word)
        elif (found := _discovering(config, word, environ)) is not None:
            patterns.append(found)
        else:
            decl = _declaration(word, stand, schedulers)
            schedulers[decl.name] = decl
            patterns.append(decl.name)
    return Named(replace(config, schedulers=schedulers), tuple(dict.fromkeys(patterns)))


def _discovering(config: Config, word: str, environ: Mapping[str, str]) -> str | None:
    """The declared scheduler that looks for this path of the environment."""
    if word not in environ.get(VARIABLE, "").split(","):
        return None
    wanted = Path(word).name
    looking = (s.name for s in config.schedulers.values() if isinstance(s.kind, Discover) and s.kind.name == wanted)
    return next(looking, None)


def _declaration(word: str, stand: Path, schedulers: Mapping[str, SchedulerDecl]) -> SchedulerDecl:
    kind: SchedulerKind
    if word.startswith(TREE):
        kind = Tree(word.removeprefix(TREE))
        short, where = kind.name, f"scheduler={word}"
        if not _NAME.fullmatch(short):
            raise InputError(
                f"scheduler={word}: found {short!r}, expected the name of a scheduler in the kernel's tools/sched_ext",
                fix="scheduler=tree:scx_simple",
            )
    else:
        kind = Binary(user_path(word, stand))
        short, where = kind.path.name, f"scheduler={word}"
    name = next(name for name in _candidates(short, word) if _free(name, kind, schedulers))
    return schedulers.get(name) or SchedulerDecl(name, kind, where=where)


def _candidates(short: str, word: str) -> Iterator[str]:
    """The program's name, a name from all of the word, and then as many as it takes."""
    if _NAME.fullmatch(short):
        yield short
    whole = _UNSAFE.sub("-", word).strip("-.")[-60:].lstrip("-.") or "scheduler"
    yield whole
    yield from (f"{whole}-{number}" for number in count(2))


def _free(name: str, kind: SchedulerKind, schedulers: Mapping[str, SchedulerDecl]) -> bool:
    """Whether nothing else has the name: the same, named twice, is one."""
    known = schedulers.get(name)
    return known is None or known == SchedulerDecl(name, kind)
