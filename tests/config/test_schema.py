from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from ktstr.config import fields, schema
from ktstr.config.scenario import CpusetKind

FILE = Path(__file__).parents[2] / "schemas/ktstr.schema.json"


def test_the_file_that_editors_read_is_the_one_made_from_the_tables() -> None:
    assert FILE.read_text() == schema.render(), "python -m ktstr.config.schema > schemas/ktstr.schema.json"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(FILE.read_text()))


def test_every_cpuset_kind_has_its_form() -> None:
    forms = set(schema.document()["$defs"]["cpuset"]["properties"]) - {"use"}
    assert forms - {"within"} == set(get_args(CpusetKind)) - {"all"}  # which is a word, within others only


def test_the_checks_are_the_nineteen_of_the_specification_and_ours() -> None:
    assert len(fields.CHECKS) == 20 + 6 + 2 + 6  # invariants of samples; DSQs and callbacks; cgroups, rates and the log


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kernels": {}, "tests": {"t": {"cgroups": [{"name": "a"}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": []}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a", "works": [{}], "workers": 2}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a", "burst": "5ms"}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a", "work": "PipeIo", "burst": "5ms"}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a", "cpuset": {"llc": 0, "numa": 0}}]}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}], "duration": 2}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}], "checks": {"max_gap": 2}}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}]}}, "schedulers": {"s": {}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}]}}, "schedulers": {"eevdf": {"path": "x"}}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}]}}, "presets": {"p": "4 cpus"}},
        {"kernels": {"k": "x"}, "tests": {"t": {"cgroups": [{"name": "a"}]}}, "matrices": {"m": {"tests": "t"}}},
    ],
)
def test_it_refuses(document: object) -> None:
    assert not Draft202012Validator(schema.document()).is_valid(document)


def test_it_takes_what_is_right() -> None:
    document = {
        "kernels": {"k": {"spec": "6.14", "kargs": ["a=b"]}, "6.10": 6.1},
        "schedulers": {"eevdf": {}, "s": {"path": "x", "args": ["-n", 3]}},
        "presets": {"p": {"topology": "2n2l1c1t", "distances": [[10, 20], [20, 10]]}},
        "tests": {"t": {"cgroups": [{"name": "a", "work": "Bursty", "burst": "5ms", "cpuset": {"exact": 0}}]}},
        "matrices": {"m": {"tests": ["t"], "presets": "p", "seeds": ["1..20", 30], "exclude": [{"seed": 30}]}},
    }
    assert list(Draft202012Validator(schema.document()).iter_errors(document)) == []


def described(shape: object, at: str = "") -> list[str]:
    """The fields of a schema without a description."""
    found = []
    if isinstance(shape, dict):
        if isinstance(fields_of := shape.get("properties"), dict):
            found += [f"{at}.{name}" for name, field in fields_of.items() if field and not _is_described(field)]
        found += [one for key, child in shape.items() for one in described(child, f"{at}.{key}")]
    if isinstance(shape, list):
        found += [one for i, child in enumerate(shape) for one in described(child, f"{at}[{i}]")]
    return found


def _is_described(field: dict[str, object]) -> bool:
    return "description" in field or "const" in field


def test_every_field_is_described() -> None:
    definitions = schema.document()
    assert [name for name in described(definitions) if "allOf" not in name and ".each" not in name] == []


SHORT = {"t": {"cgroups": ["a"]}}
STEPPED = {"cgroups": ["a"], "ops": [{"op": "freeze", "cgroup": "b"}], "payloads": ["p"], "hold": {"every": "1s"}}


@pytest.mark.parametrize(
    "document",
    [
        {"tests": SHORT, "include": "more.yaml"},
        {"include": ["more.yaml"]},
        {"tests": {"t": {"use": "base"}}, "define": {"base": {"cgroups": ["a"]}}},
        {"tests": {"t": {"cgroups": ["a"], "matrix": {"duration": ["1s"], "cgroups[0].nice": {"low": 5}}}}},
        {"tests": {"t": {"steps": [STEPPED], "backdrop": {"cgroups": ["b"]}}}},
        {"tests": {"t": {"cgroups": [{"name": "a/b", "use": ["hog"], "burst": "5ms"}]}}},
        {"tests": {"t": {"cgroups": [{"use": "hog"}]}}},
        {"tests": {"t": {"steps": [{"ops": [{"use": "freeze"}], "hold": 0.5}]}}},
        {"tests": SHORT, "payloads": {"p": {"path": "x", "output": "json", "checks": {"range": {"a.b": [1, 2]}}}}},
        {"tests": SHORT, "payloads": {"p": {"use": "base", "env": {"use": ["a", "b"]}}}},
        {"tests": {"t": {"cgroups": [{"name": "a", "affinity": {"each": ["0-1", {"llc": 0}]}}]}}},
        {"tests": {"t": {"cgroups": [{"name": "a", "cpu.max": "25%", "memory.max": 4096, "pids.max": "max"}]}}},
    ],
)
def test_it_takes_the_scenario_language_with_use(document: object) -> None:
    assert list(Draft202012Validator(schema.document()).iter_errors(document)) == []


@pytest.mark.parametrize(
    "test",
    [
        {},
        {"steps": []},
        {"steps": [{"hold": 0}]},
        {"steps": [{"hold": {"each": "1s"}}]},
        {"steps": [{"ops": [{"op": "freeze"}]}]},
        {"steps": [{"ops": [{"op": "melt", "cgroup": "a"}]}]},
        {"steps": [{"ops": [{"op": "freeze", "cgroup": "a", "cpuset": {"llc": 0}}]}]},
        {"cgroups": ["a b"]},
        {"cgroups": [{"name": "a", "cpu.max": 25}]},
        {"cgroups": [{"name": "a", "cpu.uclamp.min": "half"}]},
        {"cgroups": [{"name": "a", "mem_policy": "remote"}]},
        {"cgroups": [{"name": "a", "mem_flags": ["static"]}]},
        {"cgroups": [{"name": "a", "affinity": "random_subset"}]},
        {"cgroups": [{"name": "a", "comm": "sixteen-letters-"}]},
        {"cgroups": ["a"], "payloads": [{"args": ["x"]}]},
        {"cgroups": ["a"], "matrix": {"duration": "1s"}},
    ],
)
def test_it_refuses_a_scenario(test: object) -> None:
    assert not Draft202012Validator(schema.document()).is_valid({"tests": {"t": test}})
