"""What ``doit``, ``doit list`` and ``doit help TASK`` print, made from the tables."""

from __future__ import annotations

from collections.abc import Iterable

from ktstr import __version__
from ktstr.commands.variables import VARIABLES, Variable
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.tasks.table import TASKS, TaskInfo

_WIDTH = 80


def _wrap(head: str, text: str, column: int) -> list[str]:
    """``head`` padded to ``column``, then ``text`` folded to the width beside it."""
    lines, line = [], head.ljust(column)
    if len(head) >= column:
        lines, line = [head], " " * column
    for token in text.split():
        if len(line.rstrip()) >= column and len(line) + len(token) > _WIDTH:
            lines.append(line.rstrip())
            line = " " * column
        line += token + " "
    return [*lines, line.rstrip()]


def listing(there: dict[str, str] | None = None) -> str:
    """Every task, grouped, one line each. ``there``: the tasks of the project's dodo.py, when there is one."""
    groups: dict[str, list[TaskInfo]] = {}
    for info in TASKS.values():
        if there is None or info.name in there:
            groups.setdefault(info.group, []).append(info)
    lines: list[str] = []
    for group, infos in groups.items():
        lines += [f"{group}:", *(line for i in infos for line in _wrap(f"  {i.name}", i.doc, 20))]
    own = {name: doc for name, doc in (there or {}).items() if name not in TASKS}
    if own:
        lines += ["This project's own:", *(line for n, d in own.items() for line in _wrap(f"  {n}", d, 20))]
    return "\n".join(lines)


def usage() -> str:
    """The first thing a user sees."""
    return "\n".join(
        (
            f"ktstr {__version__}: tests Linux process schedulers on kernels and topologies you do not own",
            "",
            "  doit test                          run everything ktstr.yaml declares",
            "  doit test kernel=PATH 'test=cpu*'  some of it, on another kernel",
            "  doit test dry_run=1                what would run, and why",
            "  doit list                          every task",
            "  doit help TASK                     its variables",
            "  doit doctor                        what this host can do",
        )
    )


def _default(var: Variable) -> str:
    if var.many or var.default is None:
        return ""
    if isinstance(var.default, bool):
        return f" [default {int(var.default)}]"
    return f" [default {var.default}]"


def task_help(name: str) -> str:
    """A task's variables with type, default and environment name. Raises InputError when unknown."""
    info = TASKS.get(name)
    if info is None:
        raise unknown_task(name)
    lines = [f"doit {info.name}: {info.doc}", ""]
    for variable in info.variables:
        var = VARIABLES[variable]
        lines += _wrap(f"  {var.name}=", f"{var.kind}: {var.help}{_default(var)} ({var.env})", 22)
    return "\n".join(lines if info.variables else [*lines, "  takes no variables"])


def unknown_task(name: str, known: Iterable[str] = TASKS) -> InputError:
    """The error for a task nobody knows, with the nearest match."""
    hint = nearest(name.split(":")[0], tuple(known))
    return InputError(
        f"{name}: found no task of that name" + (f", nearest match {hint!r}" if hint else ""), fix="doit list"
    )
