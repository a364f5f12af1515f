"""Writes the table of the repository's own bugs into README.md: ``python -m tests.docs.bugs_table``."""

from __future__ import annotations

import re
from pathlib import Path

from ktstr.config.bugdecl import Bug, Version, bug_files, read_bug
from ktstr.config.model import Builtin, Crate

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "README.md"
BEGIN, END = "| bug | faulty | mended |", "\n\n"  # what the table begins with, and what follows it
_TAKES = "a minute"  # where nothing is built


def table() -> str:
    """The table, a row for each file of ``bugs/``."""
    bugs = [read_bug(path) for path in bug_files(ROOT).values()]
    head = f"{BEGIN} what goes wrong | the first time takes |\n|---|---|---|---|---|\n"
    return head + "\n".join(_row(bug) for bug in bugs)


def _row(bug: Bug) -> str:
    about = re.sub(r"\s*\([^()]*(\([^()]*\))?[^()]*\)\.?$", "", " ".join(bug.about.split())).rstrip(".")
    cells = (
        f"[{bug.name}](bugs/{bug.name}.yaml)",
        _version(bug, bug.faulty),
        _version(bug, bug.mended),
        about,
        bug.takes or _TAKES,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _version(bug: Bug, version: Version) -> str:
    """What a version is: a crate, or a kernel and its patch."""
    kind = bug.config.schedulers[version.scheduler].kind
    said = [] if isinstance(kind, Builtin) else [_crate(kind) if isinstance(kind, Crate) else version.scheduler]
    if version.kernel is not None:
        kernel = bug.config.kernels[version.kernel]
        said.append(" + ".join([kernel.spec, *(path.name for path in kernel.patches)]))
    return " on ".join(said)


def _crate(crate: Crate) -> str:
    return f"{crate.name} {crate.version}"


def with_table(text: str) -> str:
    """The page's text with the table as it is to be. Raises ValueError where it has none."""
    begin = text.index(BEGIN)
    return text[:begin] + table() + text[text.index(END, begin) :]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
