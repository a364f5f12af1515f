"""``ktstr init [DIR]``: the two files that make a folder a ktstr project."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ktstr.errors import InputError
from ktstr.files import full_or_denied, write_new
from ktstr.resources import template

DODO = "from ktstr.tasks.graph import *  # noqa: F403\n"
CONFIG = "ktstr.yaml"
IGNORED = "/target/ktstr/"
# Lines of a .gitignore that already cover our results.
_COVERING = frozenset({"target", "/target", "target/", "/target/", "target/ktstr/", IGNORED})


def init(folder: Path) -> tuple[Path, ...]:
    """Write ``dodo.py`` and ``ktstr.yaml`` to ``folder``, made when missing; returns what was written.

    In the root of a git work tree the results are ignored too. Raises InputError, with nothing
    written, when one of the two exists; HostError when the folder cannot be written.
    """
    texts = {folder / "dodo.py": DODO, folder / CONFIG: template(CONFIG).read_text(encoding="utf-8")}
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: found a file, expected a folder", fix="ktstr init [DIR]")
    there = [path for path in texts if os.path.lexists(path)]
    if there:
        names = " and ".join(str(path) for path in there)
        raise InputError(f"{names}: found it there, expected none", fix="edit it, or move it away first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            write_new(path, text.encode())
        return (*texts, *_ignore_results(folder))
    except FileExistsError as err:
        raise InputError(f"{err.filename2 or err.filename}: found it there, expected none") from None
    except OSError as err:
        raise full_or_denied(err, folder, None) from None


def _ignore_results(folder: Path) -> tuple[Path, ...]:
    """Have git ignore the results, unless a line of the .gitignore already does."""
    path = folder / ".gitignore"
    before = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    if not (folder / ".git").exists() or _COVERING & {line.strip() for line in before.splitlines()}:
        return ()
    newline = "\n" if before and not before.endswith("\n") else ""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{newline}{IGNORED}\n")
    return (path,)


def run(argv: Sequence[str]) -> str:
    """The command line after ``init``; returns what to print. Raises InputError, HostError as ``init``."""
    if len(argv) > 1 or any(word.startswith("-") for word in argv):
        raise InputError(f"ktstr init {' '.join(argv)}: expected at most one folder", fix="ktstr init [DIR]")
    folder = Path(argv[0] if argv else ".")
    written = "".join(f"wrote {path}\n" for path in init(folder))
    return written + ("next: doit test\n" if folder == Path() else f"next: cd {folder} && doit test\n")
