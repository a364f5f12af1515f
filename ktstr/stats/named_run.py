"""The run directory that ``run=`` names, and nothing outside of the folder of run directories."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ktstr.columns import printable
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.files import unreadable
from ktstr.stats.runs import run_folders


def find_run(root: Path, name: str) -> Path:
    """The folder ``name`` below ``root``: a run directory, or one inside it, such as ``7.2-abc1234/icount-s0``.

    Raises InputError for a name that leads elsewhere (absolute, ``.``, ``..``, empty), and for one that is not there,
    with the nearest one that is.
    """
    _check(name)
    folder = root / name
    try:
        if folder.is_dir():
            return folder
    except OSError as err:
        raise unreadable(err, folder) from err
    hint = nearest(name, [found.name for found in run_folders(root)])
    meant = f". Did you mean `{printable(hint)}`?" if hint else ""
    raise InputError(
        f"run={name}: found no run directory of that name in {root}{meant}",
        fix="doit stats_list shows the runs that there are",
    )


def _check(name: str) -> None:
    """Raise InputError unless every part of the name is the name of a file."""
    parts = name.split("/")
    if PurePosixPath(name).is_absolute() or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"run={name}: found {name!r}, expected the name of a run directory, without '.', '..' or a leading '/'",
            fix="doit stats_list shows the runs that there are",
        )
