"""From ktstr.yaml and the options to build steps and cells, before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ktstr.config.keep import parse_keep
from ktstr.config.model import CellKey, Config
from ktstr.config.override import with_work_type
from ktstr.config.patterns import match
from ktstr.config.select import Expansion, Selection, Skip, expand, parse_seeds
from ktstr.config.undeclared import Named, with_undeclared
from ktstr.config.validated import load_config
from ktstr.errors import InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.options import Select
from ktstr.planning.images import Images
from ktstr.planning.kernel import Archive
from ktstr.planning.kernels import Kernels
from ktstr.planning.machines import ChosenMachine, choose_machine
from ktstr.planning.narrow import within_budget, without_oversized, without_performance
from ktstr.planning.pins import Pins, project_pins
from ktstr.planning.points import Broken, CellMaker, CellPlan, Judged, ParkedPlan, SkipPlan, Supplies, cell_name
from ktstr.planning.request import Request
from ktstr.planning.steps import Steps, closure
from ktstr.planning.tools import ToolSteps
from ktstr.results.commit import project_commit
from ktstr.results.judged import FILE, read_rows, sources_digest
from ktstr.results.last import failed_names
from ktstr.results.names import leaf_name, run_source
from ktstr.tools.pinned import RECIPES
from ktstr.vm.machine import Machine

if TYPE_CHECKING:
    from ktstr.planning.shards import Sliced

T = TypeVar("T")
PERF = "perf"  # what run directories of two commits that are compared begin with


@dataclass(frozen=True)
class Plan:
    """All of one invocation: cells, skipped points, cells that cannot be planned here, and build steps.

    ``machine`` runs the guests, None where there are no cells; ``accel_reason``: why ``accel=auto`` chose it;
    ``machine_entries``: the folders of the cache that it is in.
    ``commit``: the project's. ``machines``: by their key, of all plans that are made beside each other: schedulers of
    several names may have the same, which then has the first one's. ``sliced``: of what ``shard=`` makes it a part.
    """

    request: Request
    config: Config
    archive: Archive
    steps: Steps
    commit: str | None
    judged: Judged
    cells: tuple[CellPlan, ...] = ()
    skips: tuple[SkipPlan, ...] = ()
    broken: tuple[Broken, ...] = ()
    machine: Machine | None = None
    accel_reason: str | None = None
    machines: dict[str, ParkedPlan] = field(default_factory=dict, compare=False)
    machine_entries: tuple[Path, ...] = ()
    sliced: Sliced | None = None

    @cached_property
    def _sharing(self) -> Counter[str]:
        """How many cells could be clones of each machine that can be parked."""
        return Counter(cell.point.parked.key for cell in self.cells if cell.point.parked is not None)

    def parked(self, cell: CellPlan) -> ParkedPlan | None:
        """The machine that a cell is a clone of, None for one that boots. In real time only what several share is
        parked: there a clone is the same result, and nothing else."""
        parked = cell.point.parked
        if parked is None or (cell.point.accel == "kvm" and self._sharing[parked.key] < 2):
            return None
        return self.machines.setdefault(parked.key, parked)

    @cached_property
    def by_machine(self) -> tuple[CellPlan, ...]:
        """The cells, those next to each other that may share a machine, else in their order."""
        groups: dict[tuple[str, str, str], list[CellPlan]] = {}
        for cell in self.cells:
            groups.setdefault((cell.key.kernel, cell.key.preset, cell.key.scheduler), []).append(cell)
        return tuple(cell for group in groups.values() for cell in group)

    def leaf(self, kernel: str | None) -> str:
        """The name of the run directory for what ran on a kernel."""
        leaf = leaf_name(kernel, self.commit)
        return leaf if self.request.side is None else f"{PERF}-{self.request.side}-{leaf}"

    def closure(self, names: Iterable[str]) -> list[str]:
        """The named tasks and everything they need, nearest first."""
        return closure(self.steps, names)

    def tasks(self) -> set[str]:
        """The names of all tasks with a part of their own."""
        return {step.task for step in self.steps} | {f"cell:{cell.name}" for cell in self.cells}


@dataclass(frozen=True)
class _Ground:
    """What every plan begins with."""

    config: Config
    archive: Archive
    pins: Pins
    steps: Steps
    kernels: Kernels


def _ground(request: Request, steps: Steps) -> _Ground:
    config = request.declared(load_config(request.project))
    fetching = request.options.fetching
    cache = Cache(cache_root(request.environ), request.cancel)
    archive = Archive(cache, Apt(cache.apt, fetching.offline, request.environ, request.cancel))
    pins = project_pins(request.project, fetching.lock_update, request.cancel)
    return _Ground(config, archive, pins, steps, Kernels(request, config, archive, pins, steps))


def _check_updates(ground: _Ground) -> None:
    """Refuse a ``lock_update=`` that names nothing of this plan."""
    ground.pins.check_updates((*ground.kernels.names(), *RECIPES))


def _judged(request: Request, commit: str | None) -> Judged:
    """What earlier runs left, unless the sidecars are wanted in a folder of the user's."""
    rows = {} if request.environ.get("KTSTR_SIDECAR_DIR") else read_rows(request.project.state / FILE)
    return Judged(rows, (sources_digest(), commit, run_source(request.environ)))


