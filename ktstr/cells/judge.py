"""What a planned cell is called in its sidecar, and the judgement of what was measured of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from ktstr.cells.run import host_context, new_run_id
from ktstr.checks.judge import Expected, Judgement, judge
from ktstr.checks.model import work_type_label
from ktstr.checks.thresholds import merge
from ktstr.config.model import Better, Builtin, PerfGate, TestDecl
from ktstr.planning.plan import Plan
from ktstr.planning.points import CellPlan, SkipPlan
from ktstr.record.cell import CellRecord
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import PerfDeltaAssertion
from ktstr.results import names
from ktstr.results import sidecar as sidecars
from ktstr.results.ledger import CellOutcome


def identity(plan: Plan, cell: CellPlan) -> names.CellIdentity:
    """Which cell it is, as its sidecar says."""
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
        run_source=names.run_source(plan.request.environ),
        perturbations=cell.compiled.perturbations.as_json(),
        perf_delta=gates(point.test),
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
        cell.compiled.works,
        scheduler,
        point.accel,
        attach_timeout_ns=point.scheduler.attach_timeout_ns,
        memory_mib=point.memory_mib,
        temporal=point.test.temporal,
        captures=point.test.captures,
        expect=point.test.expect or point.scheduler.expect,
        settings=cell.compiled.settings,
    )
    return judge(record, merge(point.scheduler.checks, point.test.checks), expected)


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
        run_source=names.run_source(plan.request.environ),
        perf_delta=gates(skip.test),
    )
    stamp = now.isoformat(timespec="milliseconds")
    whole = sidecars.build_skip(named, skip.reason, timestamp=stamp, run=new_run_id(now), host=host_context())
    return CellOutcome(skip.name, Outcome.SKIP, (skip.reason,), sidecar=whole)
