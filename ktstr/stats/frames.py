"""What a pool keeps of a sidecar: one row of facts, its metrics by name, and those of its phases.

A number that was not measured is absent, never 0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping

from msgspec import UNSET, Struct

from ktstr.checks.formulas import Samples, cv, nearest_rank
from ktstr.record.codec import encode
from ktstr.record.host import Host
from ktstr.record.metrics import RATES
from ktstr.record.sidecar import TRUNCATED, Monitor, Sidecar
from ktstr.record.statistics import Phase, PhaseCgroup, ScenarioStats

# Metrics that are fields of a sidecar, not entries of its ext_metrics.
TYPED = (
    "worst_spread", "worst_gap_ms", "total_migrations", "worst_migration_ratio", "total_iterations",
    "max_imbalance_ratio", "max_dsq_depth", "stuck_count", "total_fallback", "total_keep_last",
)  # fmt: skip

_US = 1000  # ns
_GIB = 1 << 20  # kB


class PhaseValue(Struct, frozen=True):
    """A metric of a phase, or of one cgroup in it; ``cgroup`` is empty for the whole phase."""

    step_index: int
    label: str
    start_ms: int
    end_ms: int
    sample_count: int
    cgroup: str
    metric: str
    value: float


def verdict(sidecar: Sidecar) -> str:
    """The verdict in one word: skip, pass, inconclusive or fail."""
    if sidecar.skipped:
        return "skip"
    return "pass" if sidecar.passed else "inconclusive" if sidecar.inconclusive else "fail"


def run_facts(sidecar: Sidecar) -> dict[str, object]:
    """The row of a sidecar but for its place: everything that runs are told apart and filtered by."""
    host, origin = sidecar.host, sidecar.origin
    return {
        "test_name": sidecar.test_name,
        "topology": sidecar.topology,
        "preset": sidecar.preset,
        "scheduler": sidecar.scheduler,
        "resolve_source": sidecar.resolve_source,
        "project_commit": sidecar.project_commit,
        "measured_commit": sidecar.measured_commit,
        "payload": sidecar.payload,
        "work_type": sidecar.work_type,
        "kernel_version": sidecar.kernel_version,
        "kernel_label": sidecar.kernel_label,
        "kernel_commit": sidecar.kernel_commit,
        "run_source": sidecar.run_source,
        "accel": sidecar.accel,
        "seed": sidecar.seed,
        "emulator": sidecar.emulator,
        "origin_kind": None if origin is None else origin.kind,
        "ram_digest": None if origin is None else origin.ram_digest,
        "input_digest": sidecar.input_digest,
        "vcpus": sidecar.vcpus or None,
        "cpu_budget": sidecar.cpu_budget or None,
        "throughput_denomination": sidecar.throughput_denomination,
        "verdict": verdict(sidecar),
        "expected_failure": sidecar.expected_failure,
        "timestamp": sidecar.timestamp,
        "run_id": sidecar.run_id,
        "cleanup_duration_ms": sidecar.cleanup_duration_ms,
        "load_ns": sidecar.load_ns,
        "host_class": "" if host is None else host_class(host),
        "arch": None if host is None or host.arch is UNSET else host.arch,
        "performance_mode": sidecar.kvm_run is not None and sidecar.kvm_run.performance_mode is not None,
        "sample_count": 0 if sidecar.monitor is None else sidecar.monitor.total_samples,
        "sysctls": " ".join(sorted(sidecar.sysctls)),
        "kargs": " ".join(sorted(sidecar.kargs)),
        "host": None if host is None else json.dumps(encode(host), sort_keys=True, ensure_ascii=False),
        "overcommitted": overcommitted(sidecar),
    }


def overcommitted(sidecar: Sidecar) -> bool:
    """Whether vCPUs had to share host CPUs. Under icount they always do, which virtual time does not notice."""
    return sidecar.accel != "icount" and 0 < sidecar.cpu_budget < sidecar.vcpus


def host_class(host: Host) -> str:
    """Equal for hosts whose times can be compared: same CPUs, as many of them, the same memory to the GiB."""
    memory = None if host.total_memory_kb is UNSET else round(host.total_memory_kb / _GIB)
    same = [None if fact is UNSET else fact for fact in (host.cpu_model, host.arch, host.online_cpus)]
    return hashlib.sha256(json.dumps([*same, memory]).encode()).hexdigest()[:16]


def run_metrics(sidecar: Sidecar) -> dict[str, float]:
    """Metric name to finite value of the whole run. A field goes before an ext_metric, which goes before a payload's
    number of the same name; rates that the run did not state are made of their components.
    """
    found: dict[str, float | None] = {}
    if sidecar.monitor is not None:
        found |= _of_monitor(sidecar.monitor)
    found |= _of_stats(sidecar.stats)
    for name, number in sidecar.stats.ext_metrics.items():
        found.setdefault(name, number)
    for payload in sidecar.metrics:
        for metric in payload.metrics:
            found.setdefault(metric.name, metric.value)
    found.pop(TRUNCATED, None)
    values = _finite(found)
    return values | {name: rate for name, rate in rates(values).items() if name not in values}


def rates(values: Mapping[str, float]) -> dict[str, float]:
    """Every registered rate whose components are there, unless it is no finite number."""
    found: dict[str, float | None] = {}
    for name, kind in RATES.items():
        above, below = values.get(kind.numerator), values.get(kind.denominator)
        if above is not None and below:
            found[name] = above / below
    return _finite(found)


def _finite(found: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _of_stats(stats: ScenarioStats) -> dict[str, float | None]:
    if not stats.total_workers:  # no worker reported, so its zeros are no counts
        return {}
    return {
        "worst_spread": stats.worst_spread,
        "worst_gap_ms": stats.worst_gap_ms,
        "total_migrations": stats.total_migrations,
        "worst_migration_ratio": stats.worst_migration_ratio,
        "total_iterations": stats.total_iterations,
    }


def _of_monitor(monitor: Monitor) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    if monitor.total_samples:
        found |= {
            "max_imbalance_ratio": monitor.max_imbalance_ratio,
            "avg_imbalance_ratio": monitor.avg_imbalance_ratio,
            "max_dsq_depth": monitor.max_local_dsq_depth,
            "avg_dsq_depth": monitor.avg_local_dsq_depth,
            "stuck_count": monitor.stuck_count,
            "avg_nr_running": monitor.avg_nr_running,
            "avg_irq_util": monitor.avg_irq_util,
            "max_avg_irq_util": monitor.max_avg_irq_util,
            "psi_irq_full_avg10": monitor.psi_irq_full_avg10,
            "total_irq_pressure_us": monitor.total_irq_pressure_us,
        }
    if monitor.event_deltas is not UNSET:
        found["total_fallback"] = monitor.event_deltas.total_fallback
        found["total_keep_last"] = monitor.event_deltas.total_dispatch_keep_last
    if monitor.schedstat_deltas is not UNSET:
        deltas = monitor.schedstat_deltas
        names = ("run_delay", "pcount", "sched_count", "yld_count", "sched_goidle", "ttwu_count", "ttwu_local")
        found |= {f"total_{name}": getattr(deltas, f"total_{name}") for name in names}
        found["total_schedstat_wall_sec"] = None if deltas.wall_sec is UNSET else deltas.wall_sec
    return found


def phase_values(sidecar: Sidecar) -> Iterator[PhaseValue]:
    """Every metric of every phase, and of every cgroup in it."""
    for phase in sidecar.stats.phases:
        yield from _values(phase, "", phase.metrics)
        for name, cgroup in phase.per_cgroup.items():
            yield from _values(phase, name, cgroup_metrics(cgroup))


def _values(phase: Phase, cgroup: str, metrics: Mapping[str, float | None]) -> Iterator[PhaseValue]:
    at = (phase.step_index, phase.label, phase.start_ms, phase.end_ms, phase.sample_count)
    return (PhaseValue(*at, cgroup, name, value) for name, value in _finite(metrics).items())


def cgroup_metrics(cgroup: PhaseCgroup) -> dict[str, float | None]:
    """What the raw components of a cgroup in a phase say; metrics that it states itself go before."""
    wakes = Samples(tuple(sorted(cgroup.wake_latencies_ns)), (1.0,) * len(cgroup.wake_latencies_ns))
    delays, shares = cgroup.run_delays_ns, cgroup.off_cpu_pcts
    return {
        "p99_wake_latency_us": _us(nearest_rank(wakes, 99)),
        "median_wake_latency_us": _us(nearest_rank(wakes, 50)),
        "wake_latency_cv": cv(wakes.values),
        "mean_run_delay_us": _us(_ratio(sum(delays), len(delays))),
        "max_run_delay_us": _us(max(delays, default=None)),
        "avg_off_cpu_pct": _ratio(sum(shares), len(shares)),
        "min_off_cpu_pct": min(shares, default=None),
        "max_off_cpu_pct": max(shares, default=None),
        "off_cpu_spread_pct": max(shares) - min(shares) if shares else None,
        "migration_ratio": _ratio(cgroup.total_migrations, cgroup.total_iterations),
        "iterations_per_worker": _ratio(cgroup.total_iterations, cgroup.num_workers),
        "page_locality": _ratio(cgroup.numa_pages_local, cgroup.numa_pages_total),
        "total_cpu_time_ns": cgroup.total_cpu_time_ns,
        "total_migrations": cgroup.total_migrations,
        "total_iterations": cgroup.total_iterations,
        "worst_gap_ms": cgroup.max_gap_ms,
        **cgroup.metrics,
    }


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _us(ns: float | None) -> float | None:
    return None if ns is None else ns / _US
