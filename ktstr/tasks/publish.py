"""Filling the run directory from what the session's cells left in the store."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ktstr.results import view
from ktstr.tasks.session import Outcome, Session


def _shown(session: Session, path: Path) -> str:
    """The path from where the user stands, if that is shorter."""
    relative = os.path.relpath(path, session.project.stand)
    return relative if len(relative) < len(str(path)) else str(path)


def _publish_one(session: Session, kernel: str | None, sidecars: list[dict[str, Any]]) -> list[Path]:
    verbatim = session.environ.get("KTSTR_SIDECAR_DIR")
    if verbatim:
        return view.publish_verbatim(session.project.stand / verbatim, sidecars)
    leaf = view.leaf_name(kernel, session.commit())
    return view.publish(session.project.runs_root, leaf, sidecars, session.epoch)


def publish(session: Session, outcomes: list[Outcome]) -> list[Outcome]:
    """Publish every sidecar, one run directory per kernel; gives the outcomes with their paths in it.

    Raises HostError when a run directory cannot be locked or written.
    """
    by_kernel: dict[str | None, list[int]] = {}
    for i, outcome in enumerate(outcomes):
        if outcome.sidecar is not None:
            by_kernel.setdefault(outcome.sidecar["kernel_version"], []).append(i)
    published = list(outcomes)
    for kernel, indexes in by_kernel.items():
        sidecars = [outcomes[i].sidecar or {} for i in indexes]
        for i, path in zip(indexes, _publish_one(session, kernel, sidecars), strict=True):
            files = tuple(_shown(session, Path(name)) for name in outcomes[i].files)
            published[i] = replace(outcomes[i], path=_shown(session, path), files=files)
    return published
