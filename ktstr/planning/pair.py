"""The plans of two commits that are compared: the same cells of both, planned by one harness, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ktstr.config.model import Binary, CellKey, Config, Source
from ktstr.config.patterns import tests_of
from ktstr.config.project import Project
from ktstr.config.select import Selection, expand
from ktstr.config.validated import load_config
from ktstr.errors import InputError
from ktstr.options import GraphOptions
from ktstr.planning.plan import Plan, make_plan
from ktstr.planning.points import CellPlan
from ktstr.planning.request import Request
from ktstr.results.baseline import Sides
from ktstr.results.view import VERBATIM

BASE, HEAD = "base", "head"
DOCUMENTS = (".md", ".rst", ".txt")  # files that no cell is made of
_DOCUMENT_FOLDERS = ("docs/", "Documentation/")


@dataclass(frozen=True)
class Couple:
    """One cell, as both commits have it."""

    base: CellPlan
    head: CellPlan

    @property
    def is_same(self) -> bool:
        """Whether nothing that it depends on differs: its result is one, and need not be had twice."""
        return self.base.input_digest == self.head.input_digest

    @property
    def scenario(self) -> str:
        """What its seeds have in common: ``test/preset/kernel/scheduler``."""
        return _scenario(self.head)


@dataclass(frozen=True)
class Pair:
    """Two plans whose steps are in ``head``'s, and the cells that are on both sides; ``new`` and ``removed``: the
    scenarios that only HEAD, or only the baseline, has."""

    base: Plan
    head: Plan
    couples: tuple[Couple, ...]
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @cached_property
    def differing(self) -> tuple[Couple, ...]:
        """The cells that have to be run on both sides."""
        return tuple(couple for couple in self.couples if not couple.is_same)


@dataclass(frozen=True)
class Trees:
    """Where the two commits' files are: the folders that hold ktstr.yaml."""

    base: Path
    head: Path


def perf_set(config: Config, accel: str) -> tuple[str, ...]:
    """The tests whose performance is compared: those that declare ``perf_delta:``, and on KVM those in performance
    mode too."""
    return tuple(
        name for name, test in config.tests.items() if test.perf_delta or (accel == "kvm" and test.performance_mode)
    )


