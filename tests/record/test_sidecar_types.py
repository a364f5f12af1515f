"""The types and the JSON Schema of a sidecar accept and refuse the same documents."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.record.codec import DecodeError, decode, encode
from ktstr.record.sidecar import Sidecar
from tests.results.cells import document, sidecar
from tests.results.test_sidecar import PERFORMANCE

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/sidecar.schema.json").read_text())
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)


def full() -> dict[str, Any]:
    """A document with an object in every place that may hold one."""
    whole = document(sidecar(accel="kvm"))
    whole["host_dilation"] = 1.25
    whole["host"] = {
        "cpu_model": "x", "online_cpus": 2, "sched_tunables": {"a": "1"}, "cpufreq_governor": {"0": "powersave"},
        "heap_state": dict.fromkeys(
            ("active_bytes", "allocated_bytes", "resident_bytes", "mapped_bytes", "narenas"), 1
        ),
    }  # fmt: skip
    whole["kvm_stats"] = {"per_vcpu": [{"exits": 1}]}
    whole["kvm_run"] = {
        "vcpu_threads": [{"run_ns": 1, "run_delay_ns": 2}], "halt_poll_ns": 3, "overcommit": 1.5, "cloned": True,
        "boot_ms": 4.5, "performance_mode": PERFORMANCE, "warnings": ["w"],
    }  # fmt: skip
    whole["reasons"] = [
        {"verdict": "fail", "kind": "Stuck", "message": "m", "cgroup": "c", "worker": 1, "value": 2.5, "limit": 2}
    ]
    whole["metrics"] = [{"payload_index": 0, "exit_code": -1, "name": "bench", "metrics": [
        {"name": "n", "value": 1, "polarity": polarity, "unit": "", "source": "Json", "stream": "Stdout"}
        for polarity in ("LowerBetter", {"TargetValue": 2.5})
    ]}]  # fmt: skip
    whole["verifier_stats"] = [{"name": "p", "verified_insns": 9}]
    whole["perf_delta_assertions"] = [
        {"metric": "m", "direction": "LowerBetter", "max_regression_pct": 5, "min_abs": 0.5, "phase": 1}
    ]
    definitions = SCHEMA["$defs"]
    numbers = {name: dict.fromkeys(definitions[name]["required"], 1) for name in ("EventDeltas", "SchedstatDeltas")}
    whole["monitor"] = {
        **dict.fromkeys(definitions["Monitor"]["required"], 1),
        "event_deltas": numbers["EventDeltas"], "schedstat_deltas": {**numbers["SchedstatDeltas"], "wall_sec": 0.5},
        "prog_stats_deltas": [{"name": "p", "cnt": 1, "nsecs": 2, "nsecs_per_call": 2}],
    }  # fmt: skip
    return whole


FULL = full()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(path: tuple[Any, ...], value: Any, *, drop: bool = False) -> dict[str, Any]:
    whole = copy.deepcopy(FULL)
    at: Any = whole
    for key in path[:-1]:
        at = at[key]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return whole


def accepted(whole: Any) -> bool:
    try:
        decode(Sidecar, whole)
    except DecodeError:
        return False
    return True


PLACES = places(FULL)[1:]
# Fractions of numbers come apart: the schema takes 2.0 for an integer.
SCALARS = st.none() | st.booleans() | st.integers(-5, 600) | st.sampled_from([0.5, -0.5, 100.5, 2**64 - 1])
WORDS = st.sampled_from(["", "x", "pass", "skip", "kvm", "ci", "Stuck", "BASELINE", "abc1234", "1n1l1c1t", "0" * 16])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0", "a", "seed"]), inner, max_size=2),
    max_leaves=4,
)


def test_a_full_document_is_accepted_by_both_and_written_as_it_was() -> None:
    assert VALIDATOR.is_valid(FULL)
    assert encode(decode(Sidecar, FULL)) == json.loads(json.dumps(FULL), object_hook=_tuples)


def _tuples(found: dict[str, Any]) -> dict[str, Any]:
    """Arrays as what the types make of them."""
    return {key: _tuple(value) for key, value in found.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


@given(st.sampled_from(PLACES))
def test_without_any_one_thing_both_say_the_same(path: tuple[Any, ...]) -> None:
    whole = changed(path, None, drop=True)
    assert accepted(whole) == VALIDATOR.is_valid(whole)


@settings(max_examples=400)
@given(st.sampled_from(PLACES), VALUES)
def test_with_anything_in_any_place_both_say_the_same(path: tuple[Any, ...], value: Any) -> None:
    whole = changed(path, value)
    assert accepted(whole) == VALIDATOR.is_valid(whole)


@given(st.sampled_from([path for path in places(FULL) if not path or isinstance(path[-1], (str, int))]))
def test_with_one_key_more_both_say_the_same(path: tuple[Any, ...]) -> None:
    whole = copy.deepcopy(FULL)
    at: Any = whole
    for key in path:
        at = at[key]
    if isinstance(at, dict):
        at["brand_new"] = 1
    assert accepted(whole) == VALIDATOR.is_valid(whole)
