"""Variables: the command line wins over the environment, and every mistake is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.commands import kernel_build
from ktstr.commands.declare.command import Command
from ktstr.commands.declare.registry import builtin_commands
from ktstr.commands.declare.variables import read_options, refuse_unknown, variables_of
from ktstr.errors import InputError
from ktstr.options import Shard, TestOptions, seconds, shard


def read(given: dict[str, list[str]], environ: dict[str, str] | None = None) -> TestOptions:
    return read_options(TestOptions, given, environ or {})


def refuse(name: str) -> None:
    every = (name for command in builtin_commands().values() for name in variables_of(command.options))
    refuse_unknown((name,), variables_of(TestOptions), "test", (*every, "slow"))


def test_list_variables_take_commas_and_repeats() -> None:
    assert read({"kernel": ["a,b", "c"]}).graph.select.kernel == ("a", "b", "c")


def test_scalar_given_twice_is_an_error() -> None:
    with pytest.raises(InputError, match=r"jobs=: given 2 times \(1, 2\), expected once"):
        read({"jobs": ["1", "2"]})


def test_environment_is_the_default_and_the_command_line_wins() -> None:
    assert read({}, {"KTSTR_JOBS": " 3 "}).graph.running.jobs == 3
    assert read({"jobs": ["2"]}, {"KTSTR_JOBS": "3"}).graph.running.jobs == 2


def test_blank_environment_counts_as_unset() -> None:
    assert read({}, {"KTSTR_JSON": "  "}).testing.json is False


def test_bad_environment_value_names_the_environment_variable() -> None:
    with pytest.raises(InputError, match=r"KTSTR_JOBS: found 'many', expected a whole number"):
        read({}, {"KTSTR_JOBS": "many"})


def test_misspelt_variable_gets_its_nearest_match_and_exit_2() -> None:
    with pytest.raises(InputError, match=r"kernle=: .*nearest match 'kernel'") as caught:
        refuse("kernle")
    assert caught.value.exit_code == 2


def test_variable_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"slow=: the task test takes no variable 'slow'"):
        refuse("slow")


def test_empty_list_item_is_an_error() -> None:
    with pytest.raises(InputError, match="kernel="):
        read({"kernel": ["a,,b"]})


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("250ms", 0.25), ("1h", 3600.0)]
)
def test_durations_are_seconds(text: str, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-1", "5x", "s", "1 s"])
def test_bad_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@given(st.integers(1, 999), st.integers(1, 999))
def test_shard_holds_exactly_when_i_is_within_n(i: int, n: int) -> None:
    if i <= n:
        assert shard(f"{i}/{n}") == Shard(i, n)
        assert str(shard(f"{i}/{n}")) == f"{i}/{n}"
    else:
        with pytest.raises(ValueError, match="i/n"):
            shard(f"{i}/{n}")


@pytest.mark.parametrize("command", builtin_commands().values(), ids=lambda command: str(command.name))
def test_every_command_has_its_defaults_without_any_input(command: Command[Any]) -> None:
    assert read_options(command.options, {}, {}) == command.options()


def test_one_way_of_saying_it_silences_the_environment_of_the_others() -> None:
    assert read({"seed": ["3"]}, {"KTSTR_SEEDS": "1..9"}).graph.select.seeds == ()
    assert read({}, {"KTSTR_SEEDS": "1..9"}).graph.select.seeds == ("1..9",)
    environ = {"KTSTR_KERNEL": "6.12", "KTSTR_GIT": "https://x", "KTSTR_REF": "main"}
    made = read_options(kernel_build.Options, {"version": ["6.14"]}, environ)
    assert (made.version, made.kernel, made.git, made.ref) == ("6.14", (), None, None)


def test_an_unknown_choice_gets_its_nearest_match() -> None:
    with pytest.raises(InputError, match=r"accel=: found 'icuont', expected auto, kvm, icount or tcg; nearest: icount"):
        read({"accel": ["icuont"]})
