"""``doit cell_plan test=NAME``: what one cell does, resolved for its topology, without running it."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import InputError
from ktstr.options import FLAG, LIST, SEED, variable

if TYPE_CHECKING:
    from ktstr.config.model import Config, SchedulerDecl, TestDecl
    from ktstr.config.topology import Topology
    from ktstr.scenarios.compile import Compiled
    from ktstr.scenarios.timeline import Entry

WIDTH = 80
_TIME = 12  # columns of the time


@dataclass(frozen=True)
class Options:
    """Whose plan."""

    test: tuple[str, ...] = variable(LIST, "the test, by its name", ())
    preset: tuple[str, ...] = variable(LIST, "the topology: a preset or a label such as 2n4l4c1t", ())
    scheduler: tuple[str, ...] = variable(LIST, "the scheduler, by its name; default: eevdf", ())
    seed: int = variable(SEED, "the seed", 0)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


@dataclass(frozen=True)
class _Cell:
    """What is planned. ``preset``: what the topology is called."""

    test: TestDecl
    preset: str
    topology: Topology
    scheduler: SchedulerDecl
    seed: int
    kernel_args: tuple[str, ...]
    offline: tuple[int, ...]
    compiled: Compiled


def run(invocation: Invocation, options: Options) -> Report:
    """The plan of one cell. Needs no kernel and no program that is built."""
    from ktstr.config.load import load

    cell = _cell(load(invocation.project.config), options)
    return Report(_json(cell) if options.json else _text(cell))


def _cell(config: Config, options: Options) -> _Cell:
    """Raises InputError for a name that is not declared, a test that is not for the topology, and for what the
    compiler finds."""
    from ktstr.scenarios.boot import boot_arguments, offline_cpus
    from ktstr.scenarios.compile import Other, Programs, compile_test
    from ktstr.vm.loading import attach_timeout_ns

    chosen = _chosen(config, options)
    test, topology = config.tests[chosen.test], chosen.topology

    def timed(name: str) -> SchedulerDecl:
        scheduler = config.schedulers[name]
        timeout = scheduler.attach_timeout_ns
        return replace(
            scheduler, attach_timeout_ns=attach_timeout_ns("icount", topology) if timeout is None else timeout
        )

    others = {name: Other(timed(name), name) for name in test.replacements}
    programs = Programs(chosen.scheduler, others, config.payloads)
    scheduler = timed(chosen.scheduler)
    return _Cell(
        test,
        chosen.preset,
        topology,
        scheduler,
        options.seed,
        boot_arguments(test, topology),
        offline_cpus(test, topology),
        compile_test(test, topology, scheduler, options.seed, programs),
    )


@dataclass(frozen=True)
class _Names:
    test: str
    preset: str
    topology: Topology
    scheduler: str


def _chosen(config: Config, options: Options) -> _Names:
    """What ``doit test`` would choose for a test that is run by its name alone, unless it is given."""
    from ktstr.config.model import KernelDecl
    from ktstr.config.select import Selection, expand
    from ktstr.config.topology import Topology

    for what, given, least in (
        ("test", options.test, 1),
        ("preset", options.preset, 0),
        ("scheduler", options.scheduler, 0),
    ):
        if not least <= len(given) <= 1:
            raise InputError(f"{what}=: found {len(given)} names, expected one", fix="doit cell_plan test=NAME")
    test = config.tests.get(options.test[0])
    own = () if test is None or test.topology is None else (test.topology,)
    wanted = options.preset or own
    presets = dict(config.presets)
    for name in wanted:
        if name in presets:
            continue
        with suppress(ValueError):  # which the selection tells, with the nearest preset
            presets[name] = Topology.parse(name)
    kernel = KernelDecl("any", "any")  # the plan is the same for all
    schedulers = {name: replace(scheduler, kernels=()) for name, scheduler in config.schedulers.items()}
    whole = replace(config, presets=presets, matrices=(), kernels={kernel.name: kernel}, schedulers=schedulers)
    selection = Selection(options.test, wanted, (), options.scheduler, (options.seed,))
    found = expand(whole, selection)
    if not found.cells:
        skip = found.skips[0]
        raise InputError(f"test={skip.key.test} preset={skip.key.preset}: {skip.reason}", fix="name another preset")
    key = found.cells[0]
    return _Names(key.test, key.preset, whole.presets[key.preset], key.scheduler)


def _text(cell: _Cell) -> str:
    from ktstr import cpulist

    topology, compiled = cell.topology, cell.compiled
    called = "" if cell.preset == topology.label else f" ({cell.preset})"
    lines = [
        f"Test: {cell.test.name}",
        f"Topology: {topology.label}{called}, {topology.cpus} CPUs",
        f"Scheduler: {cell.scheduler.name}",
        f"Seed: {cell.seed}",
    ]
    lines += [f"Kernel arguments: {' '.join(cell.kernel_args)}"] if cell.kernel_args else []
    lines += [f"Offline before: CPUs {cpulist.render(cell.offline)}"] if cell.offline else []
    lines += ["", f"{'Guest ms':>{_TIME}}  What is done; the time is that of holds and delays"]
    for entry in _entries(cell):
        lines += _lines(entry)
    if compiled.phases:
        lines += ["", "Phases:"]
        lines += [
            f"  {phase.index}  {phase.label} (ops {phase.begin_op} to {phase.end_op})" for phase in compiled.phases
        ]
    lines += ["", *_judged(cell)]
    return "\n".join(lines) + "\n"


def _entries(cell: _Cell) -> tuple[Entry, ...]:
    from ktstr.scenarios.timeline import timeline

    return timeline(cell.compiled)


def _lines(entry: Entry) -> list[str]:
    indent = " " * (_TIME + 2 + 2 * entry.depth)
    check = f" [{entry.check}]" if entry.check else ""
    wrapped = textwrap.wrap(entry.what + check, WIDTH - len(indent), subsequent_indent="  ", break_on_hyphens=False)
    first, *rest = wrapped
    at = f"{entry.at_ns / 1e6:>{_TIME}.3f}  {' ' * (2 * entry.depth)}"
    return [at + first, *(indent + line for line in rest)]


def _judged(cell: _Cell) -> list[str]:
    """What is known of each work to the checks."""
    from ktstr import cpulist

    lines = ["Workers are judged by:"]
    for work in cell.compiled.works:
        cpus = "any CPU" if work.cpus is None else f"CPUs {cpulist.render(work.cpus)}"
        nodes = "" if work.nodes is None else f", memory on nodes {cpulist.render(work.nodes)}"
        step = f", of step {work.step}" if work.step else ""
        lines += textwrap.wrap(
            f"{work.workers} {work.work_type} of {work.cgroup or 'no cgroup'}{step}: {cpus}{nodes}",
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return lines


def _json(cell: _Cell) -> str:
    import json

    compiled = cell.compiled
    whole = {
        "test": cell.test.name,
        "preset": cell.preset,
        "topology": cell.topology.label,
        "scheduler": cell.scheduler.name,
        "seed": cell.seed,
        "kernel_args": list(cell.kernel_args),
        "offline": list(cell.offline),
        "ops": [vars(entry) for entry in _entries(cell)],
        "phases": [vars(phase) for phase in compiled.phases],
        "spans": [vars(span) for span in compiled.spans],
        "works": [
            {"cgroup": w.cgroup, "work_type": w.work_type, "workers": w.workers, "step": w.step, "cpus": w.cpus,
             "nodes": w.nodes}
            for w in compiled.works
        ],
    }  # fmt: skip
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


COMMAND = Command("cell_plan", "Results", "what a cell does and when, without running it", Options, run)
