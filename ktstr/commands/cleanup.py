"""``doit cleanup``: what killed runs left behind goes; what anybody uses stays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK
from ktstr.options import FLAG, variable

if TYPE_CHECKING:
    from ktstr.host.leftovers import Cleaned, Leftover


@dataclass(frozen=True)
class Options:
    """How it is done, and shown."""

    dry_run: bool = variable(FLAG, "show what would be removed; remove nothing", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Remove it, or say what would go. Nothing is asked: nobody is there to miss it."""
    from ktstr.host.leftovers import clean
    from ktstr.results.leftovers import left_of

    cleaned = clean(left_of(invocation.project, invocation.environ), dry_run=options.dry_run)
    text = _json(cleaned, options.dry_run) if options.json else _text(cleaned, options.dry_run)
    return Report(text, EXIT_ENVIRONMENT if cleaned.failed else EXIT_OK)


def _text(cleaned: Cleaned, dry_run: bool) -> str:
    from ktstr.host.leftovers import LOCK_FILE

    verb = "would remove" if dry_run else "removed"
    locks = sum(left.kind == LOCK_FILE for left in cleaned.removed)
    lines = [f"{verb} {left.kind} {left.name}" for left in cleaned.removed if left.kind != LOCK_FILE]
    lines += [f"{verb} {locks} lock files that nobody holds"] if locks else []
    lines += [f"skipping {left.name} (in use by {who})" for left, who in cleaned.in_use]
    lines += [f"could not remove {left.name}: {why}" for left, why in cleaned.failed]
    freed = sum(left.size_bytes for left in cleaned.removed) / 1e6
    return "\n".join([*lines, f"{verb} {len(cleaned.removed)}, {freed:.1f} MB; {len(cleaned.in_use)} in use"]) + "\n"


def _json(cleaned: Cleaned, dry_run: bool) -> str:
    """One object, as ``schemas/cleanup.schema.json`` has it."""
    whole = {
        "dry_run": dry_run,
        "removed": [_row(left) for left in cleaned.removed],
        "in_use": [{**_row(left), "by": who} for left, who in cleaned.in_use],
        "failed": [{**_row(left), "error": why} for left, why in cleaned.failed],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _row(left: Leftover) -> dict[str, object]:
    return {"kind": left.kind, "name": left.name, "size_bytes": left.size_bytes}


COMMAND = Command("cleanup", "Host", "remove what killed runs left behind", Options, run)
