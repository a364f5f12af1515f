from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

from ktstr.config import fields, schema
from ktstr.config.model import CpusetKind

FILE = Path(__file__).parents[2] / "schemas/ktstr.schema.json"


def test_the_file_that_editors_read_is_the_one_made_from_the_tables() -> None:
    assert FILE.read_text() == schema.render(), "python -m ktstr.config.schema > schemas/ktstr.schema.json"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(FILE.read_text()))


def test_every_cpuset_kind_has_its_form() -> None:
    assert set(schema.document()["$defs"]["cpuset"]["properties"]) == set(get_args(CpusetKind))


def test_the_checks_are_the_nineteen_of_the_specification_and_ours() -> None:
    assert len(fields.CHECKS) == 19 + 6 + 2  # invariants of samples; DSQs and callbacks


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
