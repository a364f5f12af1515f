"""Filling the run directory from what cells left in the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ktstr.cancel import Cancel
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


@dataclass(frozen=True)
class Place:
    """Where sidecars are published. ``leaf``: the run directory's name for what ran on a kernel."""

    project: Project
    environ: Mapping[str, str]
    leaf: Callable[[str | None], str]
    cancel: Cancel


def _publish_one(place: Place, epoch: view.Epoch, kernel: str | None, sidecars: list[view.Publishable]) -> list[Path]:
    verbatim = place.environ.get(view.VERBATIM)
    if verbatim:
        return view.publish_verbatim(place.project.stand / verbatim, sidecars)
    return view.publish(place.project.runs_root, place.leaf(kernel), sidecars, epoch, place.cancel)


def _by_kernel(outcomes: Iterable[CellOutcome]) -> dict[str | None, list[tuple[CellOutcome, view.Publishable]]]:
    """What there is to publish, by the kernel that names its run directory."""
    found: dict[str | None, list[tuple[CellOutcome, view.Publishable]]] = {}
    for outcome in outcomes:
        if outcome.standing is not None:
            found.setdefault(outcome.standing.kernel_version, []).append((outcome, outcome.standing))
        elif outcome.sidecar is not None:
            found.setdefault(outcome.sidecar.kernel_version, []).append((outcome, outcome.sidecar))
    return found


def publish_at(place: Place, epoch: view.Epoch, outcomes: Sequence[CellOutcome]) -> dict[str, Path]:
    """Publish every sidecar, one run directory per kernel; gives their paths by the names of their cells.

    Raises HostError when a run directory cannot be locked or written.
    """
    paths: dict[str, Path] = {}
    for kernel, items in _by_kernel(outcomes).items():
        made = _publish_one(place, epoch, kernel, [sidecar for _, sidecar in items])
        paths |= {outcome.name: path for (outcome, _), path in zip(items, made, strict=True)}
    setting = view.VERBATIM if place.environ.get(view.VERBATIM) else view.SETTING
    publish_dumps({paths[o.name]: o.files for o in outcomes if o.name in paths}, setting)
    return paths


def shown_at(project: Project, outcomes: Iterable[CellOutcome], paths: Mapping[str, Path]) -> list[CellOutcome]:
    """The outcomes with their paths, as they are shown."""
    shown = _shown(project)
    return [
        replace(outcome, path=shown(str(paths[outcome.name])), files=tuple(map(shown, outcome.files)))
        if outcome.name in paths
        else outcome
        for outcome in outcomes
    ]


def publish(
    plan: Plan, remembered: Remembered, epoch: view.Epoch, outcomes: Sequence[CellOutcome]
) -> list[CellOutcome]:
    """Publish what came of a plan, and remember where; gives them with their paths. Raises as ``publish_at``."""
    request = plan.request
    place = Place(request.project, request.environ, plan.leaf, request.cancel)
    paths = publish_at(place, epoch, outcomes)
    remembered.keep({cell.name: cell for cell in plan.cells}, outcomes, paths)
    return shown_at(request.project, outcomes, paths)
