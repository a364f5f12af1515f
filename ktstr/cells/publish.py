"""Filling the run directory from what the cells of a plan left in the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ktstr.cells.remembered import Remembered
from ktstr.config.project import Project
from ktstr.planning.plan import Plan
from ktstr.results import view
from ktstr.results.failure_dumps import publish_dumps
from ktstr.results.ledger import CellOutcome


def _shown(project: Project) -> Callable[[str], str]:
    """How to show a path under the runs root: from where the user stands, if that is shorter."""
    root = str(project.runs_root)
    near = os.path.relpath(root, project.stand)

    def shown(path: str) -> str:
        return near + path[len(root) :] if len(near) < len(root) and path.startswith(root + "/") else path

    return shown


def _publish_one(plan: Plan, epoch: view.Epoch, kernel: str | None, sidecars: list[view.Publishable]) -> Sequence[Path]:
    project = plan.request.project
    verbatim = plan.request.environ.get("KTSTR_SIDECAR_DIR")
    if verbatim:
        return view.publish_verbatim(project.stand / verbatim, sidecars)
    return view.publish(project.runs_root, plan.leaf(kernel), sidecars, epoch, plan.request.cancel)


def _by_kernel(outcomes: Iterable[CellOutcome]) -> dict[str | None, list[tuple[CellOutcome, view.Publishable]]]:
    """What there is to publish, by the kernel that names its run directory."""
    found: dict[str | None, list[tuple[CellOutcome, view.Publishable]]] = {}
    for outcome in outcomes:
        if outcome.standing is not None:
            found.setdefault(outcome.standing.kernel_version, []).append((outcome, outcome.standing))
        elif outcome.sidecar is not None:
            found.setdefault(outcome.sidecar.kernel_version, []).append((outcome, outcome.sidecar))
    return found


def publish(
    plan: Plan, remembered: Remembered, epoch: view.Epoch, outcomes: Sequence[CellOutcome]
) -> list[CellOutcome]:
    """Publish every sidecar, one run directory per kernel; gives the outcomes with their paths in it.

    Raises HostError when a run directory cannot be locked or written.
    """
    paths: dict[str, Path] = {}
    for kernel, items in _by_kernel(outcomes).items():
        made = _publish_one(plan, epoch, kernel, [sidecar for _, sidecar in items])
        paths |= {outcome.name: path for (outcome, _), path in zip(items, made, strict=True)}
    setting = view.VERBATIM if plan.request.environ.get(view.VERBATIM) else view.SETTING
    publish_dumps({paths[o.name]: o.files for o in outcomes if o.name in paths}, setting)
    remembered.keep({cell.name: cell for cell in plan.cells}, outcomes, paths)
    shown = _shown(plan.request.project)
    return [
        replace(outcome, path=shown(str(paths[outcome.name])), files=tuple(map(shown, outcome.files)))
        if outcome.name in paths
        else outcome
        for outcome in outcomes
    ]
