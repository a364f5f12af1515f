"""Reads ``bugs/NAME.yaml``: a scheduler bug, written down so that it is found again (docs/bugs.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.config.fields import Field, Table
from ktstr.config.include import read_sources
from ktstr.config.load import typed
from ktstr.config.model import Config, KernelDecl, SchedulerOp, TestDecl
from ktstr.config.patterns import match
from ktstr.config.problems import Problem, error, nearest_of
from ktstr.config.reader import NAME, NAME_RULE, Reader
from ktstr.config.select import DEFAULT_SCHEDULER
from ktstr.config.transform import without
from ktstr.config.typed import read_table
from ktstr.config.yaml_lines import DOCUMENT, Node
from ktstr.errors import InputError

FOLDER = "bugs"
FAULTY, MENDED = "faulty", "mended"  # what the two schedulers, or the two kernels, are called in the file
PAIR = (FAULTY, MENDED)
LONGEST_NAME = 48  # of 64 that a name may have: its schedulers and kernels are called by it

BUG: Table = {
    "about": Field("text", "what went wrong, in a sentence or two", required=True),
    "mended_in": Field("word", "the version that no longer has the bug", required=True),
    "reason": Field("regex", "a regular expression that the faulty version's reasons must match", required=True),
    "scheduler": Field("word", "what both kernels run, of the schedulers here; without it, eevdf"),
    "takes": Field("text", "how long it takes for the first time, and what is built, where that is long"),
}


@dataclass(frozen=True)
class Version:
    """One of a bug's two versions: what runs on what. ``kernel``: None where both run on the same."""

    scheduler: str
    kernel: str | None = None


@dataclass(frozen=True)
class Bug:
    """A bug by its file's name. ``config``: its one test, called as the bug is, and its schedulers and kernels, whose
    names begin with the bug's where they are its versions; its kernels are the project's where it declares none."""

    name: str
    about: str
    mended_in: str
    reason: str
    config: Config
    faulty: Version
    mended: Version
    takes: str | None = None

    @property
    def by_kernel(self) -> bool:
        """Whether its versions are kernels."""
        return self.faulty.kernel is not None


def _own(bug: str, name: str) -> str:
    return f"{bug}.{name}"


