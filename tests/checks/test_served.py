from __future__ import annotations

import pytest

from ktstr.checks.model import WorkGroup, gather
from ktstr.checks.served import served
from ktstr.record.metrics import METRICS
from tests.checks.reports import S, worker

SCHBENCH = WorkGroup(0, "a", "Schbench", 3, params=(2,))
TAOBENCH = WorkGroup(1, "b", "Taobench", 2, params=(2,))
REPORTS = (
    worker(0, place=0, counted=(0, 30, 0, 0), wake_latencies_ns=(9_000_000,), wake_sample_total=1,
           schedstat_run_delay_ns=600, schedstat_run_count=6),
    worker(1, place=1, counted=(10, 0, 0, 0), request_latencies_ns=(1000, 3000), request_sample_total=2,
           wake_latencies_ns=(5000,), wake_sample_total=1, schedstat_run_delay_ns=100, schedstat_run_count=10),
    worker(2, place=2, counted=(20, 0, 0, 0), request_latencies_ns=(2000, 4000), request_sample_total=2,
           schedstat_run_delay_ns=300, schedstat_run_count=10),
    worker(3, work_index=1, place=0, counted=(60, 20, 0), request_latencies_ns=(8000,), request_sample_total=1),
    worker(4, work_index=1, place=1, counted=(30, 10, 5)),
)  # fmt: skip


def test_what_schbench_and_taobench_come_to_by_hand() -> None:
    found = served(gather([SCHBENCH, TAOBENCH], REPORTS))
    assert set(found) <= set(METRICS)
    parts = {"min": 1.0, "p50": 2.0, "p90": 4.0, "p99": 4.0, "p999": 4.0, "max": 4.0}
    assert {part: found[f"request_{part}_latency_us_whole"] for part in parts} == parts
    assert found["wakeup_p99_latency_us_whole"] == 5.0  # of workers, not of the message thread
    assert (found["total_schbench_loops"], found["total_schbench_worker_cpu_sec"]) == (30, 2.0)
    assert found["schbench_total_loops_per_cpu_sec"] == 15.0
    assert found["schbench_msg_run_delay_ns_per_sched"] == 100.0
    assert found["schbench_worker_run_delay_ns_per_sched"] == 20.0
    assert found["taobench_serve_p50_us_whole"] == 8.0
    assert (found["total_taobench_ops"], found["taobench_hit_fraction"]) == (120, 0.75)
    assert found["taobench_total_ops_per_sec"] == pytest.approx(120 / (2 * S / S))


def test_other_types_have_none_of_them_and_what_was_not_measured_is_none() -> None:
    assert served(gather([WorkGroup(0, "a", "SpinWait", 1)], REPORTS[:1])) == {}
    found = served(gather([TAOBENCH], [worker(3, work_index=1, schedstat_cpu_time_ns=None)]))
    assert set(found.values()) == {None}
