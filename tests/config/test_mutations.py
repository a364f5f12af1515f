"""Whatever is done to a valid file, it loads or every mistake is told as one: nothing else is raised."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.config.load import parse
from ktstr.errors import InputError

RICH = """
kernels: {k: deb:forky/cloud-amd64}
define:
  hog: {work: SpinWait, workers: 4}
  hogs: {use: hog, nice: 2}
  gaps: {max_gap_ms: 500}
payloads:
  bench:
    path: ./bench
    args: [--fast]
    env: {A: b}
    files: [data/]
    output: json
    metrics: {run.iops: {polarity: higher, unit: 1/s}, lat: {polarity: {target: 5}}}
    checks: {exit_code: any, exists: [run.iops], min: {run.iops: 100}, max: {lat: 5}, range: {load: [0.5, 1.5]}}
schedulers: {s: {path: ./s}}
tests:
  short:
    cgroups: [left, {name: right, use: hogs, affinity: {each: [0-1, {llc: 0}]}}]
    payloads: [bench, {payload: bench, cgroup: left, args: [x]}]
    checks: {use: gaps}
    isolcpus: {cpus: {numa: 1}, flags: [domain]}
    offline: {exact: 3}
    topology: 2n2l2c1t
    matrix: {duration: [1s, 2s], 'cgroups[1].workers': {few: 2, many: 8}, 'cgroups[0].cpu.max': [25%]}
  long:
    workers_per_cgroup: 3
    settle: 100ms
    backdrop:
      cgroups: [bg, {name: top, workers: 0, cpuset: {range: [0, 0.5]}, cpuset.cpus.partition: root}]
      payloads: [bench]
      ops: [{op: freeze, cgroup: bg}, {op: unfreeze, cgroup: bg}]
    steps:
      - name: one
        ops:
          - {op: add_cgroup, cgroup: x, cpu.max: 25%, memory.max: 64M, io.weight: 5, mems: [0]}
          - {op: spawn, cgroup: x, work: Bursty, burst: 5ms, affinity: random}
          - {op: spawn_host, policy: deadline, runtime: 1ms, deadline: 2ms, period: 3ms}
          - {op: set, cgroup: x, cpu.weight: 5}
          - {op: set_cpuset, cgroup: x, cpuset: {disjoint: [0, 2]}}
          - {op: clear_cpuset, cgroup: x}
          - {op: swap_cpusets, cgroups: [x, top]}
          - {op: set_affinity, cgroup: x, affinity: single}
          - {op: move_tasks, from: x, to: bg}
          - {op: offline, cpus: {exact: 1}}
          - {op: online, cpus: {exact: 1}}
          - {op: run, payload: bench, cgroup: x}
          - {op: wait, payload: bench, cgroup: x, timeout: 5s}
          - {op: kill, payload: bench}
          - {op: stop, cgroup: x}
          - {op: remove_cgroup, cgroup: x}
        cgroups:
          - {name: a/b, cpuset: {llc: 0}, mem_policy: {bind: [0]}, mem_flags: [static_nodes]}
          - {name: c, works: [{threads: true, comm: x, pcomm: y}, {work: Custom, payload: bench, workers: 1}]}
        hold: 0.5
      - {ops: [{op: freeze, cgroup: bg}], hold: {every: 100ms}}
      - {payloads: [bench], hold: 200ms}
matrices: {m: {tests: short, presets: tiny-1llc}}
"""
DOCUMENT = yaml.safe_load(RICH)
SCALARS: list[Any] = [
    *(None, True, 0, 1, -1, 2**70, 1.5, float("nan"), float("inf"), "", "x", "a/b", "0-3", "1s", "25%", "max", "bg"),
    *("bench", "hog", "random", "local", "../x", "\u00e9", "cgroups[0]", [], {}, [[]], [{}], {"use": "hog"}, ["a"]),
    *({"use": ["hogs", "hog"]}, {"llc": 0}, {"every": "1s"}, {"matrix": {"duration": ["1s"]}}, "a" * 300),
]
KEYS = ["use", "matrix", "name", "op", "cgroup", "workers", "works", "cpu.max", "steps", "", "x y", "each", "payload"]
Path_ = tuple[Any, ...]


def places(value: Any, at: Path_ = ()) -> list[Path_]:
    """The paths of all that is in a document."""
    found = [at] if at else []
    if isinstance(value, dict):
        return found + [path for key, child in value.items() for path in places(child, (*at, key))]
    if isinstance(value, list):
        return found + [path for i, child in enumerate(value) for path in places(child, (*at, i))]
    return found


def of(document: Any, path: Path_) -> Any:
    for step in path:
        document = document[step]
    return document


def mutate(document: Any, data: st.DataObject) -> None:
    """One change somewhere."""
    paths = places(document)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    parent, last = of(document, path[:-1]), path[-1]
    kind = data.draw(st.sampled_from(["delete", "scalar", "swap", "duplicate", "rename", "copy"]))
    if kind == "delete":
        del parent[last]
    elif kind == "scalar":
        parent[last] = copy.deepcopy(data.draw(st.sampled_from(SCALARS)))
    elif kind == "swap":
        other = data.draw(st.sampled_from(paths))
        if path != other[: len(path)] and other != path[: len(other)]:
            there = of(document, other[:-1])
            parent[last], there[other[-1]] = there[other[-1]], parent[last]
    elif kind == "copy":
        parent[last] = copy.deepcopy(of(document, data.draw(st.sampled_from(paths))))
    elif isinstance(parent, list):
        parent.insert(last, copy.deepcopy(parent[last]))
    elif kind == "rename":
        parent[data.draw(st.sampled_from(KEYS))] = parent.pop(last)
    else:
        parent[f"{last}-2"] = copy.deepcopy(parent[last])


def test_the_file_that_is_changed_loads() -> None:
    config = parse(RICH.encode(), Path("ktstr.yaml"))
    assert list(config.tests) == [
        "short.1s.few.25-",
        "short.1s.many.25-",
        "short.2s.few.25-",
        "short.2s.many.25-",
        "long",
    ]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_file_loads_or_is_refused_and_the_schema_agrees(data: st.DataObject) -> None:
    document = copy.deepcopy(DOCUMENT)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(document, data)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
    try:
        parse(text, Path("ktstr.yaml"))
    except InputError as err:
        lines = str(err).splitlines()
        assert all(line.startswith("ktstr.yaml:") for line in lines)
        assert not any("outside the schema" in line for line in lines), lines  # typing is at least as strict
