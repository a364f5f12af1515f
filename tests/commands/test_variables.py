"""Variables: the command line wins over the environment, and every mistake is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.commands.variables import VARIABLES, read_variables, seconds, shard
from ktstr.errors import InputError

ALLOWED = ("kernel", "seeds", "jobs", "json", "timeout", "shard", "accel")


def read(given: dict[str, list[str]], environ: dict[str, str] | None = None) -> dict[str, object]:
    return dict(read_variables(given, ALLOWED, "test", environ or {}))


def test_list_variables_take_commas_and_repeats() -> None:
    assert read({"kernel": ["a,b", "c"]})["kernel"] == ("a", "b", "c")


def test_scalar_given_twice_is_an_error() -> None:
    with pytest.raises(InputError, match=r"jobs=: given 2 times \(1, 2\), expected once"):
        read({"jobs": ["1", "2"]})


def test_environment_is_the_default_and_the_command_line_wins() -> None:
    assert read({}, {"KTSTR_JOBS": " 3 "})["jobs"] == 3
    assert read({"jobs": ["2"]}, {"KTSTR_JOBS": "3"})["jobs"] == 2


def test_blank_environment_counts_as_unset() -> None:
    assert read({}, {"KTSTR_JSON": "  "})["json"] is False


def test_bad_environment_value_names_the_environment_variable() -> None:
    with pytest.raises(InputError, match=r"KTSTR_JOBS: found 'many', expected a whole number"):
        read({}, {"KTSTR_JOBS": "many"})


def test_misspelt_variable_gets_its_nearest_match_and_exit_2() -> None:
    with pytest.raises(InputError, match=r"kernle=: .*nearest match 'kernel'") as caught:
        read({"kernle": ["6.12"]})
    assert caught.value.exit_code == 2


def test_variable_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"slow=: the task test takes no variable 'slow'"):
        read({"slow": ["1"]})


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
        assert shard(f"{i}/{n}") == f"{i}/{n}"
    else:
        with pytest.raises(ValueError, match="i/n"):
            shard(f"{i}/{n}")


def test_every_variable_parses_or_defaults() -> None:
    values = read_variables({}, tuple(VARIABLES), "test", {})
    assert set(values) == set(VARIABLES)
