"""Which cells to run: the matrices of ktstr.yaml, narrowed and widened by what the user names.

A pattern is a declared name, else a glob (``*``, ``?``, ``[``), else a part of names; of tests also
``category:NAME``. What the user names narrows the matrices; where no matrix has it, it is run all the same:

- ``kernel`` replaces the kernels of every point (``kernel=6.14``: everything declared, on that kernel).
  A word that can only be a kernel spec, not a name, is passed on as it stands.
- ``preset``, ``scheduler``: a pattern that meets no point of any matrix is added to all of them.
- ``test``: a pattern that meets no point gets cells of its own: the named presets, kernels and
  schedulers, else the test's ``topology:``, the scheduler's ``preset:``, ``tiny-1llc`` or the smallest preset that
  fits, the first kernel declared, and eevdf.
- ``seeds`` replace those of every point.
- ``gauntlet`` replaces the presets of every point by all there are, or by those that ``preset`` names.

A test with ``compare:`` runs under its two schedulers, whatever schedulers its matrix has, and with seeds 1 to 10
where the matrix has no seeds but 0: one run of each would decide nothing.

Demo tests are met only by their exact names, in matrices and from the user.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ktstr.config import catalogue
from ktstr.config.model import Builtin, CellKey, Config, Matrix, TestDecl
from ktstr.config.patterns import GLOB, canned_tests, match, tests_of
from ktstr.config.suggest import nearest
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.record.vocabulary import WORK_TYPES

DEFAULT_PRESET = "tiny-1llc"
DEFAULT_SCHEDULER = "eevdf"
MAX_SEEDS = 100_000
COMPARED_SEEDS = tuple(range(1, 11))

_SEEDS = re.compile(r"([0-9]{1,20})(?:\.\.([0-9]{1,20}))?")


@dataclass(frozen=True)
class Selection:
    """What the user named. Empty tuples and None leave the matrices as declared. ``keep``: of the changes of the one
    seed only these, None for all."""

    test: tuple[str, ...] = ()
    preset: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    keep: tuple[int, ...] | None = None
    gauntlet: bool = False


@dataclass(frozen=True)
class Skip:
    """A point that its test's constraints rule out, and why. ``host``: this host is too small for it."""

    key: CellKey
    reason: str
    host: bool = False


@dataclass(frozen=True)
class Expansion:
    """The cells to run, in order and without repeats, and the points that were skipped."""

    cells: tuple[CellKey, ...]
    skips: tuple[Skip, ...]


@dataclass(frozen=True)
class _Block:
    """A product of names, with the matrix's exclusions."""

    tests: tuple[str, ...]
    presets: tuple[str, ...]
    kernels: tuple[str, ...]
    schedulers: tuple[str, ...]
    seeds: tuple[int, ...]
    exclude: tuple[dict[str, Collection[str | int]], ...] = ()

    def excludes(self, key: CellKey) -> bool:
        return any(all(getattr(key, f) in values for f, values in rule.items()) for rule in self.exclude)


def parse_seeds(items: Iterable[str | int]) -> tuple[int, ...]:
    """Seeds from ``7`` and ``1..20``, in order, without repeats. Raises ValueError saying what was expected."""
    seeds: dict[int, None] = {}
    for item in items:
        m = _SEEDS.fullmatch(str(item))
        if m is None:
            raise ValueError("seeds, such as 0, 1..20, or a list of these")
        low, high = int(m[1]), int(m[2] or m[1])
        if high < low:
            raise ValueError(f"seeds that go up, such as {high}..{low}")
        if high >= 1 << 64:
            raise ValueError("seeds below 2**64")
        if high - low >= MAX_SEEDS or len(seeds) >= MAX_SEEDS:
            raise ValueError(f"at most {MAX_SEEDS} seeds")
        seeds.update(dict.fromkeys(range(low, high + 1)))
    return tuple(seeds)


