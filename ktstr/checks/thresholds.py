"""The thresholds of a test: what each means, its default, who judges it, and how layers merge.

Layers: defaults, then those of a release (``release=1``), then the scheduler's ``checks``, then the test's; the last
value set wins, and a ``false`` that was set turns a check off. ``max_gap_ms`` and ``max_spread_pct`` have built-in
limits, of which a release has stricter ones, and like starvation they are judged only while ``not_starved`` is on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ktstr.columns import beside
from ktstr.config.fields import CHECKS
from ktstr.config.model import CheckValue
from ktstr.config.suggest import nearest
from ktstr.errors import InputError

Source: TypeAlias = Literal["default", "release", "scheduler", "test"]
Judge: TypeAlias = Literal["workers", "monitor", "programs", "memory", "cgroups", "log"]
NAME_WIDTH = 38


@dataclass(frozen=True)
class Check:
    """One threshold. ``judged_by``: worker reports, the runqueue monitor, the kernel's counts of BPF programs, the
    workers' memory placement, what the kernel counts of cgroups (cpu.stat), or its log. ``release``: in place of the
    default with ``release=1``. ``formula`` and ``unknown`` (what makes it Inconclusive, beside what the machine did)
    are for ``docs/checks.md``.
    """

    default: CheckValue | None
    unit: str
    judged_by: Judge
    formula: str
    unknown: str = "-"
    release: CheckValue | None = None


# Order is that of show_thresholds. Meaning, type and bounds are in config.fields.CHECKS.
TABLE: dict[str, Check] = {
    "not_starved": Check(
        True, "", "workers",
        "each worker, and in each phase each worker of the backdrop that never sleeps: work units > 0; every worker"
        " reports",
        "it lived shorter than one scheduling period (20 ms for each worker on its CPU), or its cgroup was frozen",
    ),
    "isolation": Check(
        None, "", "workers", "CPUs a worker was seen on, without those of its cgroup's cpusets over its life: none",
        "a worker that was seen on no CPU; all CPUs of the cpuset were offline",
    ),
    "max_gap_ms": Check(
        3000, "ms", "workers",
        "the longest time between two looks at the clock; with cpu.max, or frozen, longer by what that takes",
        release=2000,
    ),
    "max_spread_pct": Check(
        35.0, "%", "workers",
        "max - min of 100 * (wall - CPU time) / wall among workers of a group that lived at one time; unless asked for,"
        " of those that lived for 1 s or longer where no cpu.weight is written",
        "fewer than two of several workers have wall time; workers slept, or cpu.max or the freezer kept them off",
        release=15.0,
    ),
    "max_throughput_cv": Check(
        None, "", "workers", "stddev / mean of work units / CPU s, over the workers of a group",
        "a worker without CPU time; no work",
    ),
    "min_work_rate": Check(
        None, "work units/CPU s", "workers", "work units / CPU s of each worker", "no CPU time; emulated CPUs"
    ),
    "max_p99_wake_latency_ns": Check(
        None, "ns", "workers", "nearest rank: sample ceil(0.99 * n) of a group's wake latencies", "no samples"
    ),
    "max_wake_latency_cv": Check(
        None, "", "workers", "stddev / mean of a group's wake latencies",
        "fewer than two samples; cpu.max or the freezer kept them off",
    ),
    "max_p99_request_latency_ns": Check(
        None, "ns", "workers", "nearest rank: sample ceil(0.99 * n) of a group's request latencies",
        "no request was served; cpu.max or the freezer kept them off",
    ),
    "min_iteration_rate": Check(
        None, "iterations/s", "workers", "iterations / s of wall time of each worker, in each phase too",
        "no wall time; frozen for longer than is known",
    ),
    "max_migration_ratio": Check(
        None, "migrations/iteration", "workers", "migrations / iterations of a group", "no iterations"
    ),
    "min_throughput": Check(
        None, "work units/s", "workers", "work units of a cgroup's workers / s of wall time, in each phase too",
        "no wall time; emulated CPUs that were never fast enough",
    ),
    "min_utilisation_pct": Check(
        None, "%", "workers",
        "100 * CPU time of a cgroup's workers / (wall time * min(workers, CPUs)), in each phase too",
        "no wall time; a number of CPUs that is not known",
    ),
    "max_bandwidth_error_pct": Check(
        5.0, "%", "cgroups",
        "100 * |usage - expected| / expected, expected = wall * min(quota / period, CPUs), beyond what the ends of the"
        " time can add",
        "asked for, and no cgroup has cpu.max or its cpu.stat was not read twice",
    ),
    "max_weight_error_pct": Check(
        10.0, "%", "cgroups",
        "|share - fair| in points of 100, share = usage / usage of its siblings, fair = weight / weights of them",
        "asked for, and no siblings kept the same CPUs busy",
    ),
    "max_throttled_pct": Check(
        None, "%", "cgroups", "100 * nr_throttled / nr_periods of cpu.stat",
        "no cgroup has cpu.max, its cpu.stat was not read twice, or the kernel counted no period",
    ),
    "max_imbalance_ratio": Check(
        4.0, "", "monitor", "tasks of the longest runqueue / max(1, shortest that they may run on), of CPUs online",
        "asked for, and not sampled",
    ),
    "max_local_dsq_depth": Check(50, "tasks", "monitor", "tasks in one local DSQ", "asked for, and not sampled"),
    "fail_on_stall": Check(
        True, "", "monitor", "rq->clock stands still with tasks to run, while the vCPU was given 40 ms or more",
        "asked for, and not sampled",
    ),
    "sustained_samples": Check(5, "samples", "monitor", "how many samples in a row are beyond a monitor's limit"),
    "max_fallback_rate": Check(
        200.0, "/s", "monitor", "SELECT_CPU_FALLBACK between two samples / s", "asked for, and not sampled"
    ),
    "max_keep_last_rate": Check(
        100.0, "/s", "monitor", "DISPATCH_KEEP_LAST between two samples / s, while a task waits in both",
        "asked for, and not sampled",
    ),
    "max_wait_ms": Check(
        1000, "ms", "monitor",
        "since a task was queued, or last seen not to wait; with cpu.max, longer by what that takes",
        "asked for, and not sampled",
    ),
    "max_idle_wait_ms": Check(
        400, "ms", "monitor", "how long an online CPU idles while tasks wait that may run there and are not throttled",
        "asked for, and not sampled",
    ),
    "affinity": Check(True, "", "monitor", "a running task's CPU is one of cpus_mask, in two samples", "not sampled"),
    "one_queue": Check(True, "", "monitor", "runqueues that a task is on: one", "asked for, and not sampled"),
    "vtime_forward": Check(
        False, "", "monitor", "dsq_vtime or vruntime of a task that stays on one CPU", "asked for, and not sampled"
    ),
    "min_cgroup_share": Check(
        0.25, "", "monitor", "share of CPU time / the least of the fair ones, of cgroups that are always busy on the"
        " same CPUs and to which no weights, limits or other CPUs are written", "asked for, and not sampled",
    ),
    "max_dsq_growth": Check(
        100, "DSQs", "monitor", "dispatch queues at the last sample - at the first", "asked for, and not sampled"
    ),
    "max_callback_us": Check(
        1000, "us", "programs", "run time of a callback / its calls, 100 calls or more",
        "asked for, and no callback was called so often",
    ),
    "no_kernel_warning": Check(
        True, "", "log",
        "lines of the kernel's log: WARNING of kernel/sched, kernel/cgroup or lockdep, and BUG, but lockups: none",
    ),
    "min_page_locality": Check(
        None, "", "memory", "pages on the nodes that the works declare / all pages, of a group",
        "pages were not read, there are none, or no nodes are declared",
    ),
    "max_cross_node_migration_ratio": Check(
        None, "", "memory", "numa_pages_migrated of the machine since a worker's release / pages of its group",
        "pages were not read, or there are none",
    ),
    "max_slow_tier_ratio": Check(
        None, "", "memory", "pages on nodes without CPUs / all pages, of a group",
        "pages were not read, there are none, or no such node",
    ),
}  # fmt: skip
UNDER_NOT_STARVED = ("max_gap_ms", "max_spread_pct")
# Judged on samples of the runqueues; ``sustained_samples`` only shapes the others.
MONITORED = tuple(name for name, check in TABLE.items() if check.judged_by == "monitor" and name != "sustained_samples")


# Of these the defaults are for schedulers in BPF: the kernel's own balances by other rules.
OF_BPF = ("max_imbalance_ratio", "max_local_dsq_depth", "fail_on_stall", "max_fallback_rate", "max_keep_last_rate")


_OF_SOME = {
    "max_bandwidth_error_pct": "of cgroups with cpu.max",
    "max_weight_error_pct": "of siblings of unequal weight",
}


@dataclass(frozen=True)
class Setting:
    """A merged value and the layer it came from."""

    value: CheckValue | None
    source: Source


@dataclass(frozen=True)
class Thresholds:
    """Every threshold's setting, in table order."""

    settings: Mapping[str, Setting]

    def on(self, name: str) -> bool:
        """Whether a boolean check is on."""
        return self.settings[name].value is True

    def limit(self, name: str) -> float | None:
        """A numeric limit in its own unit, or None when it is unset or its switch is off."""
        value = self.settings[name].value
        if name in UNDER_NOT_STARVED and not self.on("not_starved"):
            return None
        return None if value is None or isinstance(value, bool) else value

    def is_asked_for(self, name: str) -> bool:
        """Whether somebody set it: no built-in limit."""
        return self.settings[name].source in ("scheduler", "test") and self.settings[name].value is not False

    def layer(self, name: str) -> str:
        """The layer that set it, as messages end in: ``(default)``."""
        return f"({self.settings[name].source})"

    def named(self, name: str) -> str:
        """The check and the layer that set it: ``max_wait_ms, default``."""
        return f"{name}, {self.settings[name].source}"

    def words(self, name: str) -> str:
        """A numeric limit in words: ``limit 35 % (default)``."""
        unit = TABLE[name].unit
        return f"limit {self.limit(name):g}{f' {unit}' if unit else ''} {self.layer(name)}"

    def unmonitored(self) -> tuple[str, ...]:
        """Gates that someone asked for and that can be judged only when runqueues were sampled."""
        return tuple(filter(self.is_asked_for, MONITORED))


