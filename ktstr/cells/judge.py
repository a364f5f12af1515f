"""What a planned cell is called in its sidecar, and the judgement of what was measured of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from ktstr.cells.run import host_context, new_run_id
from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.model import WorkGroup, work_type_label
from ktstr.checks.thresholds import merge
from ktstr.config.model import Better, Builtin, PayloadDecl, PerfGate, TestDecl
from ktstr.config.payload_use import used_payloads
from ktstr.planning.inputs import inputs_of
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, SkipPlan
from ktstr.record.cell import CellRecord
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.results import names
from ktstr.results import sidecar as sidecars
from ktstr.results.ledger import CellOutcome
from ktstr.scenarios.boot import isolated_cpus, offline_cpus

if TYPE_CHECKING:
    from ktstr.scenarios.compile import Compiled
    from ktstr.scenarios.program import Work


def identity(plan: Plan, cell: CellPlan) -> names.CellIdentity:
    """Which cell it is, as its sidecar says."""
    assert plan.machine is not None, "a plan with cells has a machine"
    point = cell.point
    kernel = point.kernel.entry()
    return names.CellIdentity(
        test=cell.key.test,
        preset=cell.key.preset,
        topology=point.topology.label,
        vcpus=point.topology.cpus,
        scheduler=cell.key.scheduler,
        accel=point.accel,
        seed=cell.key.seed,
        work_type=work_type_label(cell.compiled.works),
        cpu_budget=point.host_cpus,
        sysctls=tuple(arg for arg in point.kernel_args if arg.startswith("sysctl.")),
        kargs=tuple(arg for arg in point.kernel_args if not arg.startswith("sysctl.")),
        kernel_version=None if kernel is None else kernel.version,
        kernel_commit=point.kernel.commit,
        kernel_label=point.kernel.label,
        kernel_hz=None if kernel is None else kernel.hz,
        kernel_preempt=None if kernel is None else kernel.preempt,
        project_commit=plan.commit,
        resolve_source=point.image.resolve_source,
        payload=_payload_label(point.test),
        run_source=names.run_source(plan.request.environ),
        perturbations=cell.compiled.perturbations.as_json(),
        perf_delta=gates(point.test),
        release=point.release,
        inputs=inputs_of(cell, plan.machine),
    )


def gates(test: TestDecl) -> tuple[PerfDeltaAssertion, ...]:
    """A test's declared limits, as its sidecars carry them."""
    return tuple(map(_assertion, test.perf_delta))


def _assertion(gate: PerfGate) -> PerfDeltaAssertion:
    """A declared limit as a sidecar carries it."""
    polarity: dict[Better | None, Literal["HigherBetter", "LowerBetter"] | None] = {
        "higher": "HigherBetter", "lower": "LowerBetter", None: None,
    }  # fmt: skip
    return PerfDeltaAssertion(
        metric=gate.metric,
        direction=polarity[gate.direction],
        max_regression_pct=gate.max_regression_pct,
        min_abs=gate.min_abs,
        phase=gate.phase,
    )


def judged(cell: CellPlan, record: CellRecord) -> Judgement:
    """The judgement of a record by this cell's thresholds."""
    point = cell.point
    scheduler = None if isinstance(point.scheduler.kind, Builtin) else cell.key.scheduler
    expected = Expected(
        works_of(cell.compiled),
        scheduler,
        point.accel,
        attach_timeout_ns=point.scheduler.attach_timeout_ns,
        memory_mib=point.memory_mib,
        temporal=point.test.temporal,
        captures=point.test.captures,
        expect=point.test.expect or point.scheduler.expect,
        settings=cell.compiled.settings,
        payloads=payloads_of(cell),
        phases=cell.compiled.phases,
        spans=cell.compiled.spans,
        cleanup_budget_ns=point.test.cleanup_budget_ns,
        offline=offline_cpus(point.test, point.topology),
        isolated=isolated_cpus(point.test, point.topology),
        cpu_controller=point.test.cpu_controller,
    )
    limits = merge(point.scheduler.checks, point.test.checks, release=point.release)
    return judge(record, limits, expected)


def works_of(compiled: Compiled) -> tuple[WorkGroup, ...]:
    """The works of a cell; those that are pinned have as few CPUs as their pins, however many their cgroup has."""
    return tuple(
        work if (pinned := _pinned(compiled.program.works[work.work_index])) is None else _pinned_to(work, pinned)
        for work in compiled.works
    )


def _pinned(work: Work) -> frozenset[int] | None:
    """The CPUs that workers pin themselves to, all of them together; None where one does not."""
    affinities = [worker.affinity or work.affinity for worker in work.workers]
    return frozenset[int]().union(*(cpus for cpus in affinities if cpus)) if all(affinities) and affinities else None


def _pinned_to(work: WorkGroup, cpus: frozenset[int]) -> WorkGroup:
    fewest = len(cpus if work.cpus is None else cpus & set(work.cpus)) or 1
    return replace(work, fewest_cpus=fewest if work.fewest_cpus is None else min(fewest, work.fewest_cpus))


def payloads_of(cell: CellPlan) -> dict[int, PayloadDecl]:
    """The payloads of a cell's program, by place in its table."""
    declared = {payload.name: payload for payload in cell.point.payloads}
    return {place: declared[name] for place, name in enumerate(cell.compiled.payload_names) if name is not None}


def _payload_label(test: TestDecl) -> str | None:
    """The payloads of a test for its sidecar, in declared order; None without any."""
    return "+".join(used_payloads(test)) or None


def skipped(plan: Plan, skip: SkipPlan) -> CellOutcome:
    """The outcome of a cell that its test's constraints rule out, with its minimal sidecar."""
    now = datetime.now(UTC)
    works = [work.work_type for cgroup in skip.test.cgroups for work in cgroup.works]
    named = names.CellIdentity(
        test=skip.key.test,
        preset=skip.key.preset,
        topology=skip.topology.label,
        vcpus=0,
        scheduler=skip.key.scheduler,
        accel=skip.accel,
        seed=skip.key.seed,
        work_type="+".join(dict.fromkeys(works)),
        cpu_budget=0,
        kernel_version=skip.kernel.version(),
        kernel_label=skip.kernel.label,
        project_commit=plan.commit,
        payload=_payload_label(skip.test),
        run_source=names.run_source(plan.request.environ),
        perf_delta=gates(skip.test),
    )
    stamp = now.isoformat(timespec="milliseconds")
    whole = sidecars.build_skip(named, skip.reason, timestamp=stamp, run=new_run_id(now), host=host_context())
    return CellOutcome(skip.name, Outcome.SKIP, (skip.reason,), sidecar=whole)
