"""Every sidecar of a run is what its schema says, by a validator that is not the product's own.

Cost: three short guests, about 25 s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = pytest.mark.e2e

YAML = f"""
kernels: {{default: "deb:forky/cloud-amd64"}}
schedulers:
  scx_ktstr: {{source: {ROOT / "schedulers" / "scx_ktstr"}}}
  stalls: {{source: {ROOT / "schedulers" / "scx_ktstr"}, args: [--stall-after, 0, --timeout-ms, 300]}}
presets: {{pair: 1n1l2c1t}}
tests:
  pipes: {{duration: 200ms, cgroups: [{{name: all, work: PipeIo, workers: 2, cpuset: {{exact: 0-1}}}}]}}
  needs_smt: {{duration: 200ms, cgroups: [{{name: all}}], constraints: {{requires_smt: true}}}}
matrices:
  all: {{tests: "*", presets: pair, schedulers: "*"}}
"""


@pytest.fixture(scope="module")
def sidecars(tmp_path_factory: pytest.TempPathFactory, lock: str) -> dict[str, dict[str, Any]]:
    """The published sidecars of a pass, a failure and skips, by file name."""
    project: UserProject = make_project(tmp_path_factory.mktemp("sidecars"), lock)
    project.write(YAML)
    code, found = project.test()
    assert code == 1, found
    counts = {verdict: n for verdict, n in found["counts"].items() if n}
    assert counts == {"pass": 2, "fail": 1, "skip": 3}, found
    files = sorted((project.path / "target").rglob("*.ktstr.json"))
    return {str(path.relative_to(project.path)): json.loads(path.read_text(encoding="utf-8")) for path in files}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads((ROOT / "schemas" / "sidecar.schema.json").read_text(encoding="utf-8"))
    return jsonschema_rs.validator_for(schema)


def test_each_cell_that_ran_has_one(sidecars: dict[str, dict[str, Any]]) -> None:
    ran = [s for s in sidecars.values() if not s["skipped"]]
    assert sorted((s["scheduler"], s["passed"]) for s in ran) == [
        ("eevdf", True),
        ("scx_ktstr", True),
        ("stalls", False),
    ]


def test_all_validate(sidecars: dict[str, dict[str, Any]], validator: Any) -> None:
    problems = {
        name: [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in validator.iter_errors(sidecar)]
        for name, sidecar in sidecars.items()
    }
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.parametrize("key", ["accel", "emulator", "seed", "input_digest", "measured_commit", "workers"])
def test_the_schema_asks_for_every_key(sidecars: dict[str, dict[str, Any]], validator: Any, key: str) -> None:
    whole = next(iter(sidecars.values()))
    assert not validator.is_valid({name: value for name, value in whole.items() if name != key})


def test_the_schema_takes_no_key_it_does_not_know(sidecars: dict[str, dict[str, Any]], validator: Any) -> None:
    assert not validator.is_valid({**next(iter(sidecars.values())), "unheard_of": 1})


def test_names_are_those_of_test_and_variant(sidecars: dict[str, dict[str, Any]]) -> None:
    for name, sidecar in sidecars.items():
        stem = Path(name).name.removesuffix(".ktstr.json")
        assert stem.startswith(f"{sidecar['test_name']}-"), name
        variant = stem.removeprefix(f"{sidecar['test_name']}-")
        assert len(variant) == 16 and int(variant, 16) >= 0, name
