"""Three tests that no one planned for, written from docs/getting-started.md and the schema alone.

Cost: three guests of 4 vCPUs in one run, about 25 s.

Their numbers are held against the guest's own /proc/PID/schedstat and /proc/schedstat, and against the
kernel's weights, not against what the product says about itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
tests:
  cpuset_mix: # overlapping, disjoint and exact cpusets at once, on 4 CPUs of which 3 are usable
    duration: 1s
    cgroups:
      - {name: low, workers: 2, cpuset: {overlap: [0, 2, 1]}}
      - {name: last, workers: 1, cpuset: {exact: 3}}
      - {name: parts, work: Bursty, burst: 3ms, sleep: 7ms, workers: 2, cpuset: {disjoint: [1, 3]}}
    checks: {isolation: true, max_spread_pct: 100}

  across_nodes: # one CPU of each node for a pair that wakes each other, both kept busy by others
    duration: 1s
    cgroups:
      - {name: pair, work: FutexPingPong, workers: 2, cpuset: {exact: "0,2"}, spin_iters: 20000}
      - {name: noise, works: [{workers: 1, affinity: 0}, {workers: 1, affinity: 2}]}
    checks: {isolation: true, max_spread_pct: 100}
    constraints: {min_numa_nodes: 2}

  nice_pair: # nice -10 beside nice +10 on one CPU
    duration: 4s
    cgroups:
      - {name: both, cpuset: {exact: 1}, works: [{workers: 1, nice: -10}, {workers: 1, nice: 10}]}
matrices:
  unplanned:
    tests: [cpuset_mix, nice_pair]
    presets: tiny-2llc
    include:
      - {test: across_nodes, preset: two-nodes}
presets: {two-nodes: 2n2l2c1t}
"""
# kernel/sched/core.c, sched_prio_to_weight[]: nice -10 and nice +10.
HEAVY, LIGHT = 9548, 110
Sidecars = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def sidecars(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Sidecars:
    project: UserProject = make_project(tmp_path_factory.mktemp("unplanned"), lock)
    project.write(YAML)
    code, found = project.test("accel=icount", "seed=3")
    assert code == 0, found
    assert found["counts"]["pass"] == 3
    return {cell["name"].split("/")[0]: project.sidecar(cell) for cell in found["cells"]}


@pytest.mark.parametrize("test", ["cpuset_mix", "across_nodes", "nice_pair"])
def test_cpu_time_is_what_the_kernel_counted(sidecars: Sidecars, test: str) -> None:
    """A worker's thread clock and its schedstat are read some lines apart: 1 %, or a tick of 4 ms and a little."""
    for worker in sidecars[test]["workers"]:
        counted = worker["schedstat_cpu_time_ns"]
        assert counted > 0, worker
        assert worker["cpu_time_ns"] == pytest.approx(counted, rel=0.01, abs=5_000_000), worker


@pytest.mark.parametrize("test", ["cpuset_mix", "across_nodes", "nice_pair"])
def test_cpus_ran_no_less_than_their_workers(sidecars: Sidecars, test: str) -> None:
    """/proc/schedstat's run time of all CPUs holds the workers' and little else."""
    ran = sum(cpu["run_ns"] for cpu in sidecars[test]["vcpu_times"])
    workers = sum(worker["schedstat_cpu_time_ns"] for worker in sidecars[test]["workers"])
    assert workers <= ran * 1.01
    assert ran - workers < 0.15 * ran


def test_on_cpu_and_waiting_add_up_to_the_whole_time_of_a_spinner(sidecars: Sidecars) -> None:
    for worker in sidecars["nice_pair"]["workers"]:
        total = worker["schedstat_cpu_time_ns"] + worker["schedstat_run_delay_ns"]
        assert total == pytest.approx(worker["wall_time_ns"], rel=0.01)


def test_the_cpuset_mix_is_where_it_was_put(sidecars: Sidecars) -> None:
    """Of the usable 0-2: the first half is CPU 0, widened by its own length to CPU 1; the second third is CPU 1."""
    used: dict[int, set[int]] = {}
    for worker in sidecars["cpuset_mix"]["workers"]:
        used.setdefault(worker["cgroup"], set()).update(worker["cpus_used"])
    assert used[0] <= {0, 1}
    assert used[1] == {3}
    assert used[2] == {1}


def test_the_pair_wakes_across_the_nodes(sidecars: Sidecars) -> None:
    pair = [worker for worker in sidecars["across_nodes"]["workers"] if worker["cgroup"] == 0]
    assert len(pair) == 2
    assert {cpu for worker in pair for cpu in worker["cpus_used"]} == {0, 2}
    # They take turns: neither can be a turn ahead of the other by more than the last one.
    assert abs(pair[0]["iterations"] - pair[1]["iterations"]) <= 1
    assert pair[0]["iterations"] > 10
    # Preempted by the noise, one may have its turn again before it waits for it, which wakes nobody.
    assert all(0.9 * w["iterations"] <= w["wake_sample_total"] <= w["iterations"] + 1 for w in pair)


def test_nice_shares_a_cpu_by_the_kernels_weights(sidecars: Sidecars) -> None:
    heavy, light = sidecars["nice_pair"]["workers"]
    if heavy["work_index"] == 1:
        heavy, light = light, heavy
    ratio = heavy["schedstat_cpu_time_ns"] / light["schedstat_cpu_time_ns"]
    assert ratio == pytest.approx(HEAVY / LIGHT, rel=0.15)