def make_plan(request: Request, beside: Plan | None = None) -> Plan:
    """Resolve kernels, choose the machine and plan every selected cell. The steps join those of the plan ``beside``.

    Raises InputError for a selection that matches nothing, unless that is so of a shard's slice only, or a bad
    declaration, and HostError when a kernel or the machine cannot be resolved. Whatever is wrong with one scheduler
    makes its own cells errors, and no others, unless nothing but schedulers that are declared wrongly was selected.
    """
    ground = _ground(request, Steps() if beside is None else beside.steps)
    kernels, named = ground.kernels, _named(request, ground.config)
    config = named.config
    expansion = without_performance(request, config, _expansion(request, ground, named))
    kernels.resolve(_kernels_of(expansion))
    _check_updates(ground)
    tools = ToolSteps(ground.archive, ground.pins, ground.steps)
    chosen = choose_machine(request, ground.archive, tools, ground.steps)
    images = Images(request, ground.archive, tools, ground.steps)
    commit = project_commit(request.project.root, request.environ)
    judged = _judged(request, commit)
    running = request.options.running
    supplies = Supplies(
        kernels, images, clones=not running.no_clone, side=request.side, release=running.release, hosts=request.hosts
    )
    maker = CellMaker(config, supplies, chosen, judged)
    expansion = without_oversized(request, config, expansion, chosen.machine.accel)
    keys = within_budget(request, config, judged.rows, _names(request, kernels, chosen, expansion))
    made = [maker.make(key) for key in keys]
    cells = _narrowed(request, [cell for cell in made if isinstance(cell, CellPlan)])
    points = () if request.narrowing.failed else _slice(request, expansion.skips)
    skips = tuple(_skip(skip, ground, chosen.machine.accel, request.side) for skip in points)
    broken = tuple(cell for cell in made if isinstance(cell, Broken))
    if request.narrowing.shard is None and _all_declared_wrongly(made):
        raise broken[0].error  # of a slice nobody knows that: the others may have more
    if not cells and not skips and not broken:
        _refuse_nothing(request, len(expansion.cells))
    return Plan(
        request, config, ground.archive, ground.steps, commit, judged, tuple(cells), skips, broken, chosen.machine,
        chosen.reason, {} if beside is None else beside.machines, chosen.entries,
        _sliced(request, kernels, chosen, expansion, commit),
    )  # fmt: skip


def plan_kernels(request: Request, words: Sequence[str]) -> Plan:
    """The plan of ``kernel_build``: no cells, no machine. Raises as ``make_plan``."""
    ground = _ground(request, Steps())
    ground.kernels.resolve(ground.kernels.expand(words))
    _check_updates(ground)
    return Plan(request, ground.config, ground.archive, ground.steps, None, Judged({}, ()))


def _kernel_word(request: Request, config: Config, word: str) -> str:
    """A file or folder where the user stands is a path, unless a declared kernel is meant: ``kernel=bzImage``."""
    there = not match(word, config.kernels) and (request.project.stand / word).exists()
    return f"./{word}" if there and "/" not in word else word


def _kernel_words(request: Request, ground: _Ground) -> tuple[str, ...]:
    """The kernels asked for, ranges expanded; where none is asked for or declared, one is looked for."""
    config = ground.config
    words = tuple(_kernel_word(request, config, word) for word in request.options.select.kernel)
    if words or config.kernels:
        return ground.kernels.expand(words)
    discovered = ground.kernels.discover()
    request.progress.step(f"kernel {discovered.spec}: {discovered.why}")
    return (discovered.spec,)


def _named(request: Request, config: Config) -> Named:
    """The declarations, with the schedulers that are named on the command line without one, and the work type."""
    select = request.options.select
    config = with_work_type(config, select.work_type)
    return with_undeclared(config, select.scheduler, request.project.stand, request.environ)


def seeds_of(select: Select) -> tuple[int, ...]:
    """What ``seeds=`` names. Raises InputError saying what was expected."""
    try:
        return parse_seeds(select.seeds)
    except ValueError as err:
        raise InputError(f"seeds={','.join(select.seeds)}: expected {err}") from None


