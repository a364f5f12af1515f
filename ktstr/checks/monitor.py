"""What the runqueue monitor saw, summed up for the sidecar, and judged by its thresholds.

Imbalance in the summary is the field's own: ``max / max(1, min)`` of ``nr_running``. It is judged without what is no
scheduler's choice: tasks that wait in a shared DSQ are on no CPU's queue, nor are those that cpu.max may throttle, and
a long queue counts beside a short one only if one of its tasks may run there. CPUs that the scenario took offline have
no queue. Keep-lasts count while a task waits from one sample to the next. A clock that stands still is judged against
what the vCPU was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from msgspec import UNSET
from msgspec.structs import replace

from ktstr.checks.formulas import MS, NS
from ktstr.checks.samples import View, cpus_of, is_shared, longest_run
from ktstr.checks.thresholds import Thresholds
from ktstr.checks.verdict import Detail, Verdict
from ktstr.record.numbers import Number
from ktstr.record.samples import CpuSample, MonitorSample, TaskSample
from ktstr.record.sidecar import EventDeltas, Monitor, SchedstatDeltas
from ktstr.record.statistics import Phase, ScenarioStats

_GIVEN_TICKS_NS = 40 * MS  # 10 ticks at 250 Hz: a vCPU that was given less than this of its host could not tick
# The sidecar's names of sched_ext's counters (kernel/sched/ext_internal.h), and older names behind.
_COUNTERS = {
    "total_fallback": ("SELECT_CPU_FALLBACK",),
    "total_dispatch_offline": ("DISPATCH_LOCAL_DSQ_OFFLINE",),
    "total_dispatch_keep_last": ("DISPATCH_KEEP_LAST",),
    "total_enq_skip_exiting": ("ENQ_SKIP_EXITING",),
    "total_enq_skip_migration_disabled": ("ENQ_SKIP_MIGRATION_DISABLED",),
    "total_reenq_immed": ("REENQ_IMMED",),
    "total_reenq_local_repeat": ("REENQ_LOCAL_REPEAT",),
    "total_refill_slice_dfl": ("REFILL_SLICE_DFL", "ENQ_SLICE_DFL"),
    "total_bypass_duration": ("BYPASS_DURATION",),
    "total_bypass_dispatch": ("BYPASS_DISPATCH",),
    "total_bypass_activate": ("BYPASS_ACTIVATE",),
    "total_insert_not_owned": ("INSERT_NOT_OWNED",),
    "total_sub_bypass_dispatch": ("SUB_BYPASS_DISPATCH",),
}
FALLBACK, KEEP_LAST = _COUNTERS["total_fallback"], _COUNTERS["total_dispatch_keep_last"]


def imbalance(sample: MonitorSample, offline: frozenset[int] = frozenset()) -> float:
    """The longest runqueue over the shortest, at least 1; without those of CPUs that are offline."""
    lengths = [cpu.nr_running for number, cpu in enumerate(sample.cpus) if number not in offline]
    return max(lengths, default=0) / max(1, min(lengths, default=0))


def local_depth(sample: MonitorSample) -> int:
    """The deepest local DSQ."""
    return max((cpu.local_dsq or 0 for cpu in sample.cpus), default=0)


def is_stuck(before: CpuSample, now: CpuSample) -> bool:
    """Whether a runqueue's clock stood still between two samples although there was something to run, and the host
    gave the vCPU the time to notice."""
    if now.clock != before.clock or not now.clock or not (before.nr_running or now.nr_running):
        return False
    if before.given_ns is None or now.given_ns is None:
        return True
    return now.given_ns - before.given_ns >= _GIVEN_TICKS_NS


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def summary(view: View) -> Monitor:
    """The sidecar's ``monitor``."""
    samples = view.samples
    cpus = [cpu for sample in samples for cpu in sample.cpus]
    ratios = [imbalance(sample, view.offline(sample)) for sample in samples]
    return Monitor(
        total_samples=len(samples),
        max_imbalance_ratio=max(ratios),
        max_local_dsq_depth=max(map(local_depth, samples)),
        stuck_count=sum(
            is_stuck(a, b) for before, now in pairwise(samples) for a, b in zip(before.cpus, now.cpus, strict=True)
        ),
        avg_imbalance_ratio=_mean(ratios),
        avg_nr_running=_mean([cpu.nr_running for cpu in cpus]),
        avg_local_dsq_depth=_mean([cpu.local_dsq or 0 for cpu in cpus]),
        avg_irq_util=None,
        max_avg_irq_util=None,
        psi_irq_full_avg10=None,
        total_irq_pressure_us=None,
        event_deltas=_event_deltas(samples) or UNSET,
        schedstat_deltas=_schedstat_deltas(samples) or UNSET,
    )


def with_phases(stats: ScenarioStats, view: View) -> ScenarioStats:
    """The same statistics; each phase has the samples that were taken in it, and what they come to."""
    begin = view.begin_ns
    return replace(stats, phases=tuple(_with_samples(phase, view, begin) for phase in stats.phases))


