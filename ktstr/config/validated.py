"""Loading ktstr.yaml quickly: a text that was validated once is not validated again."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import ktstr.config
from ktstr.config.include import Sources, read_sources
from ktstr.config.load import typed
from ktstr.config.model import Config
from ktstr.config.project import Project
from ktstr.errors import InputError


def _stamp(project: Project, sources: Sources) -> Path:
    """Named by the text of all files and by all that judged it: another ktstr validates again."""
    digest = hashlib.sha256(sources.digest.encode())
    for path in sorted(Path(ktstr.config.__path__[0]).glob("*.py")):
        digest.update(path.read_bytes())
    return project.state / f"config-{digest.hexdigest()[:32]}.ok"


def load_config(project: Project) -> Config:
    """The project's ktstr.yaml with what it includes, typed. Raises InputError with every mistake's line and column."""
    if not project.config.is_file():
        raise InputError(f"{project.config}: found no such file, expected ktstr.yaml", fix="ktstr init")
    sources = read_sources(project.config)
    stamp = _stamp(project, sources)
    is_known = stamp.exists()
    config = typed(sources, validated=is_known)
    if not is_known:
        _remember(stamp)
    return config


def declarations_digest(project: Project) -> str:
    """Of the project's ktstr.yaml with what it includes: the same on every machine. Raises as ``load_config``."""
    return read_sources(project.config).digest


def _remember(stamp: Path) -> None:
    """An unwritable target is reported by what needs it; here it only costs validating again."""
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        for old in stamp.parent.glob("config-*.ok"):
            old.unlink(missing_ok=True)
        stamp.touch()