def unfit(test: TestDecl, topology: Topology) -> str | None:
    """Why a test cannot run on a topology, by its constraints; None when it can."""
    limits = (
        ("CPUs", len(topology.online_cpus), test.min_cpus, test.max_cpus),
        ("LLCs", topology.llcs, test.min_llcs, test.max_llcs),
        ("NUMA nodes", topology.numa_nodes, test.min_numa_nodes, test.max_numa_nodes),
    )
    for what, count, low, high in limits:
        if count < low:
            return f"needs at least {low} {what}, {topology.label} has {count}"
        if count > high:
            return f"needs at most {high} {what}, {topology.label} has {count}"
    if topology.threads < 2 and (test.requires_smt or _pairs_siblings(test)):
        return f"needs SMT, {topology.label} has one thread per core"
    return None


def _pairs_siblings(test: TestDecl) -> bool:
    """Whether some of its workers run on two threads of one core."""
    return any(WORK_TYPES[work.work_type].needs_siblings for work in test.works if work.work_type in WORK_TYPES)


def unwanted(config: Config, key: CellKey) -> str | None:
    """Why a test is not run, or a scheduler not tried on a kernel or under it, by declaration; None when it is."""
    scheduler, test = config.schedulers[key.scheduler], config.tests[key.test]
    if test.host_only:
        return f"{key.test} needs no guest (host_only: true), and this would run it in one"
    declared = config.kernels.get(key.kernel)
    names = (key.kernel,) if declared is None else (key.kernel, declared.spec)
    for name in (key.scheduler, *test.replacements):
        wanted = config.schedulers[name].kernels
        if wanted and not any(match(pattern, names) for pattern in wanted):
            return f"{name} is declared for kernels {', '.join(wanted)}, this one is {key.kernel}"
    expect = test.expect or scheduler.expect
    if expect is not None and expect.end != "fails" and isinstance(scheduler.kind, Builtin):
        return f"expects of a scheduler what {key.scheduler}, which is no program, cannot do (expect: {expect.end})"
    return None


def expand(config: Config, selection: Selection | None = None) -> Expansion:
    """The cells of all matrices, as the user's selection narrows or widens them.

    Raises InputError for a pattern that names nothing, and when nothing is selected.
    """
    chosen = selection or Selection()
    declared = [block for matrix in config.matrices for block in _blocks(config, matrix)]
    blocks = list(_selected(config, declared, chosen))
    cells: dict[CellKey, None] = {}
    skips: dict[CellKey, str] = {}
    for point in _points(blocks):
        key = point if chosen.keep is None else replace(point, keep=chosen.keep)
        reason = unfit(config.tests[key.test], config.presets[key.preset]) or unwanted(config, key)
        if reason is None:
            cells[key] = None
        else:
            skips[key] = reason
    if not cells and not skips:
        raise _nothing(config, chosen)
    return Expansion(tuple(cells), tuple(Skip(key, reason) for key, reason in skips.items()))


def named_presets(config: Config, patterns: Sequence[str]) -> tuple[str, ...]:
    """The presets that patterns mean, all without any. Raises InputError for one that names none."""
    hits = (n for p in patterns for n in _met("preset", p, match(p, config.presets), config.presets))
    return tuple(dict.fromkeys(hits)) or tuple(config.named_presets)


def _names(patterns: Iterable[str], names: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n for p in patterns for n in match(p, names)))


def _blocks(config: Config, matrix: Matrix) -> Iterator[_Block]:
    base = _Block(
        tests_of(matrix.tests, config.tests),
        _names(matrix.presets, config.named_presets),
        _names(matrix.kernels, config.kernels) or _default_kernels(config),
        _names(matrix.schedulers, config.schedulers) or (DEFAULT_SCHEDULER,),
        matrix.seeds,
        tuple(_rule(config, point) for point in matrix.exclude),
    )
    yield from _compared(config, base)
    for point in matrix.include:
        yield from _compared(config, _included(config, base, point))


def _compared(config: Config, block: _Block) -> Iterator[_Block]:
    """The block in parts: tests that compare two schedulers run under both, with seeds enough to decide something."""
    if not any(config.tests[name].compare for name in block.tests):
        yield block
        return
    for pair, names in groupby(block.tests, lambda name: config.tests[name].compare):
        seeds = COMPARED_SEEDS if pair and block.seeds == (0,) else block.seeds
        yield replace(block, tests=tuple(names), schedulers=pair or block.schedulers, seeds=seeds)


