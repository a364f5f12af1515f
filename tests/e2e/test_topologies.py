"""The topology a guest's sysfs shows is the declared one, from ktstr.yaml to the stored record.

Cost: five guests with a thread per vCPU, about half a minute, and two cells of counted instructions. Slow: every preset
up to 64 CPUs, 40 and 64 LLCs.

Expectations are worked out by hand: CPUs are numbered LLC by LLC, threads of one core side by side, and
each NUMA node is a package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktstr.config.topology import PRESETS, Topology
from ktstr.results.store import folder_name
from tests.e2e.conftest import UserProject, make_project

pytestmark = pytest.mark.e2e

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
presets:
  odd-tiny: 1n3l1c1t
  far: {topology: 2n2l2c1t, distances: [[10, 31], [31, 10]]}
  unlike:
    threads: 2
    nodes: [{llcs: [1, 2]}, {llcs: [1], memory: 0}, {memory: 64M}]
    distances: [[10, 30, 50], [30, 10, 40], [50, 40, 10]]
    offline: 3
  tiers: {nodes: [{llcs: [2, 1]}, {memory: 128M}]}
  llcs-40: 1n40l1c1t
  llcs-64: 1n64l1c1t
tests:
  shown: {duration: 100ms, cgroups: [{name: one, workers: 1}], checks: {not_starved: false}}
  bound:
    duration: 300ms
    cgroups: [{name: small, workers: 1, cpuset: {llc: 1}, mems: [0, 1], mem_policy: {bind: 1}}]
    checks: {isolation: true, min_page_locality: 0.9}
  slow_tier:
    duration: 300ms
    cgroups: [{name: small, workers: 1, cpuset: {llc: 1}, mems: [0, 1], mem_policy: {bind: 1}}]
    checks: {max_slow_tier_ratio: 0.1}
"""
ROW = tuple[int, int, tuple[int, ...], tuple[int, ...]]


def cpus(first: int, last: int) -> tuple[int, ...]:
    """CPUs ``first`` to ``last``, both included."""
    return tuple(range(first, last + 1))


@dataclass(frozen=True)
class Shown:
    """What a guest must show: some CPUs as (node, package, LLC, SMT siblings), all counts, all distances."""

    cpus: int
    llcs: int
    rows: dict[int, ROW]
    distances: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ShownNode:
    """The CPUs of a node, its memory in MiB, of which firmware may keep up to 8, and whose memory it is nearest to."""

    cpus: tuple[int, ...]
    memory_mib: int
    initiators: tuple[int, ...]


NEAR = ((10,),)
TWO = ((10, 20), (20, 10))
EXPECTED: dict[str, Shown] = {
    "odd-tiny": Shown(3, 3, {0: (0, 0, (0,), (0,)), 1: (0, 0, (1,), (1,)), 2: (0, 0, (2,), (2,))}, NEAR),
    "far": Shown(
        4,
        2,
        {0: (0, 0, (0, 1), (0,)), 1: (0, 0, (0, 1), (1,)), 2: (1, 1, (2, 3), (2,)), 3: (1, 1, (2, 3), (3,))},
        ((10, 31), (31, 10)),
    ),
    "smt-3llc": Shown(
        12,
        3,
        {0: (0, 0, cpus(0, 3), (0, 1)), 5: (0, 0, cpus(4, 7), (4, 5)), 11: (0, 0, cpus(8, 11), (10, 11))},
        NEAR,
    ),
    "numa2-4llc": Shown(
        16,
        4,
        {3: (0, 0, cpus(0, 3), (3,)), 7: (0, 0, cpus(4, 7), (7,)), 8: (1, 1, cpus(8, 11), (8,))},
        TWO,
    ),
    # Below: slow only.
    "odd-5llc": Shown(15, 5, {0: (0, 0, cpus(0, 2), (0,)), 14: (0, 0, cpus(12, 14), (14,))}, NEAR),
    "medium-8llc": Shown(64, 8, {0: (0, 0, cpus(0, 7), (0, 1)), 63: (0, 0, cpus(56, 63), (62, 63))}, NEAR),
    "tiny-1llc": Shown(4, 1, {3: (0, 0, cpus(0, 3), (3,))}, NEAR),
    "tiny-2llc": Shown(4, 2, {1: (0, 0, (0, 1), (1,)), 2: (0, 0, (2, 3), (2,))}, NEAR),
    "odd-3llc": Shown(9, 3, {4: (0, 0, cpus(3, 5), (4,)), 8: (0, 0, cpus(6, 8), (8,))}, NEAR),
    "odd-7llc": Shown(14, 7, {6: (0, 0, (6, 7), (6,)), 13: (0, 0, (12, 13), (13,))}, NEAR),
    "smt-2llc": Shown(8, 2, {2: (0, 0, cpus(0, 3), (2, 3)), 7: (0, 0, cpus(4, 7), (6, 7))}, NEAR),
    "medium-4llc": Shown(32, 4, {9: (0, 0, cpus(8, 15), (8, 9)), 31: (0, 0, cpus(24, 31), (30, 31))}, NEAR),
    "medium-4llc-nosmt": Shown(32, 4, {9: (0, 0, cpus(8, 15), (9,)), 31: (0, 0, cpus(24, 31), (31,))}, NEAR),
    "medium-8llc-nosmt": Shown(64, 8, {0: (0, 0, cpus(0, 7), (0,)), 63: (0, 0, cpus(56, 63), (63,))}, NEAR),
    "numa4-8llc": Shown(
        32,
        8,
        {7: (0, 0, cpus(4, 7), (7,)), 8: (1, 1, cpus(8, 11), (8,)), 31: (3, 3, cpus(28, 31), (31,))},
        ((10, 20, 20, 20), (20, 10, 20, 20), (20, 20, 10, 20), (20, 20, 20, 10)),
    ),
}  # fmt: skip
UNLIKE = Shown(
    8,
    3,
    {
        0: (0, 0, (0, 1), (0, 1)), 2: (0, 0, cpus(2, 5), (2, 3)), 3: (0, 0, cpus(2, 5), (2, 3)),
        5: (0, 0, cpus(2, 5), (4, 5)), 6: (1, 1, (6, 7), (6, 7)), 7: (1, 1, (6, 7), (6, 7)),
    },
    ((10, 30, 50), (30, 10, 40), (50, 40, 10)),
)  # fmt: skip
# 512 MiB is what a guest of so few CPUs gets; node 2 is nearer to node 1, and that has CPUs.
UNLIKE_NODES = (ShownNode(cpus(0, 5), 512, (0,)), ShownNode((6, 7), 0, ()), ShownNode((), 64, (1,)))
MANY = {f"llcs-{n}": Shown(n, n, {cpu: (0, 0, (cpu,), (cpu,)) for cpu in range(n)}, NEAR) for n in (40, 64)}
EXPECTED |= {"unlike": UNLIKE, **MANY}
QUICK = ("odd-tiny", "far", "unlike", "smt-3llc", "numa2-4llc")


