"""Reads ``bugs/NAME.yaml``: a scheduler bug, written down so that it is found again (docs/bugs.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.config.fields import Field, Table
from ktstr.config.include import read_sources
from ktstr.config.load import typed
from ktstr.config.model import Config, SchedulerOp, TestDecl
from ktstr.config.problems import Problem, error, nearest_of
from ktstr.config.reader import NAME, NAME_RULE, Reader
from ktstr.config.select import match
from ktstr.config.transform import without
from ktstr.config.typed import read_table
from ktstr.config.yaml_lines import DOCUMENT, Node
from ktstr.errors import InputError

FOLDER = "bugs"
FAULTY, MENDED = "faulty", "mended"  # what the two schedulers are called in the file
LONGEST_NAME = 48  # of 64 that a name may have: its schedulers are called by it

BUG: Table = {
    "about": Field("text", "what went wrong, in a sentence or two", required=True),
    "mended_in": Field("word", "the version that no longer has the bug", required=True),
    "reason": Field("regex", "a regular expression that the faulty version's reasons must match", required=True),
}


@dataclass(frozen=True)
class Bug:
    """A bug by its file's name. ``config``: its one test, called as the bug is, and its schedulers, whose names begin
    with the bug's; its kernels are those of the project where it declares none."""

    name: str
    about: str
    mended_in: str
    reason: str
    config: Config

    @property
    def faulty(self) -> str:
        return _own(self.name, FAULTY)

    @property
    def mended(self) -> str:
        return _own(self.name, MENDED)


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
    if r.problems:
        raise error(path.name, r.problems)
    return Bug(path.stem, config=_renamed(config, path.stem), **values)


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
    for name in (FAULTY, MENDED):
        if name not in config.schedulers:
            hint = nearest_of(name, config.schedulers)
            r.wrong(top.get("schedulers", root), f"schedulers.{name}", f"a scheduler {name}", hint, "nothing")
    if config.matrices:
        r.wrong_key(root, "matrices", "matrices", "no matrices: the test runs under both schedulers")
    for name, test in config.tests.items():
        if test.compare:
            what = "compare"
            r.wrong(top["tests"], f"tests.{name}.compare", "no comparison: each version is judged by itself", what=what)


def _renamed(config: Config, bug: str) -> Config:
    """With names that no other bug has, for all of them may run at once."""
    names = {name: _own(bug, name) if name in (FAULTY, MENDED) else name for name in config.schedulers}
    schedulers = {names[name]: replace(decl, name=names[name]) for name, decl in config.schedulers.items()}
    (test,) = config.tests.values()
    first = next(iter(config.kernels.values()), None)
    kernels = {} if first is None else {bug: replace(first, name=bug)}
    return replace(config, schedulers=schedulers, tests={bug: _test(test, bug, names)}, kernels=kernels)


def _test(test: TestDecl, bug: str, names: dict[str, str]) -> TestDecl:
    def renamed(op: SchedulerOp) -> SchedulerOp:
        return op if op.scheduler is None else replace(op, scheduler=names[op.scheduler])

    return replace(test, name=bug, demo=False, scheduler_ops=tuple(map(renamed, test.scheduler_ops)))
