"""The plans that run cells again which did not pass: exactly those, with their seeds and as they were asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from ktstr.config.model import CellKey, Config
from ktstr.config.override import with_work_type
from ktstr.config.patterns import match
from ktstr.config.select import unfit, unwanted
from ktstr.config.suggest import nearest
from ktstr.config.undeclared import TREE, with_undeclared
from ktstr.config.validated import load_config
from ktstr.errors import InputError
from ktstr.kernels.labels import label_of
from ktstr.kernels.spec import parse_spec
from ktstr.options import GraphOptions, Select
from ktstr.planning.narrow import NO_PERFORMANCE
from ktstr.planning.plan import Plan, make_plan, seeds_of
from ktstr.planning.request import Narrowing, Request
from ktstr.record.failed import FailedCell
from ktstr.results.store import REAL_TIME


@dataclass(frozen=True)
class Dropped:
    """A cell that is there no more, and why."""

    cell: FailedCell
    reason: str


@dataclass(frozen=True)
class Group:
    """The cells that are run under the same options, and their plan. ``times``: how often each runs."""

    cells: tuple[FailedCell, ...]
    plan: Plan
    times: int = 1


@dataclass(frozen=True)
class Replay:
    """All of one replay; the steps of every plan are in that of the last."""

    groups: tuple[Group, ...]
    dropped: tuple[Dropped, ...]


def chosen(cells: Iterable[FailedCell], select: Select) -> tuple[FailedCell, ...]:
    """The cells that the usual variables mean. Raises InputError when there are some and they mean none."""
    every = tuple(cells)
    left = [cell for cell in every if select.accel in ("auto", cell.accel)]
    for field, patterns, names in _patterns(select, every):
        meant = {name for pattern in patterns for name in match(pattern, names)}
        left = [cell for cell in left if not patterns or not meant.isdisjoint(_names(cell, field))]
    seeds = _seeds(select)
    left = [cell for cell in left if not seeds or cell.seed in seeds]
    if every and not left:
        raise InputError(
            f"nothing was selected: the selection leaves none of {len(every)} cells that did not pass",
            fix="doit replay dry_run=1 without a selection, and without KTSTR_ variables for one",
        )
    return tuple(left)


def _patterns(select: Select, cells: Sequence[FailedCell]) -> Iterable[tuple[str, Sequence[str], Collection[str]]]:
    programs = [word.removeprefix(TREE).rpartition("/")[2] for word in select.scheduler]
    given = {"test": select.test, "preset": select.preset, "kernel": select.kernel, "scheduler": programs}
    for field, patterns in given.items():
        yield field, patterns, {name for cell in cells for name in _names(cell, field)}


def _names(cell: FailedCell, field: str) -> tuple[str, ...]:
    return (cell.kernel, cell.label) if field == "kernel" else (str(getattr(cell, field)),)


def _seeds(select: Select) -> frozenset[int]:
    if select.seed is not None:
        return frozenset({select.seed})
    return frozenset(seeds_of(select))


def spelled(cells: Iterable[FailedCell], words: Sequence[str], stand: Path) -> list[FailedCell]:
    """The cells with kernels that only a sidecar named, by its label, spelled as ``kernel=`` has them."""
    specs: dict[str, str] = {}
    for word in words:
        with suppress(InputError):
            spec = parse_spec(word, stand)
            specs[label_of(spec)] = str(spec)
    return [structs.replace(cell, kernel=specs.get(cell.label, cell.kernel)) for cell in cells]


def plan_replay(request: Request, cells: Iterable[FailedCell], times: int) -> Replay:
    """A plan for each way in which cells were asked for. ``times``: of those that run in real time, since counted
    instructions repeat exactly. Raises as ``make_plan``."""
    ways: dict[tuple[str, ...], list[FailedCell]] = {}
    for cell in cells:
        ways.setdefault(cell.key(), []).append(cell)
    groups: list[Group] = []
    dropped: list[Dropped] = []
    for members in ways.values():
        own = replace(request, options=_options(request.options, members[0]))
        reasons = _reasons(own, members)
        dropped += [Dropped(cell, why) for cell in members if (why := reasons[cell.name]) is not None]
        left = tuple(cell for cell in members if reasons[cell.name] is None)
        if not left:
            continue
        narrowing = Narrowing(keys=tuple(map(_key, left)))
        plan = make_plan(replace(own, narrowing=narrowing), groups[-1].plan if groups else None)
        groups.append(Group(left, plan, times if left[0].accel in REAL_TIME else 1))
    return Replay(tuple(groups), tuple(dropped))


def _key(cell: FailedCell) -> CellKey:
    return CellKey(cell.test, cell.preset, cell.kernel, cell.scheduler, cell.seed)


def _options(options: GraphOptions, cell: FailedCell) -> GraphOptions:
    """As the cell was asked for, but for what is asked for now. In real time a stored result says nothing new."""
    asked, building, running = cell.asked, options.building, options.running
    now = tuple(word for word in options.select.scheduler if word.startswith(TREE) or "/" in word)
    return replace(
        options,
        select=Select(
            scheduler=_words(asked, "scheduler") or now,
            work_type=options.select.work_type or asked.get("work_type"),
            accel=cell.accel,
        ),
        building=replace(
            building,
            kconfig=building.kconfig or _words(asked, "kconfig"),
            CC=building.CC or asked.get("CC"),
            LLVM=building.LLVM or asked.get("LLVM"),
        ),
        running=replace(
            running,
            rerun=running.rerun or cell.accel in REAL_TIME,
            release=running.release or "release" in asked,
            no_clone=running.no_clone or "no_clone" in asked,
        ),
    )


def _words(asked: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(asked[name].split(",")) if name in asked else ()


def _reasons(request: Request, cells: Iterable[FailedCell]) -> dict[str, str | None]:
    """By cell name why it is there no more; None for one that is."""
    select = request.options.select
    declared = with_work_type(load_config(request.project), select.work_type)
    config = with_undeclared(declared, select.scheduler, request.project.stand, request.environ).config
    return {cell.name: _gone(config, request, cell) for cell in cells}


def _gone(config: Config, request: Request, cell: FailedCell) -> str | None:
    for what, name, names in (
        ("test", cell.test, config.tests),
        ("preset", cell.preset, config.presets),
        ("scheduler", cell.scheduler, config.schedulers),
    ):
        if name not in names:
            return _undeclared(what, name, names)
    if not _is_known_kernel(config, request, cell):
        return _undeclared("kernel", cell.kernel or cell.label, config.kernels)
    test = config.tests[cell.test]
    if test.performance_mode and request.options.running.no_perf_mode:
        return NO_PERFORMANCE
    return unfit(test, config.presets[cell.preset]) or unwanted(config, _key(cell))


def _undeclared(what: str, name: str, names: Iterable[str]) -> str:
    hint = nearest(name, names)
    return f"the {what} {name} is no longer declared" + (f", nearest match {hint!r}" if hint else "")


def _is_known_kernel(config: Config, request: Request, cell: FailedCell) -> bool:
    """Whether the word still means a kernel of that label: a name that is no longer declared may be a spec too."""
    if cell.kernel in config.kernels:
        return True
    try:
        return label_of(parse_spec(cell.kernel, request.project.stand)) == cell.label
    except InputError:
        return False