def bug_files(root: Path) -> dict[str, Path]:
    """The files of a project's ``bugs/`` by the names of the bugs, in order of these. Raises InputError without any."""
    folder = root / FOLDER
    files = {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
    if not files:
        what = "no file NAME.yaml in it" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: found {what}, expected bugs, each in a file", fix="docs/bugs.md has an example")
    return files


def chosen(files: dict[str, Path], patterns: Iterable[str]) -> dict[str, Path]:
    """The files of the bugs that the patterns mean, all without one. Raises InputError for one that means none."""
    wanted: dict[str, None] = {}
    for pattern in patterns:
        met = match(pattern, files)
        if not met:
            hint = nearest_of(pattern, files)
            raise InputError(
                f"name={pattern}: found no bug of that name, expected a bug, a glob or a part of one"
                + (f", nearest match {hint!r}" if hint else ""),
                fix=f"there are: {', '.join(files)}",
            )
        wanted.update(dict.fromkeys(met))
    return {name: path for name, path in files.items() if name in wanted} if wanted else files


def read_bug(path: Path) -> Bug:
    """The bug in a file. Raises InputError naming every problem with its place, HostError when it cannot be read."""
    sources = read_sources(path)
    r = Reader(path.name, path.absolute().parent)
    if not NAME.fullmatch(path.stem) or len(path.stem) > LONGEST_NAME:
        expected = f"{NAME_RULE}, at most {LONGEST_NAME} of them for a bug"
        r.problem(Problem(1, 1, DOCUMENT, f"a file called {path.stem!r}", expected))
    values = read_table(r, _part(sources.root, own=True), "", BUG)
    if r.problems:
        raise error(path.name, r.problems)
    root = _part(sources.root, own=False)
    config = typed(replace(sources, root=root))
    _check(r, root, config)
    scheduler = values.pop("scheduler", None)
    _check_scheduler(r, sources.root, config, scheduler)
    if r.problems:
        raise error(path.name, r.problems)
    faulty, mended = (_version(config, path.stem, name, scheduler) for name in PAIR)
    return Bug(path.stem, config=_renamed(config, path.stem), faulty=faulty, mended=mended, **values)


def _version(config: Config, bug: str, name: str, scheduler: str | None) -> Version:
    runs = _own(bug, name) if FAULTY in config.schedulers else scheduler or DEFAULT_SCHEDULER
    return Version(runs, _own(bug, name) if FAULTY in config.kernels else None)


def _part(root: Node, *, own: bool) -> Node:
    """The fields of a bug's own, or the declarations that a ktstr.yaml has too."""
    if not isinstance(root.value, dict):
        return root
    return without(root, *(key for key in root.value if (key in BUG) != own))


def _check(r: Reader, root: Node, config: Config) -> None:
    """Record what makes it no bug: other than one test, a version that is missing, matrices, a comparison."""
    assert isinstance(root.value, dict)
    top = root.value
    if len(config.tests) != 1:
        what = f"{len(config.tests)} of them"
        r.wrong(top.get("tests", root), "tests", "one test, that tells the two versions apart", what=what)
    _check_pairs(r, root, config)
    if config.matrices:
        r.wrong_key(root, "matrices", "matrices", "no matrices: the test runs under both schedulers")
    for name, test in config.tests.items():
        if test.compare:
            what = "compare"
            r.wrong(top["tests"], f"tests.{name}.compare", "no comparison: each version is judged by itself", what=what)


def _check_pairs(r: Reader, root: Node, config: Config) -> None:
    """Versions come in pairs: two schedulers, or two kernels, which are then all that there are; or both."""
    assert isinstance(root.value, dict)
    declared = {"schedulers": tuple(config.schedulers), "kernels": tuple(config.kernels)}
    halves = {key: names for key, names in declared.items() if set(PAIR) & set(names)} or {
        "schedulers": declared["schedulers"]
    }
    for key, names in halves.items():
        for name in PAIR:
            if name not in names:
                what = f"a {key[:-1]} {name}" + ("" if key in root.value else ", or a kernel of that name")
                hint = nearest_of(name, names)
                r.wrong(root.value.get(key, root), f"{key}.{name}", what, hint, "nothing")
    more = [name for name in declared["kernels"] if name not in PAIR]
    if "kernels" in halves and more:
        r.wrong_key(root.value["kernels"], more[0], "kernels", f"no kernel beside {FAULTY} and {MENDED}")


def _check_scheduler(r: Reader, root: Node, config: Config, name: str | None) -> None:
    """What both kernels run has to be one scheduler that there is."""
    if name is None:
        return
    assert isinstance(root.value, dict)
    if FAULTY in config.schedulers:
        r.wrong_key(root, "scheduler", "scheduler", f"none beside schedulers.{FAULTY}, which is run")
    elif name not in config.schedulers:
        r.unknown(root.value["scheduler"], "scheduler", "one of the schedulers", config.schedulers)


def _renamed(config: Config, bug: str) -> Config:
    """With names that no other bug has, for all of them may run at once."""
    names = {name: _own(bug, name) if name in PAIR else name for name in config.schedulers}
    schedulers = {names[name]: replace(decl, name=names[name]) for name, decl in config.schedulers.items()}
    (test,) = config.tests.values()
    kernels = _kernels(config.kernels, bug)
    return replace(config, schedulers=schedulers, tests={bug: _test(test, bug, names)}, kernels=kernels)


def _kernels(declared: dict[str, KernelDecl], bug: str) -> dict[str, KernelDecl]:
    """The two versions, else the first one, called as the bug is."""
    if FAULTY in declared:
        return {_own(bug, name): replace(declared[name], name=_own(bug, name)) for name in PAIR}
    first = next(iter(declared.values()), None)
    return {} if first is None else {bug: replace(first, name=bug)}


def _test(test: TestDecl, bug: str, names: dict[str, str]) -> TestDecl:
    def renamed(op: SchedulerOp) -> SchedulerOp:
        return op if op.scheduler is None else replace(op, scheduler=names[op.scheduler])

    return replace(test, name=bug, demo=False, scheduler_ops=tuple(map(renamed, test.scheduler_ops)))
