"""How many CPUs workers had, by what their cell's program pins them to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from ktstr.cells.judge import works_of
from ktstr.config.load import parse
from ktstr.config.topology import Topology
from ktstr.scenarios.compile import compile_test

YAML = """
kernels: {default: "7.0"}
tests:
  pins:
    cgroups:
      - {name: free, workers: 4}
      - {name: one, workers: 4, affinity: 0}
      - {name: half, workers: 4, cpuset: {exact: 0-1}, affinity: [1, 2]}
      - {name: each, workers: 2, affinity: {each: ["0", "3"]}}
"""


def test_workers_that_are_pinned_have_as_few_cpus_as_their_pins() -> None:
    config = parse(YAML.encode(), Path("ktstr.yaml"), validated=True)
    compiled = compile_test(config.tests["pins"], Topology(1, 1, 4, 1), config.schedulers["eevdf"], 0)
    found = {work.cgroup: work.fewest_cpus for work in works_of(compiled)}
    assert found == {"free": None, "one": 1, "half": 1, "each": 2}


def test_nothing_else_about_them_changes() -> None:
    config = parse(YAML.encode(), Path("ktstr.yaml"), validated=True)
    compiled = compile_test(config.tests["pins"], Topology(1, 1, 4, 1), config.schedulers["eevdf"], 0)
    free = [work for work in compiled.works if work.cgroup == "free"]
    assert [work for work in works_of(compiled) if work.cgroup == "free"] == free
    assert works_of(cast(Any, SimpleNamespace(works=(), program=compiled.program))) == ()