def boot(project: UserProject, presets: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """One invocation for all of them; gives the guest's part of each record, by preset."""
    project.write(YAML)
    done = project.doit(
        "test", "json=1", "accel=tcg", "test=shown", f"preset={','.join(presets)}", "jobs=1", timeout=1500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(done.stdout)["cells"]
    found = {}
    for cell in cells:
        digest = project.sidecar(cell)["input_digest"]
        record = project.path / "target" / "ktstr" / ".cells" / folder_name(digest) / "record.json"
        found[cell["name"].split("/")[1]] = json.loads(record.read_text(encoding="utf-8"))["record"]["guest"]
    assert sorted(found) == sorted(presets)
    return found


def agrees(guest: dict[str, Any], shown: Shown) -> None:
    """Everything the hand-made expectation says is what the guest's sysfs said."""
    rows = {c["cpu"]: (c["node"], c["package"], tuple(c["llc_cpus"]), tuple(c["smt_cpus"])) for c in guest["cpus"]}
    assert sorted(rows) == list(range(shown.cpus))
    assert len({row[2] for row in rows.values()}) == shown.llcs
    assert {cpu: rows[cpu] for cpu in shown.rows} == shown.rows
    assert tuple(tuple(row) for row in guest["node_distances"]) == shown.distances


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, lock: str) -> dict[str, dict[str, Any]]:
    return boot(make_project(tmp_path_factory.mktemp("topologies"), lock), QUICK)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("preset", QUICK)
def test_the_guest_shows_what_was_declared(quick: dict[str, dict[str, Any]], preset: str) -> None:
    agrees(quick[preset], EXPECTED[preset])


@pytest.mark.timeout(900)
def test_nodes_without_cpus_or_memory_and_cpus_that_are_offline(quick: dict[str, dict[str, Any]]) -> None:
    guest = quick["unlike"]
    assert guest["possible_cpus"] == guest["present_cpus"] == list(cpus(0, 7))
    assert [node["node"] for node in guest["nodes"]] == [0, 1, 2]
    for node, shown in zip(guest["nodes"], UNLIKE_NODES, strict=True):
        assert tuple(c["cpu"] for c in guest["cpus"] if c["node"] == node["node"]) == shown.cpus
        assert max(0, shown.memory_mib - 8) << 10 <= node["memory_kib"] <= shown.memory_mib << 10
        assert tuple(node["initiators"]) == shown.initiators
    assert [read["text"] for read in guest["reads"]] == ["0\n"]  # of cpu3/online, once the program began
    assert all(3 not in worker["cpus_used"] for worker in guest["workers"])


@pytest.mark.timeout(900)
def test_workers_use_a_small_llc_and_a_node_of_memory_alone(tmp_path: Path, lock: str) -> None:
    project = make_project(tmp_path, lock)
    project.write(YAML)
    code, parsed = project.test("test=bound,slow_tier", "preset=tiers", "accel=icount", timeout="600")
    cells = {cell["name"].split("/")[0]: cell for cell in parsed["cells"]}
    assert (code, cells["bound"]["verdict"], cells["slow_tier"]["verdict"]) == (1, "pass", "fail")
    assert "16 of 17 pages were on nodes without CPUs" in " ".join(cells["slow_tier"]["reasons"])
    sidecar = project.sidecar(cells["bound"])
    assert sidecar["topology"] == "2n2l2c1t:2+1/0@128"
    record = project.path / "target" / "ktstr" / ".cells" / folder_name(sidecar["input_digest"]) / "record.json"
    (worker,) = json.loads(record.read_text(encoding="utf-8"))["record"]["guest"]["workers"]
    assert worker["cpus_used"] == [2]
    assert worker["numa_pages"][1] > 10 * worker["numa_pages"][0]  # whose own page is older than the policy


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_preset_up_to_64_cpus(project: UserProject) -> None:
    rest = tuple(preset for preset in EXPECTED if preset not in QUICK)
    assert set(EXPECTED) >= {name for name, label in PRESETS.items() if Topology.parse(label).cpus <= 64}
    for preset, guest in boot(project, rest).items():
        agrees(guest, EXPECTED[preset])
