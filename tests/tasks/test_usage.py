"""What the front end prints about itself fits a terminal and names everything once."""

from __future__ import annotations

import pytest

from ktstr.commands.variables import VARIABLES
from ktstr.errors import InputError
from ktstr.tasks.table import DOIT_COMMANDS, TASKS
from ktstr.tasks.usage import listing, task_help, unknown_task, usage


def test_list_fits_80_columns_and_describes_every_task() -> None:
    lines = listing(dict.fromkeys(TASKS, "") | {"mine": "a task of the user's own"}).splitlines()
    assert max(len(line) for line in lines) <= 80
    described = {line.split()[0] for line in lines if line.startswith("  ") and line.split()[1:]}
    assert described >= set(TASKS) | {"mine"}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_help_of_each_task_names_its_variables_with_their_environment(task: str) -> None:
    text = task_help(task)
    assert max(len(line) for line in text.splitlines()) <= 80
    for name in TASKS[task].variables:
        assert f"{name}=" in text
        assert VARIABLES[name].env in text


def test_usage_fits_80_columns() -> None:
    assert max(len(line) for line in usage().splitlines()) <= 84


def test_unknown_task_gets_its_nearest_match() -> None:
    with pytest.raises(InputError, match="nearest match 'test'"):
        task_help("tset")
    assert unknown_task("kernle:x").exit_code == 2


def test_no_task_has_the_name_of_a_doit_command() -> None:
    assert not set(TASKS) & {*DOIT_COMMANDS, "run"}


def test_every_variable_a_task_takes_exists() -> None:
    assert {name for info in TASKS.values() for name in info.variables} <= set(VARIABLES)
