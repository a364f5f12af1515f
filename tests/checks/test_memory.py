from __future__ import annotations

from typing import Any

from ktstr.checks.breach import Run
from ktstr.checks.machine import evidence
from ktstr.checks.memory import judge_memory
from ktstr.checks.model import WorkGroup, gather
from ktstr.checks.stats import cgroup_stats, scenario_stats
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail, Verdict
from ktstr.config.model import CheckValue
from ktstr.record.guest import Stimulus, WorkerReport
from tests.checks.reports import MS, cpus, heard, worker

BOUND = WorkGroup(0, "a", "SpinWait", 2, nodes=(0,))
NEAR = (
    worker(0, numa_pages=(60, 20, 0), numa_pages_migrated=7),
    worker(1, numa_pages=(30, 0, 90), numa_pages_migrated=10),
)  # of 200 pages 90 on node 0 and 90 on node 2


def judged(
    reports: tuple[WorkerReport, ...] = NEAR, work: WorkGroup = BOUND, nodes: int = 3, **checks: CheckValue
) -> list[Detail]:
    """A machine of four CPUs on the first two of its nodes."""
    distances = tuple(tuple(10 if a == b else 20 for b in range(nodes)) for a in range(nodes))
    groups = gather([work], reports)
    run = Run(merge({}, checks), evidence("icount", reports), groups=groups)
    return judge_memory(groups, heard(cpus=cpus(4, 2), node_distances=distances), run)


def test_nothing_is_judged_that_nobody_asked_for() -> None:
    assert judged() == []


def test_page_locality_by_hand() -> None:
    assert judged(min_page_locality=0.45) == []
    (found,) = judged(min_page_locality=0.46)
    assert (found.verdict, found.kind, found.cgroup, found.value) == (Verdict.FAIL, "PageLocality", "a", 0.45)
    assert found.message == (
        "cgroup a (SpinWait): 90 of 200 pages were on node 0 (N0=90, N1=20, N2=90): 0.4500 < limit 0.46 (test)"
    )


def test_the_machines_migrations_count_once() -> None:
    assert judged(max_cross_node_migration_ratio=0.05) == []  # 10 of 200
    (found,) = judged(max_cross_node_migration_ratio=0.04)
    assert (found.verdict, found.kind, found.value) == (Verdict.FAIL, "CrossNodeMigration", 0.05)
    assert "10 pages moved between nodes of the machine" in found.message


def test_pages_on_nodes_without_cpus_by_hand() -> None:
    assert judged(max_slow_tier_ratio=0.45) == []
    (found,) = judged(max_slow_tier_ratio=0.44)
    assert (found.verdict, found.kind, found.value) == (Verdict.FAIL, "SlowTier", 0.45)


def test_what_cannot_be_told_is_inconclusive_where_it_was_asked_for() -> None:
    every: dict[str, Any] = {
        "min_page_locality": 0.5, "max_cross_node_migration_ratio": 0.5, "max_slow_tier_ratio": 0.5,
    }  # fmt: skip
    unread = judged((worker(0), NEAR[1]), **every)
    empty = judged((worker(0, numa_pages=(0, 0, 0), numa_pages_migrated=0),), **every)
    for details in (unread, empty):
        assert [d.verdict for d in details] == [Verdict.INCONCLUSIVE] * 3
    anywhere = judged(work=WorkGroup(0, "a", "SpinWait", 2), min_page_locality=0.1)
    assert [d.verdict for d in anywhere] == [Verdict.INCONCLUSIVE]
    flat = judged((worker(0, numa_pages=(5, 5)), worker(1, numa_pages=(5, 5))), nodes=2, max_slow_tier_ratio=0.1)
    assert [d.verdict for d in flat] == [Verdict.INCONCLUSIVE] and "no node without CPUs" in flat[0].message
    uncounted = judged((worker(0, numa_pages=(5,)), worker(1, numa_pages=(5,))), max_cross_node_migration_ratio=0.1)
    assert [d.verdict for d in uncounted] == [Verdict.INCONCLUSIVE]


def test_the_statistics_have_what_was_read() -> None:
    groups = gather([BOUND], NEAR)
    stats = cgroup_stats(groups[0])
    assert (stats.page_locality, stats.cross_node_migration_ratio) == (0.45, 0.05)
    step = Stimulus(10 * MS, "Release", "", 0), Stimulus(2_010 * MS, "StopWorkers", "", 480)
    found = scenario_stats(groups, step)
    assert found.ext_metrics["worst_page_locality"] == 0.45
    assert found.ext_metrics["worst_cross_node_migration_ratio"] == 0.05
    phase = found.phases[0].per_cgroup["a"]
    assert (phase.numa_pages_local, phase.numa_pages_total, phase.cross_node_migrated) == (90, 200, 10)
    nowhere = cgroup_stats(gather([WorkGroup(0, "a", "SpinWait", 2)], NEAR)[0])
    assert (nowhere.page_locality, nowhere.cross_node_migration_ratio) == (None, 0.05)
