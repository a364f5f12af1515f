"""Which run directory is analysed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ktstr.stats.runs import run_folders


def source_of(folder: Path | None, kernel: str | None, root: Path, environ: Mapping[str, str]) -> Path | None:
    """The named folder; else KTSTR_SIDECAR_DIR; else the newest run directory, of that kernel when one is named.

    A directory is of a kernel when its name is ``{kernel}-{commit}``: ``7.1`` is not the kernel of ``7.1.3-abc1234``.
    None when there is no such directory. Raises HostError when ``root`` cannot be listed.
    """
    if folder is not None:
        return folder
    if environ.get("KTSTR_SIDECAR_DIR"):
        return Path(environ["KTSTR_SIDECAR_DIR"])
    prefix = "" if kernel is None else f"{kernel}-"
    return next((found for found in run_folders(root) if found.name.startswith(prefix)), None)
