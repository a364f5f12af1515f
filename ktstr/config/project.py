"""Where things are: the user's project, its target folder, and the file names in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import InputError

CELLS = ".cells"  # the cell store, below the folder of run directories
_MARK = "ktstr.tasks"


@dataclass(frozen=True)
class Project:
    """A folder with ``dodo.py`` and ``ktstr.yaml``; ``stand`` is where the user stood."""

    root: Path
    stand: Path
    runs_root: Path

    @property
    def dodo(self) -> Path:
        return self.root / "dodo.py"

    @property
    def config(self) -> Path:
        return self.root / "ktstr.yaml"

    @property
    def lock(self) -> Path:
        return self.root / "ktstr.lock"

    def runs(self, given: str | None) -> Path:
        """The folder of run directories that ``dir=`` names, seen from where the user stands; the project's own
        without it."""
        return self.runs_root if given is None else self.stand / Path(given).expanduser()

    @property
    def cells(self) -> Path:
        return self.runs_root / CELLS

    @property
    def unstored(self) -> Path:
        """Kernels of trees with uncommitted changes: no cache keeps them."""
        return self.runs_root / ".unstored"

    @property
    def locks(self) -> Path:
        return self.runs_root / ".locks"

    @property
    def state(self) -> Path:
        return self.runs_root / ".state"


def is_ktstr_dodo(path: Path) -> bool:
    """Whether this dodo.py is one of ours: it imports the task families."""
    try:
        return _MARK in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def find_root(stand: Path) -> Path | None:
    """The nearest folder upwards that has a ``dodo.py``, if that is one of ours, else None."""
    for folder in (stand, *stand.parents):
        if (folder / "dodo.py").is_file():
            return folder if is_ktstr_dodo(folder / "dodo.py") else None
    return None


def find_project(stand: Path, environ: Mapping[str, str]) -> Project:
    """The project around ``stand``. Raises InputError when there is none."""
    root = find_root(stand)
    if root is None:
        raise InputError(f"{stand}: found no dodo.py of ktstr here or above, expected a project", fix="ktstr init")
    return Project(root, stand, runs_root(root, environ))


def runs_root(root: Path, environ: Mapping[str, str]) -> Path:
    """``KTSTR_RUNS_ROOT``, else ``{CARGO_TARGET_DIR}/ktstr``, else ``target/ktstr`` (spec stats 7.1)."""
    if environ.get("KTSTR_RUNS_ROOT"):
        return root / environ["KTSTR_RUNS_ROOT"]
    target = environ.get("CARGO_TARGET_DIR") or "target"
    return root / target / "ktstr"


def current_dir() -> Path:
    """The folder the user stands in. Raises InputError when it has been removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise InputError("the current folder no longer exists", fix="cd to the project") from None