def _checked(layer: Source, values: Mapping[str, CheckValue]) -> Mapping[str, CheckValue]:
    for name, value in values.items():
        if name not in TABLE:
            hint = nearest(name, TABLE)
            raise InputError(
                f"{layer}'s check {name!r}: found an unknown name" + (f", nearest match {hint!r}" if hint else "")
            )
        boolean = CHECKS[name].kind == "bool"
        if isinstance(value, bool) is not boolean:
            expected = "true or false" if boolean else "a number"
            raise InputError(f"{layer}'s check {name}: found {value!r}, expected {expected}")
    return values


def merge(scheduler: Mapping[str, CheckValue], test: Mapping[str, CheckValue], *, release: bool = False) -> Thresholds:
    """Defaults, overlaid by those of a release if asked for, the scheduler's and then the test's values.

    Raises InputError naming layer and check for an unknown name or a value of the wrong type.
    """
    settings = {name: Setting(check.default, "default") for name, check in TABLE.items()}
    if release:
        settings |= {n: Setting(check.release, "release") for n, check in TABLE.items() if check.release is not None}
    for name, value in _checked("scheduler", scheduler).items():
        settings[name] = Setting(value, "scheduler")
    for name, value in _checked("test", test).items():
        settings[name] = Setting(value, "test")
    return Thresholds(settings)


