from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.kernels.version import Version, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("6.14", Version(6, 14)),
        ("6.14.2", Version(6, 14, 2)),
        ("6.15-rc3", Version(6, 15, None, 3)),
        ("6.14.2-rc1", Version(6, 14, 2, 1)),
        ("5.4.0", Version(5, 4, 0)),
    ],
)
def test_versions_are_read(text: str, version: Version) -> None:
    assert parse_version(text) == version and str(version) == text


@pytest.mark.parametrize(
    "text",
    [*"\n6", "", "v6.14", "6.14.2.3", "6.14-rc", "6.14-rcX", ".14", "6.", "abc", "6.014", "6.14\n", "٦.١٤", "6.-1"],
)
def test_anything_else_is_no_version(text: str) -> None:
    assert parse_version(text) is None


def test_releases_come_after_their_candidates_and_numbers_are_no_text() -> None:
    ascending = ["5.4.0", "6.9", "6.9.1", "6.10-rc1", "6.10-rc9", "6.10-rc10", "6.10", "6.10.2", "6.10.10", "6.11-rc1"]
    orders = [version.order for text in ascending if (version := parse_version(text))]
    assert len(orders) == len(ascending)
    assert orders == sorted(orders) and len(set(orders)) == len(orders)


def test_the_first_release_has_one_order_in_both_spellings() -> None:
    assert Version(6, 10).order == Version(6, 10, 0).order


@pytest.mark.parametrize(("text", "prefix"), [("6.14", True), ("6.14.0", False), ("6.15-rc1", False)])
def test_two_numbers_name_a_series(text: str, prefix: bool) -> None:
    version = parse_version(text)
    assert version is not None and version.is_prefix is prefix and version.series == text[:4]


_NUMBER = st.integers(0, 999_999)


@given(st.builds(Version, _NUMBER, _NUMBER, st.none() | _NUMBER, st.none() | _NUMBER))
def test_a_version_survives_printing_and_reading(version: Version) -> None:
    assert parse_version(str(version)) == version


@given(st.text(alphabet="0123456789.-rcv", max_size=12))
def test_what_is_read_prints_as_it_was_written(text: str) -> None:
    version = parse_version(text)
    assert version is None or str(version) == text
