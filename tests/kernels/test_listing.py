"""What kernel_list says of a cache, in text and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from ktstr.host.cache import Cache
from ktstr.kernels import listing
from ktstr.kernels.cache import KIND
from tests.kernels.entries import add_corrupt, add_entry, kconfig

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/kernel_list.schema.json").read_text())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Three whole kernels, two damaged ones, and things beside them."""
    cache = Cache(tmp_path)
    add_entry(
        cache, "old", "2026-01-01T00:00:00Z", kernel_version="6.11.3", kconfig=kconfig("minimal", digest="0" * 64)
    )
    add_entry(cache, "new", "2026-03-01T00:00:00Z", kernel_version="6.12.9", kconfig=kconfig("minimal", "hz1000"))
    add_entry(cache, "prebuilt", "2026-02-01T00:00:00Z")
    add_corrupt(cache, "bad-b", '{"version": 2')
    add_corrupt(cache, "bad-a", None)
    (tmp_path / KIND / ".tmp-new-1234").mkdir()
    (tmp_path / "sources/6.12.9-tarball-0123").mkdir(parents=True)
    return cache


ACTIVE = frozenset({"6.12", "6.99"})  # 6.99 is what the made-up image calls itself


def shown(cache: Cache, active: frozenset[str] | None = ACTIVE, error: str | None = None) -> str:
    return listing.to_text(cache, listing.read_cache(cache), listing.leftovers(cache), active, error)


def test_the_newest_comes_first_and_damaged_ones_last(cache: Cache) -> None:
    rows = listing.read_cache(cache)
    assert [row.key for row in rows] == ["new", "prebuilt", "old", "bad-a", "bad-b"]
    assert [row.error_kind for row in rows] == ["", "", "", "missing", "truncated"]


def test_an_entry_under_another_name_than_its_own_is_damaged(cache: Cache) -> None:
    (cache.root / KIND / "new").rename(cache.root / KIND / "renamed")
    assert {row.key: row.error_kind for row in listing.read_cache(cache)}["renamed"] == "schema_drift"


def test_a_missing_image_is_its_own_kind_of_damage(cache: Cache) -> None:
    (cache.root / KIND / "new/vmlinux").unlink()
    assert {row.key: row.error_kind for row in listing.read_cache(cache)}["new"] == "image_missing"


def test_kconfig_is_compared_with_what_its_words_mean_today(cache: Cache) -> None:
    status = {row.key: listing.kconfig_status(row.entry.facts) for row in listing.read_cache(cache) if row.entry}
    assert status == {"new": "matches", "old": "stale", "prebuilt": "untracked"}


def test_a_series_that_is_not_active_has_ended_and_nobody_knows_without_a_list(cache: Cache) -> None:
    assert listing.is_eol("6.11.3", ACTIVE) is True
    assert listing.is_eol("6.12-rc3", ACTIVE) is False
    assert listing.is_eol("6.11.3", None) is None
    assert listing.is_eol("6.11.3", frozenset()) is None
    assert listing.is_eol(None, ACTIVE) is None


def test_the_text_has_a_line_for_each_and_explains_its_marks(cache: Cache) -> None:
    lines = shown(cache).splitlines()
    assert lines[0] == "new" and "6.12.9" in lines[1] and "2026-03-01T00:00:00Z" in lines[1]
    assert "(" not in lines[1]
    assert lines[3].endswith("(untracked kconfig)")
    assert lines[5].endswith("(stale kconfig) (EOL)")
    assert lines[6] == "bad-a" and lines[7].startswith("  (corrupt: missing:")
    assert max(len(line) for line in lines if str(cache.root) not in line) <= 80
    text = shown(cache)
    assert "(left by a killed process)" in text and "6.12.9-tarball-0123" in text
    assert "EOL: its series" in text and "2 corrupt: doit kernel_clean corrupt_only=1" in text


def test_without_the_list_of_releases_nothing_is_marked_eol_and_the_reason_is_told(cache: Cache) -> None:
    text = shown(cache, None, "no network")
    assert "(EOL)" not in text
    assert "EOL annotation disabled: no network" in text


def test_an_empty_cache_says_how_to_fill_it(tmp_path: Path) -> None:
    assert "doit kernel_build" in shown(Cache(tmp_path / "none"))


@pytest.mark.parametrize(("active", "error"), [(ACTIVE, None), (None, "no network")])
def test_json_is_as_its_schema_says_and_unknown_is_null(
    cache: Cache, active: frozenset[str] | None, error: str | None
) -> None:
    told = json.loads(listing.to_json(cache, listing.read_cache(cache), listing.leftovers(cache), active, error))
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    eol = {entry["key"]: entry.get("eol") for entry in told["entries"]}
    assert (eol["old"], eol["new"]) == ((True, False) if active else (None, None))
    assert told["total_bytes"] == sum(item["size_bytes"] for item in told["entries"] + told["unfinished"])
    assert [item["temporary"] for item in told["unfinished"]] == [True, False]


def test_a_range_is_printed_one_version_a_line_or_as_json() -> None:
    assert listing.range_text(["6.12.9", "6.13.4"]) == "6.12.9\n6.13.4\n"
    assert json.loads(listing.range_json("6.12..6.14", ["6.12.9"])) == {
        "range": "6.12..6.14", "start": "6.12", "end": "6.14", "versions": ["6.12.9"],
    }  # fmt: skip
