"""What the front end prints about itself fits a terminal and names everything once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import environment_name, variables_of
from ktstr.errors import InputError
from ktstr.tasks.namespace import Namespace
from ktstr.tasks.usage import DOIT_COMMANDS, help_text, listing, task_help, unknown_task, usage

TASKS = builtin_commands()


def mine() -> None:
    """a task of the user's own"""


def test_list_fits_80_columns_and_describes_every_task() -> None:
    lines = listing(Namespace(TASKS, {"task_mine": mine}, Path())).splitlines()
    assert max(len(line) for line in lines) <= 80
    described = {line.split()[0] for line in lines if line.startswith("  ") and line.split()[1:]}
    assert described >= set(TASKS) | {"mine"}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_help_of_each_task_names_its_variables_with_their_environment(task: str) -> None:
    text = task_help(task, TASKS)
    assert max(len(line) for line in text.splitlines()) <= 80
    for name, var in variables_of(TASKS[task].options).items():
        assert f"{name}=" in text
        assert (f"({environment_name(name)})" in text.split()) == var.environment


def test_usage_fits_80_columns() -> None:
    assert max(len(line) for line in usage().splitlines()) <= 84


def test_unknown_task_gets_its_nearest_match() -> None:
    with pytest.raises(InputError, match="nearest match 'test'"):
        help_text(["tset"])
    assert unknown_task("kernle:x", TASKS).exit_code == 2


def test_no_task_has_the_name_of_a_doit_command() -> None:
    assert not set(TASKS) & {*DOIT_COMMANDS, "run"}
