"""Names are replaced, metrics stay, and the same seed gives the same document."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.results.funify import KEPT, KEPT_ENDINGS, funify, hash_key, is_kept
from ktstr.results.nicknames import ADJECTIVES, ANIMALS, nickname
from ktstr.results.siphash import siphash128
from tests.results.cells import document, sidecar

KEY = hash_key("seed")
U32, U64 = 2**32 - 1, 2**64 - 1


def of(key: str, value: Any) -> Any:
    return funify({key: value}, KEY)[key]


def test_there_are_256_different_words_of_each_kind() -> None:
    for words in (ADJECTIVES, ANIMALS):
        assert len(words) == len(set(words)) == 256
        assert all(word.isascii() and word.islower() and word.isalpha() for word in words)


def test_text_becomes_the_words_of_two_low_bytes_of_the_keyed_hash() -> None:
    digest = siphash128(b"comm\0bash", KEY)
    assert of("comm", "bash") == nickname(digest & 255, digest >> 8 & 255)


def test_a_number_becomes_the_low_64_bits_of_the_keyed_hash() -> None:
    assert of("pid", 17) == siphash128(b"pid\x0017", KEY) & U64


def test_the_key_is_of_the_seed_alone_and_fresh_without_one() -> None:
    assert hash_key("a") == hash_key("a") != hash_key("b")
    assert len(hash_key("a")) == len(hash_key(None)) == 16
    assert hash_key(None) != hash_key(None)


@pytest.mark.parametrize("value", [0, U64])
def test_none_and_all_stay(value: int) -> None:
    assert of("pid", value) == value


def test_a_negative_number_stays_negative_and_within_63_bits() -> None:
    assert -(2**63) < of("delta", -5) < 0
    assert of("delta", -5) == -(siphash128(b"delta\x00-5", KEY) & (2**63 - 1))


@pytest.mark.parametrize(
    "key", ["cpu_id", "uid", "gid", "euid", "egid", "suid", "sgid", "fsuid", "fsgid", "x_u32", "x_u32_id"]
)
def test_numbers_of_32_bits_stay_so(key: str) -> None:
    assert of(key, 1000) == siphash128(f"{key}\x001000".encode(), KEY) & U32
    assert (of(key, 0), of(key, U32)) == (0, U32)


@pytest.mark.parametrize("value", [1.5, -0.0, True, False, None])
def test_fractions_flags_and_null_stay(value: object) -> None:
    assert of("name", value) is value


@pytest.mark.parametrize(
    "key",
    ["schema", "verdict", "nr_running", "numa_interleave_hit", "reenq_immed", "sub_bypass_dispatch", "verified_insns",
     "branch_misses", "rq_clock", "signal_nivcsw", "cpuset_cpus", "total_count", "run_ns", "x_p99", "wall_sec",
     "a_per_sec", "exit_kind"],
)  # fmt: skip
def test_what_is_known_as_a_metric_stays(key: str) -> None:
    assert of(key, [17, "text"]) == [17, "text"]


@pytest.mark.parametrize("key", ["count", "ns", "counts", "nss", "Verdict", "name", "p99", ""])
def test_all_else_is_replaced(key: str) -> None:
    assert not is_kept(key)
    assert of(key, "text") != "text"


def test_the_lists_have_their_documented_sizes() -> None:
    assert len(KEPT) == 79
    assert len(KEPT_ENDINGS) == 58


def test_an_array_is_judged_by_its_key_and_an_object_by_each_of_its_own() -> None:
    found = funify({"names": ["a", ["a"]], "sizes_bytes": [{"name": "a", "x_ns": 5}, 7]}, KEY)
    assert found["names"] == [of("names", "a"), [of("names", "a")]]
    assert found["sizes_bytes"] == [{"name": of("name", "a"), "x_ns": 5}, 7]


def test_equal_values_of_one_key_are_alike_and_of_two_keys_are_not() -> None:
    first, again, other = funify([{"a": "x"}, {"a": "x"}, {"b": "x"}], KEY)
    assert first == again
    assert first["a"] != other["b"]


def test_a_document_may_be_one_value() -> None:
    assert funify("x", KEY) == nickname(*(siphash128(b"\0x", KEY) >> shift & 255 for shift in (0, 8)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """The document without what may be replaced."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@given(JSON, st.text())
def test_the_shape_stays_and_the_same_seed_gives_the_same_document(value: Any, seed: str) -> None:
    found = funify(value, hash_key(seed))
    assert shape(found) == shape(value)
    assert funify(value, hash_key(seed)) == found


def test_a_sidecar_keeps_its_metrics_and_loses_its_names() -> None:
    whole = document(sidecar())
    found = funify(whole, KEY)
    assert found["stats"]["worst_gap_ms"] == whole["stats"]["worst_gap_ms"]
    assert found["test_name"] != whole["test_name"]
    assert found["stats"]["cgroups"][0]["cgroup_name"] != whole["stats"]["cgroups"][0]["cgroup_name"]
