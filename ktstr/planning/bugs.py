"""The plans of ``doit bugs``: one for each bug, its test under the faulty version and under the mended one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ktstr.config.bugdecl import Bug
from ktstr.config.model import Config
from ktstr.planning.plan import Plan, make_plan
from ktstr.planning.request import Request


@dataclass(frozen=True)
class BugPlan:
    """A bug and the two cells that are to tell its versions apart."""

    bug: Bug
    plan: Plan


def plan_bugs(request: Request, bugs: Iterable[Bug]) -> list[BugPlan]:
    """A plan for each bug; the steps of all are in that of the last. Raises as ``make_plan``."""
    made: list[BugPlan] = []
    for bug in bugs:
        plan = make_plan(_request(request, bug), made[-1].plan if made else None)
        made.append(BugPlan(bug, plan))
    return made


def _request(request: Request, bug: Bug) -> Request:
    select = replace(request.options.select, test=(bug.name,), scheduler=(bug.faulty, bug.mended))

    def declared(config: Config) -> Config:
        return replace(bug.config, kernels=bug.config.kernels or config.kernels)

    return replace(request, options=replace(request.options, select=select), declared=declared)
