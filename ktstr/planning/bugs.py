"""The plans of ``doit bugs``: one for each bug, its test under the faulty version and under the mended one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ktstr.config.bugdecl import Bug, Version
from ktstr.config.model import CellKey, Config
from ktstr.errors import HostError
from ktstr.planning.plan import Plan, make_plan
from ktstr.planning.request import Request


@dataclass(frozen=True)
class BugPlan:
    """A bug and the two cells that are to tell its versions apart; with ``seeds=`` as many of each."""

    bug: Bug
    plan: Plan


@dataclass(frozen=True)
class Unplanned:
    """A bug that cannot be planned on this machine, such as one whose kernel nobody can be asked for, and why."""

    bug: Bug
    error: HostError


def plan_bugs(request: Request, bugs: Iterable[Bug]) -> list[BugPlan | Unplanned]:
    """A plan for each bug; the steps of all are in that of the last.

    Raises InputError as ``make_plan``, and its HostError where no bug at all can be planned.
    """
    made: list[BugPlan | Unplanned] = []
    last: Plan | None = None
    for bug in bugs:
        try:
            plan = make_plan(_request(request, bug), last)
        except HostError as err:
            made.append(Unplanned(bug, err))
            continue
        made.append(BugPlan(bug, _of_versions(plan, bug)))
        last = plan
    first = next(iter(made), None)
    if last is None and isinstance(first, Unplanned):
        raise first.error
    return made


def is_of(version: Version, key: CellKey) -> bool:
    """Whether a cell is one of this version's."""
    return key.scheduler == version.scheduler and version.kernel in (None, key.kernel)


def _of_versions(plan: Plan, bug: Bug) -> Plan:
    """Without the cells of one version's scheduler on the other's kernel."""

    def wanted(key: CellKey) -> bool:
        return is_of(bug.faulty, key) or is_of(bug.mended, key)

    return replace(
        plan,
        cells=tuple(cell for cell in plan.cells if wanted(cell.key)),
        skips=tuple(skip for skip in plan.skips if wanted(skip.key)),
        broken=tuple(cell for cell in plan.broken if wanted(cell.key)),
    )


def _request(request: Request, bug: Bug) -> Request:
    versions = (bug.faulty, bug.mended)
    schedulers = tuple(dict.fromkeys(version.scheduler for version in versions))
    select = replace(request.options.select, test=(bug.name,), scheduler=schedulers)
    if bug.by_kernel:
        select = replace(select, kernel=tuple(version.kernel for version in versions if version.kernel is not None))

    def declared(config: Config) -> Config:
        return replace(bug.config, kernels=bug.config.kernels or config.kernels)

    return replace(request, options=replace(request.options, select=select), declared=declared)
