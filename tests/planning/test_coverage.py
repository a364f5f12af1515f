"""What a cell covers."""

from __future__ import annotations

from pathlib import Path

from ktstr.config.load import parse
from ktstr.config.model import CellKey
from ktstr.config.topology import PRESETS, Topology
from ktstr.planning.coverage import features_of

YAML = b"""
kernels: {k: 6.14}
tests:
  plain: {duration: 1s, cgroups: [{name: a, workers: 2}]}
  rich:
    duration: 3s
    steps:
      - cgroups: [{name: a, workers: 4, cpuset: {llc: 0}, cpu.max: 50%, work: PipeIo}]
        hold: 1s
      - cgroups: [{name: a/b, workers: 1, nice: 5}]
        ops: [{op: offline, cpus: {exact: 1}}]
        hold: 1s
"""


def features(test: str, preset: str = "tiny-1llc", seed: int = 0) -> frozenset[str]:
    config = parse(YAML, Path("/p/ktstr.yaml"), validated=True)
    key = CellKey(test, preset, "k", "eevdf", seed)
    return features_of(key, config.tests[test], Topology.parse(PRESETS[preset]))


def test_a_plain_cell() -> None:
    assert features("plain") == {
        "test=plain", "scheduler=eevdf", "kernel=k", "cpus<=4", "llcs<=1", "nodes<=1", "no-smt", "ms<=1000",
        "workers<=4", "work=SpinWait", "policy=normal",
    }  # fmt: skip


def test_a_topology_is_in_buckets() -> None:
    assert {"cpus>128", "llcs>8", "nodes<=4", "smt"} <= features("plain", "numa4-12llc")
    assert {"cpus<=16", "llcs<=4", "nodes<=2", "no-smt"} <= features("plain", "numa2-4llc")


def test_what_a_scenario_does() -> None:
    assert features("rich") - features("plain") == {
        "test=rich", "ms<=5000", "workers<=16", "steps", "hold=fixed", "cpuset=llc", "cpu.max", "nested", "nice",
        "work=PipeIo", "op=Hotplug",
    }  # fmt: skip


def test_a_seed_covers_nothing() -> None:
    assert features("plain", seed=3) == features("plain")