def _shown(value: CheckValue | None) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def note(thresholds: Thresholds, name: str) -> str:
    """Why a threshold that has a value is not judged; empty when it is."""
    if name in UNDER_NOT_STARVED and not thresholds.on("not_starved"):
        return "off with not_starved"
    setting = thresholds.settings[name]
    if name in OF_BPF and setting.source == "default":
        return "only of BPF schedulers"
    return _OF_SOME.get(name, "") if setting.source == "default" else ""


def to_text(test: str, scheduler: str, thresholds: Thresholds) -> str:
    """The report of ``show_thresholds``: one row per check with value, unit, layer and note."""
    lines = [f"Test: {test}", f"Scheduler: {scheduler}", "", "Resolved checks:"]
    for name, setting in thresholds.settings.items():
        value = f"{_shown(setting.value)} {TABLE[name].unit if setting.value is not None else ''}".strip()
        lines += beside(f"{name:<{NAME_WIDTH}}{value:<11} {setting.source}", note(thresholds, name), NAME_WIDTH + 22)
    return "\n".join(lines) + "\n"


def to_json(test: str, scheduler: str, thresholds: Thresholds) -> str:
    """The same as one JSON object; ``note`` is null for a check that is judged or unset."""
    checks = {
        name: {
            "value": setting.value,
            "unit": TABLE[name].unit,
            "source": setting.source,
            "judged_by": TABLE[name].judged_by,
            "meaning": CHECKS[name].about,
            "note": note(thresholds, name) or None,
        }
        for name, setting in thresholds.settings.items()
    }
    return json.dumps({"test": test, "scheduler": scheduler, "checks": checks}, indent=2, ensure_ascii=False) + "\n"