def _rule(config: Config, point: dict[str, str | int]) -> dict[str, Collection[str | int]]:
    """An exclusion's fields with their patterns resolved to names."""
    names: dict[str, Collection[str]] = {
        "test": config.tests, "preset": config.presets, "kernel": config.kernels, "scheduler": config.schedulers,
    }  # fmt: skip
    return {f: {v} if f == "seed" else frozenset(match(str(v), names[f])) for f, v in point.items()}


def _included(config: Config, base: _Block, point: dict[str, str | int]) -> _Block:
    def given(field: str, names: Collection[str], otherwise: tuple[str, ...]) -> tuple[str, ...]:
        return match(str(point[field]), names) if field in point else otherwise

    return _Block(
        tests_of((str(point["test"]),), config.tests) if "test" in point else base.tests,
        given("preset", config.named_presets, base.presets),
        given("kernel", config.kernels, base.kernels),
        given("scheduler", config.schedulers, base.schedulers),
        (int(point["seed"]),) if "seed" in point else base.seeds,
    )


def _default_kernels(config: Config) -> tuple[str, ...]:
    return tuple(config.kernels)[:1]


def _selected(config: Config, blocks: list[_Block], chosen: Selection) -> Iterator[_Block]:
    wanted = _wanted_tests(config, chosen.test)
    kernels = _kernels(config, chosen.kernel)
    presets = _presets(config, chosen, blocks)
    schedulers = _chosen("scheduler", chosen.scheduler, config.schedulers, [b.schedulers for b in blocks])
    narrowed = [
        replace(
            block,
            presets=presets.within(block.presets),
            kernels=kernels or block.kernels,
            schedulers=schedulers.within(block.schedulers),
            seeds=chosen.seeds or block.seeds,
        )
        for block in blocks
    ]
    met = {key.test for key in _points(narrowed)}
    if not chosen.test:
        plain = {name for name, test in config.tests.items() if not test.demo}
        yield from (replace(b, tests=tuple(t for t in b.tests if t in plain)) for b in narrowed)
        return
    for names in wanted:
        if met.isdisjoint(names):
            for name in names:
                yield from _own_blocks(config, name, presets.named, kernels, schedulers.named, chosen.seeds)
        else:
            yield from (replace(b, tests=tuple(t for t in b.tests if t in names)) for b in narrowed)


def _presets(config: Config, chosen: Selection, blocks: list[_Block]) -> _Chosen:
    if not chosen.gauntlet:
        return _chosen("preset", chosen.preset, config.presets, [b.presets for b in blocks])
    names = named_presets(config, chosen.preset)
    return _Chosen(names, names)  # as if no matrix had any: those are added to each


def _own_blocks(
    config: Config,
    test: str,
    presets: tuple[str, ...],
    kernels: tuple[str, ...],
    schedulers: tuple[str, ...],
    seeds: tuple[int, ...] | None,
) -> Iterator[_Block]:
    pair = config.tests[test].compare
    for scheduler in schedulers or pair or (DEFAULT_SCHEDULER,):
        wanted = config.schedulers[scheduler].preset
        yield _Block(
            (test,),
            presets or (config.tests[test].topology or _preset_for(config.tests[test], config.named_presets, wanted),),
            kernels or _default_kernels(config),
            (scheduler,),
            seeds or (COMPARED_SEEDS if pair else (0,)),
        )


def _preset_for(test: TestDecl, presets: dict[str, Topology], wanted: str | None) -> str:
    """The scheduler's own if the test can run on it, else ``tiny-1llc``, else the smallest that the test's constraints
    allow, if there is one: one that a plain label describes before others."""
    fitting = [name for name, topology in presets.items() if unfit(test, topology) is None]
    if wanted in fitting:
        return wanted
    if DEFAULT_PRESET in fitting or not fitting:
        return DEFAULT_PRESET
    return min(fitting, key=lambda name: (not presets[name].is_plain, presets[name].cpus))


