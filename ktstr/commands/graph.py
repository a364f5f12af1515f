"""The tasks that are the graph itself: what cells are made of, and the cells."""

from __future__ import annotations

from dataclasses import dataclass

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.commands.declare.plans import built_here, plan_cells
from ktstr.commands.test import finish_cells
from ktstr.options import GraphOptions, TestOptions
from ktstr.results.ledger import ExitRules


def _plan(invocation: Invocation, options: GraphOptions) -> Planned:
    return plan_cells(invocation, TestOptions(options))


def _plan_build(invocation: Invocation, options: GraphOptions) -> Planned:
    return _plan(invocation, built_here(options))


def _finish_cells(invocation: Invocation, options: GraphOptions, planned: Planned) -> Report:
    return finish_cells(invocation, TestOptions(options), planned)


def _finish_build(invocation: Invocation, options: GraphOptions, planned: Planned) -> Report:
    """What could not even be planned is no reason for silence: each scheduler that cannot be had is a failure of
    the families that lack something for it."""
    if _OF_SCHEDULERS.intersection(invocation.words):
        for broken in planned.plan.broken:
            invocation.ledger.fail(f"scheduler:{broken.scheduler}", broken.error)
    return Report()


@dataclass(frozen=True)
class _Family:
    name: str
    doc: str


_OF_SCHEDULERS = frozenset({"scheduler", "image", "machine"})
_BUILD = (
    _Family("kernel", "kernels in the cache, ready to boot"),
    _Family("source", "kernel sources, fetched and unpacked"),
    _Family("scheduler", "scheduler binaries"),
    _Family("image", "guest images: agent, scheduler and libraries"),
    _Family("agent", "the static guest agent"),
    _Family("vmm", "the virtual machine monitor that runs guests on KVM"),
    _Family("tools", "the private QEMU and BPF tools"),
)

COMMANDS = (
    Command(
        "cell",
        "Run",
        "the runs themselves: cell:TEST/PRESET/KERNEL/SCHEDULER/ACCEL-sSEED",
        GraphOptions,
        plan=_plan,
        finish=_finish_cells,
        rules=lambda options: ExitRules(no_skip=options.running.no_skip),
        parts="cells",
        judges=True,
    ),
    Command(
        "machine",
        "Build",
        "machines that have booted and attached, for cells to be clones of",
        GraphOptions,
        plan=_plan_build,
        finish=_finish_build,
        parts="machines",
    ),
    *(
        Command(
            family.name,
            "Build",
            family.doc,
            GraphOptions,
            plan=_plan_build,
            parts="steps",
            finish=_finish_build,
        )
        for family in _BUILD
    ),
)
