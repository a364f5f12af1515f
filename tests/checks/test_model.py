from __future__ import annotations

from ktstr.checks.model import WorkGroup, gather, work_type_label
from tests.checks.reports import worker


def test_workers_declared_alike_in_one_cgroup_are_one_group() -> None:
    works = [WorkGroup(0, "a", "SpinWait", 2), WorkGroup(1, "a", "SpinWait", 1), WorkGroup(2, "b", "SpinWait", 1)]
    reports = [worker(3, work_index=2), worker(2, work_index=1), worker(0), worker(1)]
    first, second = gather(works, reports)
    assert (first.cgroup, [r.index for r in first.reports], first.missing) == ("a", [0, 1, 2], 0)
    assert (second.cgroup, [r.index for r in second.reports]) == ("b", [3])


def test_declared_differences_are_not_compared() -> None:
    works = [
        WorkGroup(0, "a", "SpinWait", 1, nice=-10),
        WorkGroup(1, "a", "SpinWait", 1, nice=10),
        WorkGroup(2, "a", "Bursty", 1, params=(10, 5)),
        WorkGroup(3, "a", "Bursty", 1, params=(50, 100)),
        WorkGroup(4, "a", "SpinWait", 1, policy="fifo", priority=1),
        WorkGroup(5, "a", "SpinWait", 1, policy="fifo", priority=2),
    ]
    groups = gather(works, [worker(i, work_index=i) for i in range(6)])
    assert [[r.index for r in g.reports] for g in groups] == [[0], [1], [2], [3], [4], [5]]


def test_reports_that_never_came_are_counted() -> None:
    (group,) = gather([WorkGroup(0, "a", "SpinWait", 3)], [worker(1)])
    assert group.missing == 2


def test_a_worker_that_reports_again_makes_up_for_no_other() -> None:
    reports = [worker(1), worker(1, spawn=1), worker(1, spawn=2)]
    (group,) = gather([WorkGroup(0, "a", "SpinWait", 3)], reports)
    assert ([r.spawn for r in group.reports], group.missing) == ([None, 1, 2], 2)


def test_a_report_of_undeclared_work_belongs_nowhere() -> None:
    (group,) = gather([WorkGroup(0, "a", "SpinWait", 1)], [worker(0), worker(1, work_index=77)])
    assert [r.index for r in group.reports] == [0]


def test_the_sidecar_names_each_work_type_once_in_declared_order() -> None:
    works = [WorkGroup(i, "a", t, 1) for i, t in enumerate(["PipeIo", "SpinWait", "PipeIo"])]
    assert work_type_label(works) == "PipeIo+SpinWait"
