from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import HostError, InputError
from ktstr.kernels.releases import (
    Release,
    active_series,
    expand_range,
    latest_stable,
    newest_of_series,
    parse_releases,
)
from ktstr.kernels.version import Version, parse_version


def row(moniker: str, version: str, eol: bool = False) -> dict[str, Any]:
    return {"moniker": moniker, "version": version, "iseol": eol, "gitweb": None, "released": {"timestamp": 1}}


# In the order of kernel.org's own file: newest first.
ROWS = [
    row("mainline", "6.16-rc3"),
    row("stable", "6.15.3"),
    row("stable", "6.14.12", eol=True),
    row("longterm", "6.12.34"),
    row("longterm", "6.6.94"),
    row("longterm", "5.4.295"),
    row("linux-next", "next-20250620"),
]


def parsed(rows: list[dict[str, Any]] = ROWS) -> tuple[Release, ...]:
    return parse_releases(json.dumps({"latest_stable": {"version": "6.15.3"}, "releases": rows}).encode())


def version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None
    return found


def texts(start: str, end: str, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return [str(found) for found in expand_range(parsed(rows), version(start), version(end))]


def test_rows_keep_their_order_and_linux_next_is_left_out() -> None:
    found = [(release.moniker, str(release.version), release.eol) for release in parsed()]
    assert found == [
        ("mainline", "6.16-rc3", False),
        ("stable", "6.15.3", False),
        ("stable", "6.14.12", True),
        ("longterm", "6.12.34", False),
        ("longterm", "6.6.94", False),
        ("longterm", "5.4.295", False),
    ]


def test_rows_of_another_shape_are_passed_over() -> None:
    odd: list[Any] = [None, 7, [], {}, {"moniker": 1, "version": "6.1"}, {"moniker": "stable", "version": None}]
    assert [str(release.version) for release in parsed([*odd, row("stable", "6.1.9")])] == ["6.1.9"]


def test_a_file_without_any_known_row_is_no_empty_answer() -> None:
    with pytest.raises(HostError, match="found 1 releases, none in a known form"):
        parsed([{"name": "6.1"}])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"releases": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"releases": {}}',
        b'{"releases": 1, "releases": []}',
    ],
)
def test_another_file_is_refused(raw: bytes) -> None:
    with pytest.raises(HostError, match="found no array of releases"):
        parse_releases(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.sampled_from(["stable", "6.1.9", "version", "moniker"]),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["releases", "version", "moniker"]), inner),
    )
)
def test_any_json_is_rows_or_a_host_error(value: Any) -> None:
    try:
        rows = parse_releases(json.dumps({"releases": value}).encode())
    except HostError:
        return
    assert all(isinstance(release, Release) for release in rows)


def test_stable_is_the_newest_series_with_eight_maintenance_releases() -> None:
    assert str(latest_stable(parsed())) == "6.14.12"  # 6.15 has had three
    assert str(latest_stable(parsed([row("stable", "6.15.7"), row("longterm", "6.12.8")]))) == "6.12.8"
    assert str(latest_stable(parsed([row("stable", "6.15.8"), row("longterm", "6.12.8")]))) == "6.15.8"


def test_no_series_with_eight_maintenance_releases_is_an_error() -> None:
    with pytest.raises(HostError, match="patch >= 8"):
        latest_stable(parsed([row("stable", "6.15.7"), row("stable", "6.14"), row("mainline", "6.16.9")]))


@pytest.mark.parametrize(
    ("prefix", "newest"), [("6.12", "6.12.34"), ("5.4", "5.4.295"), ("6.16", None), ("6.1", None), ("6.13", None)]
)
def test_a_series_means_its_newest_release_and_never_a_candidate(prefix: str, newest: str | None) -> None:
    found = newest_of_series(parsed(), version(prefix))
    assert (None if found is None else str(found)) == newest


def test_the_newest_is_so_by_number_and_may_be_mainline() -> None:
    rows = [row("stable", "6.9.9"), row("stable", "6.9.10"), row("mainline", "6.10")]
    assert str(newest_of_series(parsed(rows), version("6.9"))) == "6.9.10"
    assert str(newest_of_series(parsed(rows), version("6.10"))) == "6.10"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("6.6", "6.15", ["6.6.94", "6.12.34", "6.14.12"]),  # 6.15 is 6.15.0, before 6.15.3
        ("6.6", "6.17", ["6.6.94", "6.12.34", "6.14.12", "6.15.3"]),  # no mainline candidate
        ("6.12.34", "6.12.34", ["6.12.34"]),
        ("6.12.35", "6.14.12", ["6.14.12"]),
        ("5.4.295", "6.6.93", ["5.4.295"]),
    ],
)
def test_range_expands_to_stable_and_longterm_only_ascending(start: str, end: str, expected: list[str]) -> None:
    assert texts(start, end) == expected


def test_a_release_listed_twice_is_in_a_range_once() -> None:
    assert texts("6.1", "6.2", [row("stable", "6.1.9"), row("longterm", "6.1.9")]) == ["6.1.9"]


def test_an_empty_range_says_what_would_not_be() -> None:
    with pytest.raises(InputError, match="expanded to 0") as caught:
        texts("6.15", "6.15.2")
    assert "6.15..6.15.3" in str(caught.value)


def test_ended_series_are_not_active() -> None:
    assert active_series(parsed()) == {"6.16", "6.15", "6.12", "6.6", "5.4"}
