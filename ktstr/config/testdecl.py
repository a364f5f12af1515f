"""Types the tests of ktstr.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktstr.config import fields
from ktstr.config import scenario_fields as tables
from ktstr.config.cgroupdecl import read_cgroups
from ktstr.config.cpusetdecl import read_cpuset, refuse_cpu_0
from ktstr.config.expectdecl import read_expect
from ktstr.config.gates import read_gates, read_pair
from ktstr.config.lifetimes import check_lifetimes
from ktstr.config.model import Backdrop, CheckValue, SchedulerDecl, TestDecl
from ktstr.config.opdecl import read_runs
from ktstr.config.ops import AddCgroup, SetControls
from ktstr.config.placed import Placed, at
from ktstr.config.reader import Reader
from ktstr.config.scenario import Cpuset
from ktstr.config.scheduleropdecl import read_scheduler_ops
from ktstr.config.stepdecl import Stage, read_backdrop, read_steps
from ktstr.config.topology import Topology
from ktstr.config.typed import read_table
from ktstr.config.workdecl import Scope
from ktstr.config.yaml_lines import Node

_PLAIN_TIMES = {"duration": "duration_ns", "settle": "settle_ns", "cleanup_budget": "cleanup_budget_ns"}
_SCENARIO = ("cgroups", "payloads", "steps", "backdrop", "matrix")


@dataclass(frozen=True)
class Known:
    """What tests name. ``schedulers``: None for those that are declared wrongly."""

    schedulers: Mapping[str, SchedulerDecl | None]
    presets: tuple[str, ...] = ()
    payloads: tuple[str, ...] = ()


def read_test(r: Reader, node: Node, name: str, path: str, known: Known) -> TestDecl:
    """One test. Problems are recorded in the reader; what could not be read takes its default."""
    before = len(r.problems)
    values = read_table(r, node, path, fields.TEST)
    limits = _constraints(r, values.pop("constraints", None), f"{path}.constraints")
    scope = Scope(values.pop("workers_per_cgroup", Scope.workers), known.payloads)
    scenario = _scenario(r, node, {key: values.pop(key, None) for key in _SCENARIO}, path, scope)
    checks = read_checks(r, values.pop("checks", None), f"{path}.checks")
    gates = read_gates(r, values.pop("perf_delta", None), f"{path}.perf_delta")
    expect = read_expect(r, values.pop("expect", None), f"{path}.expect")
    pair = read_pair(r, values.pop("compare", None), f"{path}.compare", known.schedulers)
    for key, field in _PLAIN_TIMES.items():
        if key in values:
            values[field] = values.pop(key)
    if values.get("settle_ns") and scenario.backdrop is None:
        r.wrong_key(node, "settle", f"{path}.settle", "settle only beside backdrop, which is what settles")
    lasts = values.get("duration_ns", TestDecl.duration_ns)
    ops = values.pop("scheduler_ops", None)
    values["scheduler_ops"] = read_scheduler_ops(r, ops, f"{path}.scheduler_ops", lasts, known.schedulers)
    if not values.get("cpu_controller", True):
        _check_controller(r, node, path, scenario)
    if "topology" in values:
        _check_topology(r, at(node, "topology"), f"{path}.topology", known.presets)
    values.update(_cpus_at_boot(r, node, values, path))
    if len(r.problems) == before:
        scenario.check(r)
    return TestDecl(
        name, checks=checks, perf_delta=gates, compare=pair, expect=expect, base=r.folder(at(node, "include_files")),
        where=r.where(node), **scenario.values(), **values, **limits,
    )  # fmt: skip


@dataclass(frozen=True)
class _Scenario:
    """What happens in a test: steps, or the one stage of the short form. ``whole``: the node of either."""

    whole: Placed[object]
    short: Stage | None
    steps: tuple[Stage, ...] = ()
    backdrop: Stage | None = None

    def check(self, r: Reader) -> None:
        check_lifetimes(r, self.whole, self.backdrop, self.steps if self.short is None else (self.short,))

    def values(self) -> dict[str, Any]:
        """The fields of a test that it makes."""
        short = Stage("").step() if self.short is None else self.short.step()
        return {
            "cgroups": short.cgroups,
            "payloads": short.payloads,
            "steps": tuple(stage.step() for stage in self.steps),
            "backdrop": Backdrop() if self.backdrop is None else self.backdrop.backdrop(),
        }


def _scenario(r: Reader, node: Node, parts: dict[str, Node | None], path: str, scope: Scope) -> _Scenario:
    cgroups, steps, backdrop = parts["cgroups"], parts["steps"], parts["backdrop"]
    if steps is None:
        if backdrop is not None:
            r.wrong_key(node, "backdrop", f"{path}.backdrop", "backdrop only beside steps")
        if cgroups is None and isinstance(node.value, dict):
            r.wrong(node, f"{path}.cgroups", "the cgroups and their workers, or steps", what="nothing")
        made = read_cgroups(r, cgroups, f"{path}.cgroups", scope)
        runs = read_runs(r, parts["payloads"], f"{path}.payloads", scope)
        return _Scenario(Placed(None, cgroups or node, f"{path}.cgroups"), Stage(path, made, payloads=runs))
    for key in ("cgroups", "payloads"):
        if parts[key] is not None:
            r.wrong_key(node, key, f"{path}.{key}", f"{key} in a step or in the backdrop, where there are steps")
    lasting = None if backdrop is None else read_backdrop(r, backdrop, f"{path}.backdrop", scope)
    stages = read_steps(r, steps, f"{path}.steps", scope)
    return _Scenario(Placed(None, steps, f"{path}.steps"), None, stages, lasting)


def _check_controller(r: Reader, node: Node, path: str, scenario: _Scenario) -> None:
    """Nothing is written to files of a controller that is not there."""
    stages = [scenario.short, scenario.backdrop, *scenario.steps]
    for stage in (stage for stage in stages if stage is not None):
        written = [control for placed in stage.cgroups for control in placed.value.controls]
        for op in (placed.value for placed in stage.ops):
            written += op.controls if isinstance(op, SetControls) else ()
            written += op.cgroup.controls if isinstance(op, AddCgroup) else ()
        for file, _ in written:
            if file.startswith("cpu."):
                r.wrong_key(node, "cpu_controller", f"{path}.cpu_controller", f"the cpu controller beside {file}")
                return


def _check_topology(r: Reader, node: Node, path: str, presets: tuple[str, ...]) -> None:
    if node.raw in presets:
        return
    if not re.fullmatch(fields.LABEL_PATTERN, node.raw):
        r.unknown(node, path, "a label such as 2n4l4c1t, or one of the presets", presets)
        return
    try:
        Topology.parse(node.raw)
    except ValueError as err:
        r.wrong(node, path, f"a possible machine: {str(err).partition(': ')[2]}")


def _cpus_at_boot(r: Reader, node: Node, values: dict[str, Any], path: str) -> dict[str, Any]:
    """CPUs that are offline, and those of the kernel's arguments; takes their nodes out of ``values``."""
    offline = values.pop("offline", None)
    made: dict[str, Any] = {"offline": read_cpuset(r, offline, f"{path}.offline")}
    if offline is not None:
        refuse_cpu_0(r, offline, f"{path}.offline", made["offline"])
    kargs: list[tuple[str, Cpuset]] = []
    for key in fields.CPU_KARGS:
        if (written := values.pop(key, None)) is None:
            continue
        if any(karg.partition("=")[0] == key for karg in values.get("kargs", ())):
            r.wrong_key(node, key, f"{path}.{key}", f"{key} here or in kargs, not in both")
        where = f"{path}.{key}"
        if key == "isolcpus" and isinstance(written.value, dict) and {"cpus", "flags"} & set(written.value):
            inner = read_table(r, written, where, tables.ISOLCPUS)
            made["isolcpus_flags"] = inner.get("flags", ())
            cpus = read_cpuset(r, inner.get("cpus"), f"{where}.cpus")
        else:
            cpus = read_cpuset(r, written, where)
        kargs += [] if cpus is None else [(key, cpus)]
    return {**made, "cpu_kargs": tuple(kargs)}


def read_checks(r: Reader, node: Node | None, path: str) -> dict[str, CheckValue]:
    """The thresholds a ``checks:`` mapping sets."""
    return {} if node is None else read_table(r, node, path, fields.CHECKS)


def _constraints(r: Reader, node: Node | None, path: str) -> dict[str, Any]:
    if node is None:
        return {}
    limits = read_table(r, node, path, fields.CONSTRAINTS)
    for what in ("cpus", "llcs", "numa_nodes"):
        low, high = limits.get(f"min_{what}"), limits.get(f"max_{what}")
        if low is not None and high is not None and low > high and isinstance(node.value, dict):
            r.wrong(node.value[f"max_{what}"], f"{path}.max_{what}", f"at least min_{what} ({low})")
    return limits
