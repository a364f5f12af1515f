"""The task families: kernels, tools, binaries, images, cells and reports as a doit graph.

A ``dodo.py`` imports everything here. Each family is one short function; what it does is
elsewhere. Families with kernels and cells in them are empty until the front end planned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ktstr.tasks.session import Session, session
from ktstr.tasks.table import TASKS

__all__ = [
    "task_agent",
    "task_cell",
    "task_doctor",
    "task_image",
    "task_kernel",
    "task_kernel_build",
    "task_kernel_clean",
    "task_kernel_list",
    "task_lab",
    "task_locks",
    "task_scheduler",
    "task_show_thresholds",
    "task_source",
    "task_stats_list",
    "task_test",
    "task_tools",
    "task_vmm",
]

Task = dict[str, Any]


def _group(name: str) -> Task:
    """The family itself, with its line for ``doit list``."""
    return {"basename": name, "name": None, "doc": TASKS[name].doc}


def _guarded(run: Session, task: str, action: Callable[[], None]) -> Callable[[], Any]:
    """An action whose expected errors reach the session and stop what depends on it."""

    def act() -> Any:
        from ktstr.tasks.guard import perform

        return perform(run, task, action)

    return act


def _build(run: Session, basename: str, step: Any) -> Task:
    """A task from one of the plan's build steps."""
    name = f"{basename}:{step.name}" if step.name else basename
    task: Task = {
        "actions": [_guarded(run, name, step.make)],
        "targets": [str(step.target)],
        "task_dep": list(step.needs),
        "uptodate": [step.fresh],
        "io": {"capture": False},
        "doc": TASKS[basename].doc,
        "basename": basename,
    }
    return task | {"name": step.name} if step.name else task


def _builds(basename: str) -> Iterator[Task]:
    run = session()
    steps = run.plan.steps[basename] if run.plan else []
    if not any(step.name == "" for step in steps):
        yield _group(basename)
    for step in steps:
        yield _build(run, basename, step)


def _report(name: str) -> Task:
    """A cheap task that always runs and whose text is written once, by the front end."""
    run = session()

    def act() -> None:
        from ktstr.commands import reports

        getattr(reports, name)(run)

    return {"actions": [_guarded(run, name, act)], "io": {"capture": False}, "doc": TASKS[name].doc}


def task_tools() -> Iterator[Task]:
    """the private QEMU and BPF tools"""
    yield from _builds("tools")


def task_vmm() -> Iterator[Task]:
    """the virtual machine monitor that runs guests on KVM"""
    yield from _builds("vmm")


def task_agent() -> Iterator[Task]:
    """the static guest agent"""
    yield from _builds("agent")


def task_source() -> Iterator[Task]:
    """kernel sources, fetched and unpacked"""
    yield from _builds("source")


def task_kernel() -> Iterator[Task]:
    """kernels in the cache, ready to boot"""
    yield from _builds("kernel")


def task_kernel_list() -> Task:
    """what is in the kernel cache"""
    return _report("kernel_list")


def task_kernel_build() -> Task:
    """fetch and build one kernel, or a range of releases"""
    run = session()
    names = [step.task("kernel") for step in run.plan.steps["kernel"]] if run.plan else []
    return {"actions": None, "task_dep": names, "doc": TASKS["kernel_build"].doc}


def task_kernel_clean() -> Task:
    """remove kernels from the cache"""
    return _report("kernel_clean")


def task_scheduler() -> Iterator[Task]:
    """scheduler binaries"""
    yield from _builds("scheduler")


def task_image() -> Iterator[Task]:
    """guest images: agent, scheduler and libraries"""
    yield from _builds("image")


def task_cell() -> Iterator[Task]:
    """the runs themselves, one VM each"""
    yield _group("cell")
    run = session()
    if run.plan is None:
        return
    from ktstr.cells.cell import run_cell, stands

    asked = any(word.partition(":")[0] in ("test", "cell") for word in run.words)
    for cell in run.plan.cells:
        yield {
            "basename": "cell",
            "name": cell.name,
            "actions": [_guarded(run, f"cell:{cell.name}", partial(run_cell, run, cell))],
            "task_dep": list(cell.point.needs),
            "uptodate": [asked and stands(run, cell)],
            "io": {"capture": False},
        }


def task_test() -> Task:
    """run the declared cells and judge the scheduler"""
    run = session()
    names = [f"cell:{cell.name}" for cell in run.plan.cells] if run.plan else []
    return {"actions": None, "task_dep": names, "doc": TASKS["test"].doc}


def task_stats_list() -> Task:
    """run directories, newest first"""
    return _report("stats_list")


def task_show_thresholds() -> Task:
    """a test's merged thresholds"""
    return _report("show_thresholds")


def task_doctor() -> Task:
    """what this host can do, and the fix for what it cannot"""
    return _report("doctor")


def task_locks() -> Task:
    """who holds which lock of ktstr on this host"""
    return _report("locks")


def task_lab() -> Task:
    """run a command on a machine with a real KVM, emulated"""
    return _report("lab")
