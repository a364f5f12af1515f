"""What the user may ask for: frozen values, each field one ``name=value`` variable of the command line.

A command's options are a dataclass of such fields and of the groups below, which several commands share. They
are read once (``commands.declare.variables``) and handed down; a misspelt name is an error of the type checker.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNIT = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
RULES = ("ranks", "welch")
ACCELS = ("auto", "kvm", "icount", "tcg")
METADATA = "variable"


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """What a variable's text means. ``name`` is what help calls it; ``parse`` raises ValueError with what was
    expected. ``many``: commas and repeats make a list, and ``parse`` takes one item. ``choices``: the only values."""

    name: str
    parse: Callable[[str], object]
    many: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """One field's variable. ``rivals``: variables that say the same thing; one that is given on the command line
    silences the others' environment. ``environment``: whether it has an environment variable for its default."""

    kind: Kind[Any]
    help: str
    default: object
    rivals: tuple[str, ...] = ()
    environment: bool = True


def variable(kind: Kind[T], help: str, default: T, rivals: tuple[str, ...] = (), *, environment: bool = True) -> T:
    """A dataclass field that is a variable."""
    made: T = field(default=default, metadata={METADATA: Variable(kind, help, default, rivals, environment)})
    return made


def flag(text: str) -> bool:
    """``1``/``0`` and their usual spellings. Raises ValueError saying what was expected."""
    if text.lower() not in _FLAGS:
        raise ValueError("expected 1 or 0")
    return _FLAGS[text.lower()]


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


def percent(text: str) -> float:
    """A percentage of at least 0, with or without its sign."""
    m = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)%?", text, re.ASCII)
    if m is None:
        raise ValueError("expected a percentage of at least 0, such as 5 or 2.5")
    return float(m[1])


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


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``of`` slices, from 1."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"


def shard(text: str) -> Shard:
    """``i/n`` with 1 <= i <= n."""
    m = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if m is None or not 1 <= int(m[1]) <= int(m[2]):
        raise ValueError("expected i/n with 1 <= i <= n, such as 1/4")
    return Shard(int(m[1]), int(m[2]))


def accel(text: str) -> str:
    """What runs the guests."""
    if text not in ACCELS:
        raise ValueError("expected auto, kvm, icount or tcg")
    return text


def rule(text: str) -> str:
    """How two sides' runs are judged."""
    if text not in RULES:
        raise ValueError("expected ranks or welch")
    return text


def word(text: str) -> str:
    """Any text but the empty one."""
    if not text:
        raise ValueError("expected a value")
    return text


FLAG: Kind[bool] = Kind("flag", flag)
COUNT: Kind[int] = Kind("number", count)
COUNT_OR_NONE: Kind[int] = Kind("number", count_or_none)
PERCENT: Kind[float] = Kind("percent", percent)
SEED: Kind[int] = Kind("number", seed)
DURATION: Kind[float] = Kind("duration", seconds)
SHARD: Kind[Shard] = Kind("i/n", shard)
ACCEL: Kind[str] = Kind("word", accel, choices=ACCELS)
RULE: Kind[str] = Kind("word", rule, choices=RULES)
WORD: Kind[str] = Kind("word", word)
PATH: Kind[str] = Kind("path", word)
TEXT: Kind[str] = Kind("text", word)
LIST: Kind[tuple[str, ...]] = Kind("list", word, many=True)


@dataclass(frozen=True)
class Json:
    """Of a report that programs may read."""

    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True)
class Select:
    """Which cells: what narrows and widens the matrices of ktstr.yaml."""

    kernel: tuple[str, ...] = variable(
        LIST, "kernels: declared names, versions, ranges, paths, git+URL#REF, deb:..., debsrc:...", ()
    )
    test: tuple[str, ...] = variable(LIST, "tests, by glob or bare substring", ())
    preset: tuple[str, ...] = variable(LIST, "topologies, by glob or bare substring", ())
    scheduler: tuple[str, ...] = variable(LIST, "schedulers, by glob or bare substring", ())
    gauntlet: bool = variable(
        FLAG, "every topology that a test's constraints allow, or of those that preset= names", False
    )
    seed: int | None = variable(SEED, "one seed", None, rivals=("seeds",))
    seeds: tuple[str, ...] = variable(LIST, "seeds, such as 1..20 or 3,7; 0 perturbs nothing", (), rivals=("seed",))
    keep: tuple[str, ...] = variable(
        LIST, "of one seed's changes only these, by number, or none; doit explore finds them", (), environment=False
    )
    work_type: str | None = variable(WORD, "what workers do that are declared with swappable: true", None)
    accel: str = variable(ACCEL, "auto, kvm, icount (reproducible) or tcg (emulated, a thread per vCPU)", "auto")


