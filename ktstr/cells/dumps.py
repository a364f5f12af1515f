"""The failure dump of a cell: written beside its record, copied beside its sidecar, and told of on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ktstr.checks.failure.build import Cell, failure_dump
from ktstr.columns import printable
from ktstr.errors import KtstrError
from ktstr.files import write_atomic
from ktstr.record.cell import CellRecord
from ktstr.record.dump import FailureDump
from ktstr.record.sidecar import Accel, Sidecar
from ktstr.results import failure_dumps
from ktstr.results.failure_text import cue, render
from ktstr.results.ledger import CellOutcome
from ktstr.results.names import DUMP, DUMP_TEXT, CellIdentity, dump_name
from ktstr.vm.guest_files import CONSOLE, tail

LINES_SHOWN = 60
"""Of the first cell's view, on a terminal."""


@dataclass(frozen=True)
class Dumped:
    """A cell whose dump there may be, and the folder with its console."""

    name: str
    identity: CellIdentity
    folder: Path


def write_dump(cell: Dumped, record: CellRecord, sidecar: Sidecar | None) -> None:
    """Write the dump and its text to the cell's folder, unless they are there already; none for a scheduler that was
    not lost. Raises HostError when the disk is full."""
    named, console = cell.identity, tail(cell.folder / CONSOLE)
    found = failure_dump(Cell(cell.name, named.scheduler, cast(Accel, named.accel), console), record)
    if found is None:
        return
    target = cell.folder / dump_name(named)
    texts = {target: failure_dumps.dump(found), text_beside(target): render(found, sidecar).encode("utf-8", "replace")}
    for path, data in texts.items():
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)


def text_beside(dump: Path) -> Path:
    """The file with a dump's text."""
    return dump.with_name(dump.name.removesuffix(DUMP) + DUMP_TEXT)


def dumps_in(folder: Path) -> tuple[str, ...]:
    """The dumps in a cell's folder: the text, which one reads first, then the document."""
    return tuple(str(path) for end in (DUMP_TEXT, DUMP) for path in sorted(folder.glob(f"*{end}")))


def told(outcomes: Sequence[CellOutcome]) -> str:
    """What a terminal is told of cells that lost their scheduler: the first one's view, cut, then a sentence for each.

    Ends in a newline; empty when there is nothing to tell. A dump that cannot be read is passed over: the table names
    its cell anyway.
    """
    parts: list[str] = []
    for outcome in outcomes:
        paths = [Path(file) for file in outcome.files if file.endswith(DUMP)] if outcome.failed else []
        for path in paths[:1]:
            try:
                found = failure_dumps.read_dump(path)
            except KtstrError:
                continue
            parts.append(_first(found, path) if not parts else _one_more(found, path))
    return "\n".join(parts)


def _first(found: FailureDump, path: Path) -> str:
    lines = render(found).splitlines()
    cut = [f"[{len(lines) - LINES_SHOWN} more lines: {text_beside(path)}]"] if len(lines) > LINES_SHOWN else []
    return "\n".join([*lines[:LINES_SHOWN], *cut, ""])


def _one_more(found: FailureDump, path: Path) -> str:
    return "\n".join([*cue(found), f"  {printable(found.cell)}: {text_beside(path)}", ""])