def chosen_tests(config: Config, accel: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Those of the perf set that ``test=`` means; all of them without it."""
    names = perf_set(config, accel)
    if not patterns:
        return names
    meant = tests_of(patterns, config.tests)
    if not meant:
        raise InputError(f"test={','.join(patterns)}: found no such test", fix=f"the perf set: {', '.join(names)}")
    return tuple(name for name in names if name in meant)


def relevant_schedulers(config: Config, root: Path, workdir: Path, changed: Iterable[str]) -> tuple[str, ...] | None:
    """The schedulers that a change is about: those whose sources alone it touches, none for one of documents only.

    None where it may be about anything, as one is of a scheduler that takes others' places. ``changed``: paths relative
    to the repository at ``workdir``.
    """
    folders = {
        name: scheduler.kind.folder
        for name, scheduler in config.schedulers.items()
        if isinstance(scheduler.kind, Source)
    }
    replacements = {name for test in config.tests.values() for name in test.replacements}
    touched: dict[str, None] = {}
    for name in changed:
        path = workdir / name
        if path.suffix in DOCUMENTS or name.startswith(_DOCUMENT_FOLDERS):
            continue
        owners = [scheduler for scheduler, folder in folders.items() if path.is_relative_to(folder)]
        if not owners or not replacements.isdisjoint(owners):
            return None
        touched.update(dict.fromkeys(owners))
    return tuple(touched)


def refuse_untracked(config: Config, tree: Path, tracked: frozenset[str], schedulers: Iterable[str]) -> None:
    """Raise InputError for a ``path:`` scheduler that is no file of the commit: it would be the same on both sides, or
    whatever was built last. ``tree``: where the commit's files are; ``tracked``: their paths in it."""
    for name in schedulers:
        declared = config.schedulers[name]
        if not isinstance(declared.kind, Binary):
            continue
        path = declared.kind.path
        inside = path.is_relative_to(tree) and str(path.relative_to(tree)) in tracked
        if not inside:
            raise InputError(
                f"{declared.where or name}: scheduler {name}: path: {path} is not tracked by git, so no commit has it",
                fix="declare source: or crate:, so that each commit's own is built",
            )


def programs_of(config: Config, selection: Selection) -> tuple[str, ...]:
    """The ``path:`` schedulers of the cells that a selection means, those that take another's place among them."""
    cells = expand(config, selection).cells
    names = dict.fromkeys(name for key in cells for name in (key.scheduler, *config.tests[key.test].replacements))
    return tuple(name for name in names if isinstance(config.schedulers[name].kind, Binary))


def side_request(request: Request, sides: Sides, tree: Path, side: str) -> Request:
    """The request for one side's plan: in its own tree, under its own commit's name."""
    project, label = request.project, (sides.base if side == BASE else sides.head).label
    inside = project.root.resolve().relative_to(sides.workdir.resolve())
    own = Project(tree / inside, project.stand, project.runs_root)
    kept = {name: value for name, value in request.environ.items() if name != VERBATIM}  # one folder for both sides
    return replace(request, project=own, environ={**kept, "KTSTR_PROJECT_COMMIT": label}, side=side)


def plan_pair(base: Request, head: Request) -> Pair:
    """Both plans, of the same selection. Raises as ``make_plan``, saying of the baseline that it is that."""
    try:
        base_plan = make_plan(_existing(base))
    except InputError as err:
        raise InputError(f"the baseline: {err.message}", fix=err.fix) from err
    return pair(base_plan, make_plan(head, beside=base_plan))


def _existing(request: Request) -> Request:
    """The request without tests that this side does not declare. Raises InputError when none is left."""
    config = load_config(request.project)
    select = request.options.select
    tests = tuple(name for name in select.test if name in config.tests)
    if not tests:
        raise InputError(f"{request.project.config}: it declares none of {', '.join(select.test)}")
    return replace(request, options=replace(request.options, select=replace(select, test=tests)))


def pair(base: Plan, head: Plan) -> Pair:
    """What the two have in common, in HEAD's order."""
    known = {_identity(cell): cell for cell in base.cells}
    couples = tuple(Couple(known[_identity(cell)], cell) for cell in head.cells if _identity(cell) in known)
    in_base, in_head = _scenarios(base), _scenarios(head)
    return Pair(
        base,
        head,
        couples,
        new=tuple(name for name in in_head if name not in in_base),
        removed=tuple(name for name in in_base if name not in in_head),
    )


def _identity(cell: CellPlan) -> tuple[CellKey, str]:
    return cell.key, cell.point.accel


def _scenarios(plan: Plan) -> dict[str, None]:
    return dict.fromkeys(map(_scenario, plan.cells))


def _scenario(cell: CellPlan) -> str:
    return f"{cell.key.test}/{cell.key.preset}/{cell.point.kernel.label}/{cell.key.scheduler}"


def interleaved(couples: Sequence[Couple]) -> Iterator[tuple[CellPlan, CellPlan]]:
    """The cells of both sides in turn, each with the other side's: A B B A, so that whatever drifts on the host weighs
    on both alike. Scenarios whose machines are the same stay together.
    """
    groups: dict[tuple[str, str, str], list[Couple]] = {}
    for couple in couples:
        key = couple.head.key
        groups.setdefault((key.kernel, key.preset, key.scheduler), []).append(couple)
    for group in groups.values():
        seeds = sorted({couple.head.key.seed for couple in group})
        places = {seed: place for place, seed in enumerate(seeds)}
        for couple in sorted(group, key=lambda couple: places[couple.head.key.seed]):
            both = ((couple.base, couple.head), (couple.head, couple.base))
            yield from both if places[couple.head.key.seed] % 2 == 0 else reversed(both)


def options_of(options: GraphOptions, tests: Sequence[str], schedulers: Sequence[str], samples: int) -> GraphOptions:
    """The options for a plan of these tests under these schedulers (empty: as declared), seeds 1 to ``samples``."""
    select = replace(
        options.select,
        test=tuple(tests),
        scheduler=options.select.scheduler or tuple(schedulers),
        seed=None,
        seeds=(f"1..{samples}",),
    )
    return replace(options, select=select)