@dataclass(frozen=True)
class Building:
    """How kernels are built."""

    kconfig: tuple[str, ...] = variable(
        LIST, "how kernels are built: minimal, full or tree, then debug, rt, hz1000 or files", ()
    )
    CC: str | None = variable(WORD, "the compiler that builds kernels, as in make CC=", None)
    LLVM: str | None = variable(WORD, "build kernels with LLVM, as in make LLVM=1", None)
    cpu_cap: int | None = variable(COUNT, "build, and run guests on KVM, on at most this many CPUs", None)


@dataclass(frozen=True)
class Fetching:
    """What may be fetched."""

    offline: bool = variable(FLAG, "never touch the network", False)
    lock_update: tuple[str, ...] = variable(LIST, "refresh these entries of ktstr.lock (a name, or all)", ())


@dataclass(frozen=True)
class Running:
    """How cells are run."""

    jobs: int | None = variable(COUNT, "cells run at once; default: as many as there are CPUs", None)
    timeout: float = variable(DURATION, "wall-clock limit of one cell's machine", 900.0)
    cluster: str | None = variable(
        WORD, "run cells on a Dask cluster: its scheduler's address, local (one for this run), or none", None
    )
    no_perf_mode: bool = variable(FLAG, "skip the tests that ask for performance mode", False)
    no_clone: bool = variable(
        FLAG, "boot each cell's machine, rather than clone one that has booted and attached", False
    )
    rerun: bool = variable(FLAG, "run again even when a result is stored", False)
    vmcore: bool = variable(FLAG, "keep the memory of a guest that lost its scheduler, or of one that died", False)
    release: bool = variable(FLAG, "judge by the stricter limits of a release", False)
    no_skip: bool = variable(FLAG, "try what this host is too small for; exit 3 when every cell was skipped", False)


@dataclass(frozen=True)
class GraphOptions:
    """Of every task with kernels and cells in its graph."""

    select: Select = Select()
    building: Building = Building()
    running: Running = Running()
    fetching: Fetching = Fetching()


def decisive(options: GraphOptions) -> dict[str, str]:
    """The variables that decide what a cell is beside its name, as words; those that were not given are left out."""
    building, running = options.building, options.running
    given = {
        "work_type": options.select.work_type or "",
        "kconfig": ",".join(building.kconfig),
        "CC": building.CC or "",
        "LLVM": building.LLVM or "",
        "release": "1" if running.release else "",
        "no_clone": "1" if running.no_clone else "",
    }
    return {name: value for name, value in given.items() if value}


@dataclass(frozen=True)
class Testing:
    """Which of the selected cells, and what is said of them."""

    dry_run: bool = variable(FLAG, "show each cell and why it would run; run nothing", False)
    failed: bool = variable(FLAG, "only the cells that did not pass last time", False)
    maxfail: int | None = variable(COUNT, "start no more cells after this many failed", None)
    shard: Shard | None = variable(SHARD, "only the i-th of n slices of the cells", None)
    budget_secs: float | None = variable(DURATION, "of the cells, those that cover most in so many seconds", None)
    junit: str | None = variable(PATH, "also write a JUnit XML file", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    verbose: bool = variable(FLAG, "show each cell's reasons and commands, passed ones too", False)
    bisect: bool = variable(FLAG, "exit as git bisect run wants: 0 good, 1 bad, 125 untestable, 128 stop", False)
    allow_inconclusive: bool = variable(FLAG, "let Inconclusive cells exit 0", False)


@dataclass(frozen=True)
class TestOptions:
    """Of ``doit test``."""

    graph: GraphOptions = GraphOptions()
    testing: Testing = Testing()

    __test__ = False  # for pytest: no test class, whatever its name
