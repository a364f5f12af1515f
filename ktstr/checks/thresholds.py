"""The thresholds of a test: what each means, its default, who judges it, and how layers merge.

Layers: defaults, then the scheduler's ``checks``, then the test's; the last value set wins, and a
``false`` that was set turns a check off. ``max_gap_ms`` and ``max_spread_pct`` have built-in limits,
and like starvation they are judged only while ``not_starved`` is on.
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

Source: TypeAlias = Literal["default", "scheduler", "test"]
Judge: TypeAlias = Literal["workers", "monitor", "programs", "memory"]
NAME_WIDTH = 38


@dataclass(frozen=True)
class Check:
    """One threshold. ``judged_by``: worker reports, the runqueue monitor, the kernel's counts of BPF programs, or the
    workers' memory placement."""

    default: CheckValue | None
    unit: str
    judged_by: Judge


# Order is that of show_thresholds. Meaning, type and bounds are in config.fields.CHECKS.
TABLE: dict[str, Check] = {
    "not_starved": Check(True, "", "workers"),
    "isolation": Check(None, "", "workers"),
    "max_gap_ms": Check(2000, "ms", "workers"),
    "max_spread_pct": Check(15.0, "%", "workers"),
    "max_throughput_cv": Check(None, "", "workers"),
    "min_work_rate": Check(None, "work units/CPU s", "workers"),
    "max_p99_wake_latency_ns": Check(None, "ns", "workers"),
    "max_wake_latency_cv": Check(None, "", "workers"),
    "min_iteration_rate": Check(None, "iterations/s", "workers"),
    "max_migration_ratio": Check(None, "migrations/iteration", "workers"),
    "max_imbalance_ratio": Check(4.0, "", "monitor"),
    "max_local_dsq_depth": Check(50, "tasks", "monitor"),
    "fail_on_stall": Check(True, "", "monitor"),
    "sustained_samples": Check(5, "samples", "monitor"),
    "max_fallback_rate": Check(200.0, "/s", "monitor"),
    "max_keep_last_rate": Check(100.0, "/s", "monitor"),
    "max_wait_ms": Check(1000, "ms", "monitor"),
    "max_idle_wait_ms": Check(400, "ms", "monitor"),
    "affinity": Check(True, "", "monitor"),
    "one_queue": Check(True, "", "monitor"),
    "vtime_forward": Check(False, "", "monitor"),
    "min_cgroup_share": Check(0.25, "", "monitor"),
    "max_dsq_growth": Check(100, "DSQs", "monitor"),
    "max_callback_us": Check(1000, "us", "programs"),
    "min_page_locality": Check(None, "", "memory"),
    "max_cross_node_migration_ratio": Check(None, "", "memory"),
    "max_slow_tier_ratio": Check(None, "", "memory"),
}
UNDER_NOT_STARVED = ("max_gap_ms", "max_spread_pct")
# What this version measures nothing for.
UNMEASURED: dict[str, str] = {
    name: "page placement was not read" for name, check in TABLE.items() if check.judged_by == "memory"
}
# Judged on samples of the runqueues; ``sustained_samples`` only shapes the others.
MONITORED = tuple(name for name, check in TABLE.items() if check.judged_by == "monitor" and name != "sustained_samples")


# Of these the defaults are for schedulers in BPF: the kernel's own balances by other rules.
OF_BPF = ("max_imbalance_ratio", "max_local_dsq_depth", "fail_on_stall", "max_fallback_rate", "max_keep_last_rate")


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
        """Whether a layer set it: no default."""
        return self.settings[name].source != "default" and self.settings[name].value is not False

    def unmeasured(self) -> tuple[str, ...]:
        """Gates that someone asked for (defaults do not count) and that nothing measures yet."""
        return tuple(filter(self.is_asked_for, UNMEASURED))

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


def merge(scheduler: Mapping[str, CheckValue], test: Mapping[str, CheckValue]) -> Thresholds:
    """Defaults, overlaid by the scheduler's and then the test's values.

    Raises InputError naming layer and check for an unknown name or a value of the wrong type.
    """
    settings = {name: Setting(check.default, "default") for name, check in TABLE.items()}
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
    if TABLE[name].judged_by != "memory" or setting.value is None or setting.value is False:
        return ""
    return "not judged yet" if name not in thresholds.unmeasured() else "inconclusive: not measured yet"


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
