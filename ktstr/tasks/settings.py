"""Loading ktstr.yaml quickly: a text that was validated once is not validated again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ktstr.config.load import load
from ktstr.config.model import Config
from ktstr.errors import InputError
from ktstr.tasks.project import Project


def _stamp(project: Project) -> Path:
    digest = hashlib.sha256()
    for path in (project.config, Path(__file__)):
        digest.update(path.read_bytes())
    return project.state / f"config-{digest.hexdigest()[:32]}.ok"


def load_config(project: Project) -> Config:
    """The project's ktstr.yaml, typed. Raises InputError with line and column of every mistake."""
    if not project.config.is_file():
        raise InputError(f"{project.config}: found no such file, expected ktstr.yaml", fix="ktstr init")
    stamp = _stamp(project)
    config = load(project.config, validated=stamp.exists())
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError:
        pass  # an unwritable target is reported by what needs it; validating again only costs time
    return config
