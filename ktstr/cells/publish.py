"""Filling the run directory from what the session's cells left in the store."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ktstr.results import view
from ktstr.tasks.session import Outcome, Session


def _shown(session: Session) -> Callable[[str], str]:
    """How to show a path under the runs root: from where the user stands, if that is shorter."""
    root = str(session.project.runs_root)
    near = os.path.relpath(root, session.project.stand)

    def shown(path: str) -> str:
        return near + path[len(root) :] if len(near) < len(root) and path.startswith(root + "/") else path

    return shown


def _publish_one(session: Session, kernel: str | None, sidecars: list[view.Publishable]) -> list[Path]:
    verbatim = session.environ.get("KTSTR_SIDECAR_DIR")
    if verbatim:
        return view.publish_verbatim(session.project.stand / verbatim, sidecars)
    leaf = view.leaf_name(kernel, session.commit())
    return view.publish(session.project.runs_root, leaf, sidecars, session.epoch)


def _by_kernel(outcomes: list[Outcome]) -> dict[str | None, list[tuple[Outcome, view.Publishable]]]:
    """What there is to publish, by the kernel that names its run directory."""
    found: dict[str | None, list[tuple[Outcome, view.Publishable]]] = {}
    for outcome in outcomes:
        if outcome.standing is not None:
            found.setdefault(outcome.standing.kernel_version, []).append((outcome, outcome.standing))
        elif outcome.sidecar is not None:
            found.setdefault(outcome.sidecar.kernel_version, []).append((outcome, outcome.sidecar))
    return found


def publish(session: Session, outcomes: list[Outcome]) -> list[Outcome]:
    """Publish every sidecar, one run directory per kernel; gives the outcomes with their paths in it.

    Raises HostError when a run directory cannot be locked or written.
    """
    paths: dict[str, Path] = {}
    for kernel, items in _by_kernel(outcomes).items():
        made = _publish_one(session, kernel, [sidecar for _, sidecar in items])
        paths |= {outcome.name: path for (outcome, _), path in zip(items, made, strict=True)}
    plans = {cell.name: cell for cell in session.plan.cells} if session.plan else {}
    session.remembered().keep(plans, outcomes, paths)
    shown = _shown(session)
    return [
        replace(outcome, path=shown(str(paths[outcome.name])), files=tuple(map(shown, outcome.files)))
        if outcome.name in paths
        else outcome
        for outcome in outcomes
    ]