@dataclass(frozen=True)
class _Chosen:
    """What patterns of one field mean: all names, and those of patterns that no block meets."""

    named: tuple[str, ...]
    added: tuple[str, ...]

    def within(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not self.named:
            return names
        return tuple(dict.fromkeys([*(n for n in names if n in self.named), *self.added]))


def _chosen(field: str, patterns: Sequence[str], names: Collection[str], blocks: list[tuple[str, ...]]) -> _Chosen:
    present = {name for block in blocks for name in block}
    named: list[str] = []
    added: list[str] = []
    for pattern in patterns:
        hits = _met(field, pattern, match(pattern, names), names)
        there = [n for n in hits if n in present]
        named += there or hits
        added += [] if there else hits
    return _Chosen(tuple(dict.fromkeys(named)), tuple(dict.fromkeys(added)))


def _met(field: str, pattern: str, hits: tuple[str, ...], names: Collection[str]) -> tuple[str, ...]:
    if hits:
        return hits
    hint = nearest(pattern, names)
    raise InputError(
        f"{field}={pattern}: found no {field} of that name, expected a declared name, a glob or a part of one"
        + (f", nearest match {hint!r}" if hint else ""),
        fix=f"declared: {', '.join(names)}" if len(names) <= 40 else None,
    )


def _wanted_tests(config: Config, patterns: Sequence[str]) -> list[tuple[str, ...]]:
    return [_tests_met(config, p) for p in patterns]


def _tests_met(config: Config, pattern: str) -> tuple[str, ...]:
    found = tests_of((pattern,), config.tests)
    if not found and (demos := match(pattern, config.tests)):
        raise InputError(
            f"test={pattern}: found only demo tests ({', '.join(demos)}), expected those by their exact names",
            fix=f"doit test test={demos[0]}",
        )
    if not found and (canned := canned_tests(pattern)):
        raise InputError(
            f"test={pattern}: found no such test in {config.path.name}, which does not include the catalogue, where"
            f" there {'is' if len(canned) == 1 else 'are'} {', '.join(canned[:5])}{', ...' if canned[5:] else ''}",
            fix=f"include: {catalogue.NAME}, at the top of {config.path.name}",
        )
    return _met("test", pattern, found, config.tests)


def _kernels(config: Config, patterns: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for pattern in patterns:
        found.update(dict.fromkeys(_kernel(config, pattern)))
    return tuple(found)


KERNEL_WORDS = ("default", "stable")  # specs that look like names


def _kernel(config: Config, pattern: str) -> tuple[str, ...]:
    """Declared kernels, or the pattern itself when it can only be a spec (it has a digit, ``/``, ``:`` or ``~``)."""
    is_glob = bool(GLOB.intersection(pattern))
    is_spec = not is_glob and (pattern in KERNEL_WORDS or any(c.isdigit() or c in "/:~." for c in pattern))
    if pattern in config.kernels or not is_spec:
        return _met("kernel", pattern, match(pattern, config.kernels), config.kernels)
    return (pattern,)


def _points(blocks: Iterable[_Block]) -> Iterator[CellKey]:
    """Every point of the blocks that no exclusion drops, in the order of declaration."""
    for block in blocks:
        for test in block.tests:
            for preset in block.presets:
                for kernel in block.kernels:
                    for scheduler in block.schedulers:
                        for seed in block.seeds:
                            key = CellKey(test, preset, kernel, scheduler, seed)
                            if not block.excludes(key):
                                yield key


def _nothing(config: Config, chosen: Selection) -> InputError:
    given = [
        f"{field}={','.join(map(str, values))}"
        for field in ("test", "preset", "kernel", "scheduler", "seeds")
        if (values := getattr(chosen, field))
    ]
    if not config.matrices:
        fix = "declare a matrix, or name a test: doit test test=NAME"
        return InputError(f"{config.path.name}: found no matrix, expected one to run", fix=fix)
    what = " ".join(given) or "the matrices"
    return InputError(f"{what}: selected no cell, expected at least one", fix="name fewer of test, preset, scheduler")
