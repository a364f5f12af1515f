"""``name=value`` inputs: one table, from which parsing, errors and ``doit help TASK`` are made.

The command line wins over the ``KTSTR_<NAME>`` environment variable, which wins over the
default. List variables take commas and repeats; a scalar given twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ktstr.config.suggest import nearest
from ktstr.errors import InputError

Value: TypeAlias = bool | int | float | str | tuple[str, ...] | tuple[int, ...] | None

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def flag(text: str) -> bool:
    """``1``/``0`` and their usual spellings. Raises ValueError saying what was expected."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("expected 1 or 0")
    return known[text.lower()]


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1 or len(text) > 9:
        raise ValueError("expected a whole number of at least 1")
    return int(text)


def count_or_none(text: str) -> int:
    """A whole number, 0 included."""
    if not text.isdecimal() or len(text) > 9:
        raise ValueError("expected a whole number")
    return int(text)


def seed(text: str) -> int:
    """A seed: a whole number below 2**64."""
    if not text.isdecimal() or int(text) >= 1 << 64:
        raise ValueError("expected a whole number from 0 to 18446744073709551615")
    return int(text)


def seconds(text: str) -> float:
    """A duration such as ``90``, ``90s``, ``2m``, in seconds."""
    m = _SECONDS.fullmatch(text)
    if m is None or float(m[1]) <= 0:
        raise ValueError("expected a duration such as 90s or 2m")
    return float(m[1]) * _UNIT[m[2]]


def shard(text: str) -> str:
    """``i/n`` with 1 <= i <= n."""
    m = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if m is None or not 1 <= int(m[1]) <= int(m[2]):
        raise ValueError("expected i/n with 1 <= i <= n, such as 1/4")
    return text


def accel(text: str) -> str:
    """One of the machine back ends."""
    known = ("auto", "kvm", "icount", "tcg")
    if text not in known:
        hint = nearest(text, known)
        raise ValueError("expected auto, kvm, icount or tcg" + (f"; nearest: {hint}" if hint else ""))
    return text


def word(text: str) -> str:
    """Any text but the empty one."""
    if not text:
        raise ValueError("expected a value")
    return text


@dataclass(frozen=True)
class Variable:
    """One input. ``many`` takes commas and repeats; ``parse`` raises ValueError with what was expected."""

    name: str
    parse: Callable[[str], Value]
    kind: str
    help: str
    default: Value = None
    many: bool = False

    @property
    def env(self) -> str:
        return f"KTSTR_{self.name.upper()}"


def _v(name: str, parse: Callable[[str], Value], kind: str, help: str, default: Value = None) -> Variable:
    return Variable(name, parse, kind, help, default)


def _many(name: str, kind: str, help: str) -> Variable:
    return Variable(name, word, kind, help, (), many=True)


VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        _many(
            "kernel",
            "list",
            "kernels: declared names, versions, ranges, paths, git+URL#REF, deb:..., debsrc:...",
        ),
        _many("kconfig", "list", "how kernels are built: minimal, full or tree, then debug, rt, hz1000 or files"),
        _v("CC", word, "word", "the compiler that builds kernels, as in make CC="),
        _v("LLVM", word, "word", "build kernels with LLVM, as in make LLVM=1"),
        _many("test", "list", "tests, by glob or bare substring"),
        _many("preset", "list", "topologies, by glob or bare substring"),
        _many("scheduler", "list", "schedulers, by glob or bare substring"),
        Variable("seeds", word, "list", "seeds, such as 1..20 or 3,7; 0 perturbs nothing", (), many=True),
        _v("seed", seed, "number", "one seed"),
        _v("accel", accel, "word", "auto, kvm, icount (reproducible) or tcg (emulated, a thread per vCPU)", "auto"),
        _v("no_perf_mode", flag, "flag", "skip the tests that ask for performance mode", False),
        _v("no_clone", flag, "flag", "boot every cell's machine on KVM, rather than clone one that has booted", False),
        _v("jobs", count, "number", "cells run at once; default: this host's CPUs"),
        _v("timeout", seconds, "duration", "wall-clock limit of one cell's machine", 900.0),
        _v("dry_run", flag, "flag", "show each cell and why it would run; run nothing", False),
        _v("failed", flag, "flag", "only the cells that did not pass last time", False),
        _v("rerun", flag, "flag", "run again even when a result is stored", False),
        _v("maxfail", count, "number", "start no more cells after this many failed"),
        _v("shard", shard, "i/n", "only the i-th of n slices of the cells"),
        _v("junit", word, "path", "also write a JUnit XML file"),
        _v("json", flag, "flag", "print one JSON object instead of text", False),
        _v("verbose", flag, "flag", "show each cell's reasons and commands, passed ones too", False),
        _v("bisect", flag, "flag", "exit as git bisect run wants: 0 good, 1 bad, 125 untestable, 128 stop", False),
        _v("no_skip", flag, "flag", "exit 3 when every cell was skipped", False),
        _v("allow_inconclusive", flag, "flag", "let Inconclusive cells exit 0", False),
        _v("offline", flag, "flag", "never touch the network", False),
        Variable("lock_update", word, "list", "refresh these entries of ktstr.lock (a name, or all)", (), many=True),
        _v(
            "version",
            word,
            "version",
            "the release to build: 6.14.2, 6.14, 6.15-rc3, a range; default: stable",
        ),
        _v("source", word, "path", "the kernel tree to build"),
        _v("git", word, "url", "the repository to build from, with ref="),
        _v("ref", word, "ref", "its branch, tag or commit"),
        _v("force", flag, "flag", "do it without asking; for a build: again, even when it is in the cache", False),
        _v("clean", flag, "flag", "throw the objects of earlier builds away first", False),
        _v("cpu_cap", count, "number", "build, and run guests on KVM, on at most this many CPUs"),
        _v("keep", count_or_none, "number", "keep this many of the newest kernels"),
        _v("corrupt_only", flag, "flag", "remove only what is damaged or unfinished", False),
        _v("range", word, "range", "print the releases that A..B stands for, and nothing else"),
        _v("command", word, "text", "what to run in the lab, as sh -c would"),
        _v("watch", seconds, "duration", "show it again and again, this far apart, until interrupted"),
        _v("slow", flag, "flag", "add the long sweeps", False),
    )
}

