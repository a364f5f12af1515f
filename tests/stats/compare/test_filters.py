"""Filters: any value of a variable, all variables; against the same, row by row."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.stats.compare.dims import DIMENSIONS
from ktstr.stats.compare.filters import Filters, contains, select
from tests.stats.compare.pools import Row, pool, row


def kernels(*versions: str | None) -> pd.DataFrame:
    return pool(*(row(kernel_version=version) for version in versions)).runs


def picked(runs: pd.DataFrame, **filters: tuple[str, ...]) -> list[int]:
    return list(select(runs, Filters(**filters)).index)


def test_no_filter_takes_every_run_in_its_order() -> None:
    runs = kernels("6.2", None, "6.1")
    assert picked(runs) == [0, 1, 2]


def test_two_numbers_are_a_series_of_kernels() -> None:
    runs = kernels("6.14.2", "6.140", "6.14", "6.14-rc3", "6.1", "6.10.0", "16.14", None)
    assert picked(runs, kernel=("6.14",)) == [0, 2, 3]
    assert picked(runs, kernel=("6.1",)) == [4]


@pytest.mark.parametrize("wanted", ["6.14.2", "6", "6.14.", ".14", "6.14-rc1", "six.14"])
def test_any_other_text_of_a_kernel_is_exact(wanted: str) -> None:
    assert picked(kernels("6.14.2", "6.14.20", "6.14", "6", "6.14-rc1", "6.14-rc10"), kernel=(wanted,)) == [
        at for at, one in enumerate(["6.14.2", "6.14.20", "6.14", "6", "6.14-rc1", "6.14-rc10"]) if one == wanted
    ]


def test_prefixes_of_other_dimensions_match_nothing() -> None:
    runs = pool(row(scheduler="scx_ktstr", project_commit="abc1234-dirty")).runs
    assert picked(runs, scheduler=("scx",)) == []
    assert picked(runs, project_commit=("abc1234",)) == []
    assert picked(runs, project_commit=("abc1234-dirty",)) == [0]


def test_values_of_one_variable_are_or_and_variables_are_and() -> None:
    runs = pool(row(scheduler="a"), row(scheduler="b", topology="x"), row(scheduler="c", topology="x")).runs
    assert picked(runs, scheduler=("a", "b")) == [0, 1]
    assert picked(runs, scheduler=("a", "b"), topology=("x",)) == [1]


@pytest.mark.parametrize("dim", [dim.name for dim in DIMENSIONS])
def test_a_run_that_has_none_matches_no_value(dim: str) -> None:
    column = next(one.column for one in DIMENSIONS if one.name == dim)
    runs = pool(Row({}, {column: None})).runs
    for value in ("None", "nan", "<NA>", "", "0"):
        assert picked(runs, **{dim: (value,)}) == []


def test_a_budget_is_a_decimal_number() -> None:
    runs = pool(row(cpu_budget=4), row(cpu_budget=14), row(cpu_budget=None)).runs
    assert picked(runs, cpu_budget=("4",)) == [0]
    assert picked(runs, cpu_budget=("04",)) == []


def test_a_sides_own_values_replace_the_shared_ones() -> None:
    own, shared = Filters(kernel=("6.15",)), Filters(kernel=("6.14", "6.13"), scheduler=("a",))
    assert own.over(shared) == Filters(kernel=("6.15",), scheduler=("a",))


def test_the_text_is_searched_in_four_words_and_no_others() -> None:
    runs = pool(row(test_name="t1", topology="1n", scheduler="scx", work_type="Spin", kernel_version="6.1")).runs
    for text in ("t1 1n scx Spin", "cx Sp", "t1"):
        assert list(contains(runs, text)) == [True]
    for text in ("6.1", "scx.Spin", "t1  1n"):
        assert list(contains(runs, text)) == [False]
    assert list(contains(runs, None)) == [True]


WORDS = ["a", "ab", "a-dirty", "", "6.1", "6.14", "6.14.2", "6.140", "6.14-rc1", "6.1.9", "4"]
COUNTS = st.one_of(st.none(), st.integers(1, 9))
VALUES = st.one_of(st.none(), st.sampled_from(WORDS))


def slow_match(columns: dict[str, Any], filters: dict[str, tuple[str, ...]]) -> bool:
    """What the specification says, one run and one value at a time."""
    for dim in DIMENSIONS:
        wanted, value = filters[dim.name], columns[dim.column]
        if not wanted:
            continue
        if value is None:
            return False
        text = str(value)
        hits = [text == one for one in wanted]
        if dim.name == "kernel":
            for one in wanted:
                if re.fullmatch(r"\d+\.\d+", one):
                    hits.append(text.startswith((one + ".", one + "-")))
        if not any(hits):
            return False
    return True


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                d.column: st.one_of(st.none(), st.integers(1, 9)) if d.name == "cpu_budget" else VALUES
                for d in DIMENSIONS
            }
        ),
        max_size=12,
    ),
    filters=st.fixed_dictionaries({dim.name: st.lists(st.sampled_from(WORDS), max_size=2) for dim in DIMENSIONS}),
)
def test_selection_is_the_specifications(rows: list[dict[str, Any]], filters: dict[str, list[str]]) -> None:
    wanted = {name: tuple(values) for name, values in filters.items()}
    runs = pool(*(Row({}, columns) for columns in rows)).runs
    assert picked(runs, **wanted) == [at for at, columns in enumerate(rows) if slow_match(columns, wanted)]
