"""What workers that serve requests come to, under the names that schbench and taobench have in the registry.

A number nobody measured is None. Latencies are in us; rates are of CPU seconds, which say the same on a slow machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from ktstr.checks import formulas
from ktstr.checks.formulas import NS, P999, Samples
from ktstr.checks.model import Group
from ktstr.record.guest import WorkerReport
from ktstr.record.vocabulary import WORK_TYPES

_PERCENTS: dict[str, int | Fraction] = {"p50": 50, "p90": 90, "p99": 99, "p999": P999}
_US = 1000


def served(groups: Sequence[Group]) -> dict[str, float | None]:
    """Metrics of a run by name, of its workers of the types Schbench and Taobench."""
    schbench = [group for group in groups if group.work_type == "Schbench"]
    taobench = [group for group in groups if group.work_type == "Taobench"]
    return {**(_schbench(schbench) if schbench else {}), **(_taobench(taobench) if taobench else {})}


def _schbench(groups: Sequence[Group]) -> dict[str, float | None]:
    messengers = [report for group in groups if group.role == 0 for report in group.reports]
    workers = [report for group in groups if group.role != 0 for report in group.reports]
    requests, seconds = _counted("Schbench", "requests", workers), _cpu_s(workers)
    return {
        **_latencies("wakeup_{}_latency_us_whole", formulas.pooled_wakes(workers)),
        **_latencies("request_{}_latency_us_whole", formulas.pooled_requests(workers)),
        "total_schbench_loops": requests,
        "total_schbench_worker_cpu_sec": seconds,
        "schbench_total_loops_per_cpu_sec": _ratio(requests, seconds),
        **_delays("msg", messengers),
        **_delays("worker", workers),
    }


def _delays(who: str, reports: Sequence[WorkerReport]) -> dict[str, float | None]:
    delay = _sum(report.schedstat_run_delay_ns for report in reports)
    count = _sum(report.schedstat_run_count for report in reports)
    return {
        f"total_schbench_{who}_run_delay_ns": delay,
        f"total_schbench_{who}_pcount": count,
        f"schbench_{who}_run_delay_ns_per_sched": _ratio(delay, count),
    }


def _taobench(groups: Sequence[Group]) -> dict[str, float | None]:
    reports = [report for group in groups for report in group.reports]
    hits, misses = (_counted("Taobench", name, reports) for name in ("hits", "misses"))
    total = None if hits is None or misses is None else hits + misses
    seconds = _cpu_s(reports)
    return {
        **_latencies("taobench_serve_{}_us_whole", formulas.pooled_requests(reports)),
        "total_taobench_ops": total,
        "total_taobench_fast_ops": hits,
        "total_taobench_slow_ops": misses,
        "total_taobench_cpu_sec": seconds,
        "taobench_total_ops_per_sec": _ratio(total, seconds),
        "taobench_fast_ops_per_sec": _ratio(hits, seconds),
        "taobench_slow_ops_per_sec": _ratio(misses, seconds),
        "taobench_hit_fraction": _ratio(hits, total),
    }


def _latencies(name: str, samples: Samples) -> dict[str, float | None]:
    """The figures of a histogram, with these parts in the name."""
    figures: dict[str, int | None] = {part: formulas.nearest_rank(samples, p) for part, p in _PERCENTS.items()}
    figures |= {"min": min(samples.values, default=None), "max": max(samples.values, default=None)}
    return {name.format(part): None if ns is None else ns / _US for part, ns in figures.items()}


def _counted(work_type: str, name: str, reports: Iterable[WorkerReport]) -> int | None:
    """The sum of a count of the type; None where no report has its counts."""
    place = [count.name for count in WORK_TYPES[work_type].counts].index(name)
    return _sum(None if report.counted is None else report.counted[place] for report in reports)


def _cpu_s(reports: Sequence[WorkerReport]) -> float | None:
    spent = _sum(report.schedstat_cpu_time_ns for report in reports)
    return None if spent is None else spent / NS


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