def _selection(request: Request, kernels: tuple[str, ...], schedulers: tuple[str, ...]) -> Selection:
    chosen = request.options.select
    seeds = seeds_of(chosen) or None
    if chosen.seed is not None and seeds is not None:
        raise InputError("seed= and seeds=: found both, expected one of them")
    return Selection(
        test=chosen.test,
        preset=chosen.preset,
        kernel=kernels,
        scheduler=schedulers,
        seeds=(chosen.seed,) if chosen.seed is not None else seeds,
        keep=_keep(chosen, seeds),
        gauntlet=chosen.gauntlet,
    )


def _expansion(request: Request, ground: _Ground, named: Named) -> Expansion:
    """The selected cells, or those that are asked for one by one."""
    if request.narrowing.keys is not None:
        return Expansion(request.narrowing.keys, ())
    return expand(named.config, _selection(request, _kernel_words(request, ground), named.patterns))


def _keep(chosen: Select, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The changes that ``keep=`` names, which are those of one seed."""
    if not chosen.keep:
        return None
    try:
        keep = parse_keep(chosen.keep)
    except ValueError as err:
        raise InputError(f"keep={','.join(chosen.keep)}: expected {err}") from None
    if chosen.seed is None and (seeds is None or len(seeds) != 1):
        raise InputError(f"keep={','.join(chosen.keep)}: found no one seed, expected the one whose changes they are")
    return keep


def _all_declared_wrongly(made: Sequence[CellPlan | Broken]) -> bool:
    """Whether nothing but what is declared wrongly was selected."""
    errors = [cell.error for cell in made if isinstance(cell, Broken)]
    return bool(errors) and len(errors) == len(made) and all(isinstance(error, InputError) for error in errors)


def _sliced(
    request: Request, kernels: Kernels, chosen: ChosenMachine, expansion: Expansion, commit: str | None
) -> Sliced | None:
    """What ``shard=`` makes the plan a part of; nothing is looked at without it."""
    if request.narrowing.shard is None:
        return None
    from ktstr.planning.shards import Selected, sliced  # records are types of their own: for shards only

    accel, side = chosen.machine.accel, request.side
    cells, skips = expansion.cells, expansion.skips
    selected = Selected(
        tuple(cell_name(key, kernels[key.kernel], accel, side) for key in cells),
        tuple(cell_name(skip.key, kernels[skip.key.kernel], accel, side) for skip in skips),
        {word: kernels[word] for word in _kernels_of(expansion)},
        chosen.machine,
        commit,
    )
    return sliced(request, selected)


def _slice(request: Request, items: Sequence[T]) -> Sequence[T]:
    """The ``shard=i/n`` slice of the cells, or of the skipped points."""
    shard = request.narrowing.shard
    return items if shard is None else items[shard.index - 1 :: shard.of]


def _names(request: Request, kernels: Kernels, chosen: ChosenMachine, expansion: Expansion) -> dict[str, CellKey]:
    """The cells of this shard by their names, in their order."""
    accel = chosen.machine.accel
    keys = _slice(request, expansion.cells)
    return {cell_name(key, kernels[key.kernel], accel, request.side): key for key in keys}


def _narrowed(request: Request, cells: list[CellPlan]) -> list[CellPlan]:
    """Those that failed last time, with ``failed=1``; those that are named, where some are."""
    if request.narrowing.failed:
        failed = failed_names(request.project.state)
        cells = [cell for cell in cells if cell.name in failed]
    names = request.narrowing.cells
    known = {cell.name for cell in cells}
    for name in names:
        if name not in known:
            raise InputError(f"cell:{name}: found no such cell", fix="doit test dry_run=1 lists them")
    return [cell for cell in cells if cell.name in names] if names else cells


def _refuse_nothing(request: Request, cells: int) -> None:
    """Raise InputError for a selection that leaves no cell, naming what narrowed it. A shard may be without: of n jobs
    that run parts of what changes from day to day, the others have more."""
    narrowing = request.narrowing
    given = (["failed=1"] if narrowing.failed else []) + ([f"shard={narrowing.shard}"] if narrowing.shard else [])
    text = f"nothing was selected: {' '.join(given) or 'the selection'} leaves none of {cells} cells"
    if narrowing.shard is None:
        raise InputError(text, fix="doit test dry_run=1 without a selection")
    request.progress.step(f"NOTHING IS TESTED HERE: {text}")


def _kernels_of(expansion: Expansion) -> list[str]:
    keys = (*expansion.cells, *(skip.key for skip in expansion.skips))
    return list(dict.fromkeys(key.kernel for key in keys))


def _skip(skip: Skip, ground: _Ground, accel: str, side: str | None) -> SkipPlan:
    kernel = ground.kernels[skip.key.kernel]
    test, topology = ground.config.tests[skip.key.test], ground.config.presets[skip.key.preset]
    return SkipPlan(
        cell_name(skip.key, kernel, accel, side), skip.key, accel, test, topology, kernel, skip.reason, skip.host
    )