def _with_samples(phase: Phase, view: View, begin_ns: int) -> Phase:
    within = tuple(s for s in view.samples if phase.start_ms <= (s.at_ns - begin_ns) / MS <= phase.end_ms)
    if not within:
        return phase
    found = summary(dataclasses.replace(view, samples=within))
    metrics: dict[str, Number] = {
        "max_imbalance_ratio": found.max_imbalance_ratio,
        "avg_imbalance_ratio": found.avg_imbalance_ratio,
        "max_dsq_depth": found.max_local_dsq_depth,
        "avg_dsq_depth": found.avg_local_dsq_depth,
        "stuck_count": found.stuck_count,
        "avg_nr_running": found.avg_nr_running,
    }
    if found.event_deltas is not UNSET:
        metrics["total_fallback"] = found.event_deltas.total_fallback
        metrics["total_keep_last"] = found.event_deltas.total_dispatch_keep_last
    return replace(phase, sample_count=len(within), metrics={**phase.metrics, **metrics})


def captured(view: View, wanted: int) -> int:
    """For so many moments, evenly apart in the workload: how many samples are nearest to one of them."""
    end = view.end_ns if view.end_ns is not None else view.samples[-1].at_ns
    due = [view.start_ns + (end - view.start_ns) * (n + 1) // (wanted + 1) for n in range(wanted)]
    return len({_nearest(view.samples, at) for at in due})


def _nearest(samples: Sequence[MonitorSample], at_ns: int) -> int:
    """The place of the sample that was taken nearest to a time."""
    return min(range(len(samples)), key=lambda index: abs(samples[index].at_ns - at_ns))


def _count(sample: MonitorSample, names: Iterable[str]) -> int:
    """A counter that this kernel lacks counts nothing (as the reference has it)."""
    return next((sample.events[name] for name in names if sample.events and name in sample.events), 0)


def _grown(before: MonitorSample, now: MonitorSample, names: Iterable[str]) -> int:
    """By how much a counter grew; a scheduler that was attached since begins at 0."""
    names = tuple(names)
    first = _count(before, names) if before.root == now.root else 0
    return max(0, _count(now, names) - first)


def _event_deltas(samples: Sequence[MonitorSample]) -> EventDeltas | None:
    with_events = [sample for sample in samples if sample.events is not None]
    if len(with_events) < 2:
        return None
    pairs = list(pairwise(with_events))
    totals = {field: sum(_grown(a, b, names) for a, b in pairs) for field, names in _COUNTERS.items()}
    seconds = (with_events[-1].at_ns - with_events[0].at_ns) / NS
    return EventDeltas(
        **totals,
        max_fallback_burst=max(_grown(a, b, FALLBACK) for a, b in pairs),
        fallback_rate=totals["total_fallback"] / seconds,
        keep_last_rate=totals["total_dispatch_keep_last"] / seconds,
    )


def _schedstat_deltas(samples: Sequence[MonitorSample]) -> SchedstatDeltas | None:
    counted = [(sample.at_ns, sample.schedstat) for sample in samples if sample.schedstat is not None]
    if len(counted) < 2:
        return None
    (begin, first), (end, last) = counted[0], counted[-1]
    seconds = (end - begin) / NS
    grown = {name: max(0, getattr(last, name) - getattr(first, name)) for name in first.__struct_fields__}
    return SchedstatDeltas(
        total_run_delay=grown["run_delay"],
        total_pcount=grown["pcount"],
        total_sched_count=grown["sched_count"],
        total_yld_count=grown["yld_count"],
        total_sched_goidle=grown["sched_goidle"],
        total_ttwu_count=grown["ttwu_count"],
        total_ttwu_local=grown["ttwu_local"],
        run_delay_rate=grown["run_delay"] / seconds,
        sched_count_rate=grown["sched_count"] / seconds,
        wall_sec=seconds,
    )


@dataclass(frozen=True)
class Skew:
    """A long queue and a short one that could have had some of it."""

    ratio: float
    long: int
    short: int


def skew(view: View, sample: MonitorSample) -> Skew:
    """The worst pair of CPUs, as judged: see above."""
    own, apart = own_lengths(view, sample), view.offline(sample) | view.restraints.isolated
    worst = Skew(1.0, 0, 0)
    for long, cpu in enumerate(sample.cpus):
        waiting = [task for task in cpu.waiting if not is_shared(task) and not _stays(view, task)]
        movable = frozenset[int]().union(*(cpus_of(task.allowed) for task in waiting)) - apart
        short = min((c for c in movable if c < len(own)), key=lambda c: own[c], default=None)
        if short is not None and (ratio := own[long] / max(1, own[short])) > worst.ratio:
            worst = Skew(ratio, long, short)
    return worst


def _stays(view: View, task: TaskSample) -> bool:
    """Whether it is not to be moved: it may be throttled, or where it is no load is balanced."""
    return view.is_throttled(task) or view.is_unbalanced(task)


def own_lengths(view: View, sample: MonitorSample) -> list[int]:
    """Of each CPU the tasks that are its own: what runs, and waits where only it takes from."""
    return [
        (cpu.running is not None) + sum(not is_shared(task) and not view.is_throttled(task) for task in cpu.waiting)
        for cpu in sample.cpus
    ]


@dataclass(frozen=True)
class _Rule:
    """A limit: ``value`` of two samples that follow each other, and what it says of the worst."""

    name: str
    value: Callable[[View, MonitorSample, MonitorSample], float]
    words: Callable[[View, MonitorSample, float], str]


def _rate(names: tuple[str, ...], a: MonitorSample, b: MonitorSample) -> float:
    return _grown(a, b, names) * NS / (b.at_ns - a.at_ns) if b.at_ns > a.at_ns else 0.0


def _keep_last_rate(view: View, before: MonitorSample, now: MonitorSample) -> float:
    """A CPU that goes on with what it ran, because there is nothing else for it, is what it should do: only while
    somebody waits from one sample to the next is it counted."""
    return _rate(KEEP_LAST, before, now) if _unmoved(view, before) & _unmoved(view, now) else 0.0


def _unmoved(view: View, sample: MonitorSample) -> frozenset[tuple[int, int]]:
    """The tasks that wait, with what each has run."""
    return frozenset((one.task.pid, one.task.exec_ns) for one in view.runnable(sample))


def _skew_words(view: View, sample: MonitorSample, value: float) -> str:
    worst, lengths = skew(view, sample), own_lengths(view, sample)
    long, short = lengths[worst.long], lengths[worst.short]
    return f"imbalance {value:.1f}: CPU {worst.long} had {long} tasks, CPU {worst.short} {short}"


def _depth_words(_: View, sample: MonitorSample, value: float) -> str:
    deepest = max(range(len(sample.cpus)), key=lambda c: sample.cpus[c].local_dsq or 0)
    return f"{value:g} tasks in the local DSQ of CPU {deepest}"


RULES = (
    _Rule("max_imbalance_ratio", lambda view, _, now: skew(view, now).ratio, _skew_words),
    _Rule("max_local_dsq_depth", lambda _, __, now: float(local_depth(now)), _depth_words),
    _Rule(
        "max_fallback_rate",
        lambda _, before, now: _rate(FALLBACK, before, now),
        lambda _, __, value: f"{value:.0f} select_cpu fallbacks a second",
    ),
    _Rule("max_keep_last_rate", _keep_last_rate, lambda _, __, value: f"{value:.0f} dispatch keep-lasts a second"),
)


def judge(view: View, limits: Thresholds, *, sched_ext: bool) -> list[Detail]:
    """Reasons for a limit that did not hold for ``sustained_samples`` on end. The defaults are of schedulers in BPF;
    of the kernel's own, what somebody asked for is judged."""
    details = []
    for rule in RULES:
        if limits.limit(rule.name) is not None and (sched_ext or limits.is_asked_for(rule.name)):
            details += _judged(view, rule, limits)
    if limits.on("fail_on_stall") and (sched_ext or limits.is_asked_for("fail_on_stall")):
        details += _stalls(view, limits)
    return details


def _sustained(limits: Thresholds) -> int:
    return int(limits.limit("sustained_samples") or 1)


def _judged(view: View, rule: _Rule, limits: Thresholds) -> list[Detail]:
    limit = limits.limit(rule.name)
    assert limit is not None
    values = [(rule.value(view, before, now), now) for before, now in pairwise(view.samples)]
    run = longest_run(values, lambda pair: pair[0] > limit)
    if len(run) < _sustained(limits):
        return []
    worst, sample = max(run, key=lambda pair: pair[0])
    what = (
        f"{rule.words(view, sample, worst)}, limit {limit:g} ({limits.named(rule.name)}), beyond it for {len(run)}"
        f" samples from {view.ms(run[0][1])} ms on"
    )
    return [Detail(Verdict.FAIL, "Monitor", what, value=worst, limit=limit)]


def _stalls(view: View, limits: Thresholds) -> list[Detail]:
    runs = [(cpu, _stuck_run(view, cpu)) for cpu in range(len(view.samples[0].cpus))]
    return [_stall(view, cpu, run, limits) for cpu, run in runs if len(run) >= _sustained(limits)]


def _stuck_run(view: View, cpu: int) -> Sequence[tuple[MonitorSample, MonitorSample]]:
    pairs = list(pairwise(view.samples))
    return longest_run(
        pairs, lambda pair: is_stuck(pair[0].cpus[cpu], pair[1].cpus[cpu]) and cpu not in view.offline(pair[1])
    )


def _stall(view: View, cpu: int, run: Sequence[tuple[MonitorSample, MonitorSample]], limits: Thresholds) -> Detail:
    first, last = run[0][0], run[-1][1]
    what = (
        f"CPU {cpu}'s runqueue clock stood still from {view.ms(first)} to {view.ms(last)} ms"
        f" with {last.cpus[cpu].nr_running} task(s) to run, for {len(run)} samples, limit {_sustained(limits)}"
        f" ({limits.named('fail_on_stall')})"
    )
    return Detail(Verdict.FAIL, "Monitor", what, value=len(run), limit=_sustained(limits))