SELECTION = ("kernel", "test", "preset", "scheduler", "seed", "seeds", "accel")
BUILDING = ("kconfig", "CC", "LLVM")
RUNNING = (
    *BUILDING, "jobs", "timeout", "cpu_cap", "no_perf_mode", "no_clone", "rerun", "offline", "lock_update",
)  # fmt: skip
TESTING = (
    "dry_run",
    "failed",
    "maxfail",
    "shard",
    "junit",
    "json",
    "verbose",
    "no_skip",
    "bisect",
    "allow_inconclusive",
)


def _unknown(name: str, allowed: Sequence[str], tasks: str) -> InputError:
    if name in VARIABLES:
        return InputError(f"{name}=: the task {tasks} takes no variable {name!r}", fix=f"doit help {tasks.split()[0]}")
    hint = nearest(name, allowed) or nearest(name, tuple(VARIABLES))
    nearest_text = f", nearest match {hint!r}" if hint else ""
    return InputError(
        f"{name}=: found an unknown variable {name!r}, expected one of the variables of {tasks}{nearest_text}",
        fix=f"doit help {tasks.split()[0]}",
    )


def _parse_one(var: Variable, text: str, origin: str) -> Value:
    try:
        return var.parse(text)
    except ValueError as err:
        raise InputError(f"{origin}: found {text!r}, {err}", fix=f"{var.name}= {var.help}") from None


def _parse(var: Variable, given: Sequence[str], origin: str) -> Value:
    if var.many:
        items = tuple(part.strip() for text in given for part in text.split(","))
        for item in items:
            _parse_one(var, item, origin)
        return items
    if len(given) > 1:
        raise InputError(f"{origin}: given {len(given)} times ({', '.join(given)}), expected once")
    return _parse_one(var, given[0], origin)


def _without_rivals(given: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> Mapping[str, str]:
    """``seed`` and ``seeds`` say the same thing: one on the command line silences the other's environment."""
    silenced = {VARIABLES[b].env for a, b in (("seed", "seeds"), ("seeds", "seed")) if a in given}
    return {name: value for name, value in environ.items() if name not in silenced}


def read_variables(
    given: Mapping[str, Sequence[str]], allowed: Sequence[str], tasks: str, environ: Mapping[str, str]
) -> dict[str, Value]:
    """Values of every allowed variable. Raises InputError for an unknown variable or a bad value."""
    for name in given:
        if name not in allowed:
            raise _unknown(name, allowed, tasks)
    values: dict[str, Value] = {}
    environ = _without_rivals(given, environ)
    for name in allowed:
        var = VARIABLES[name]
        if name in given:
            values[name] = _parse(var, given[name], f"{name}=")
        elif environ.get(var.env, "").strip():
            values[name] = _parse(var, [environ[var.env].strip()], var.env)
        else:
            values[name] = var.default
    return values
