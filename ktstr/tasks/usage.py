"""What ``doit``, ``doit list`` and ``doit help TASK`` print, made from the commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ktstr import __version__
from ktstr.columns import beside
from ktstr.commands.declare.command import Command
from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import environment_name, variables_of
from ktstr.config.project import current_dir, find_project, find_root
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.options import Variable
from ktstr.tasks.namespace import Namespace, load_namespace

DOIT_COMMANDS = ("list", "help", "clean", "info", "forget", "ignore", "dumpdb", "strace", "tabcompletion", "reset-dep")


def listing(namespace: Namespace) -> str:
    """Every task of a project, grouped, one line each."""
    groups: dict[str, dict[str, str]] = {}
    for command in namespace.commands.values():
        groups.setdefault(command.group, {})[command.name] = command.doc
    for name, doc in namespace.descriptions.items():
        if name not in namespace.commands:
            groups.setdefault("This project's own", {})[name] = doc
    lines: list[str] = []
    for group, docs in groups.items():
        lines += [f"{group}:", *(line for name, doc in docs.items() for line in beside(f"  {name}", doc, 24))]
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


def help_text(words: Sequence[str]) -> str:
    """The help of each task, or the usage without one. Raises InputError for a task nobody knows."""
    if not words:
        return usage()
    known = dict(builtin_commands())
    if any(word not in known for word in words):
        known |= _own_commands()
    return "\n\n".join(task_help(word, known) for word in words)


def _own_commands() -> Mapping[str, Command[Any]]:
    """Those of the project around us, if there is one."""
    root = find_root(current_dir())
    return {} if root is None else load_namespace(find_project(root, os.environ)).commands


def _default(var: Variable) -> str:
    if var.kind.many or var.default is None:
        return ""
    if isinstance(var.default, bool):
        return f" [default {int(var.default)}]"
    return f" [default {var.default}]"


def task_help(name: str, commands: Mapping[str, Command[Any]]) -> str:
    """A task's variables with type, default and environment name. Raises InputError when unknown."""
    command = commands.get(name)
    if command is None:
        raise unknown_task(name, commands)
    lines = [f"doit {command.name}: {command.doc}", ""]
    variables = variables_of(command.options)
    for name, var in variables.items():
        origin = f" ({environment_name(name)})" if var.environment else ""
        text = f"{var.kind.name}: {var.help}{_default(var)}{origin}"
        lines += beside(f"  {name}=", text, 22)
    return "\n".join(lines if variables else [*lines, "  takes no variables"])


def unknown_task(name: str, known: Iterable[str]) -> InputError:
    """The error for a task nobody knows, with the nearest match."""
    hint = nearest(name.split(":")[0], tuple(known))
    return InputError(
        f"{name}: found no task of that name" + (f", nearest match {hint!r}" if hint else ""), fix="doit list"
    )
