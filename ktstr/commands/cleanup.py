"""``doit cleanup``: what killed runs left behind goes; what anybody uses stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.commands.declare.clusters import cluster_looked_at
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK
from ktstr.options import FLAG, WORD, variable

if TYPE_CHECKING:
    from ktstr.host.leftovers import Cleaned, Left


@dataclass(frozen=True)
class Options:
    """How it is done, and shown."""

    dry_run: bool = variable(FLAG, "show what would be removed; remove nothing", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    cluster: str | None = variable(WORD, "on the workers of this Dask cluster: its scheduler's address", None)


def run(invocation: Invocation, options: Options) -> Report:
    """Remove it, or say what would go. Nothing is asked: nobody is there to miss it."""
    address = cluster_looked_at(invocation, options.cluster)
    return _run_here(invocation, options) if address is None else _run_there(address, invocation, options)


def _run_here(invocation: Invocation, options: Options) -> Report:
    from ktstr.host.leftovers import clean
    from ktstr.results.leftovers import left_of

    cleaned = clean(left_of(invocation.project, invocation.environ), dry_run=options.dry_run)
    value = _value(cleaned, options.dry_run)
    text = _dumped(value) if options.json else _text(cleaned, options.dry_run)
    return Report(text, EXIT_ENVIRONMENT if cleaned.failed else EXIT_OK)


def _run_there(address: str, invocation: Invocation, options: Options) -> Report:
    """Each worker cleans its host. 3 when one does not answer, or cannot remove something."""
    from ktstr.cluster import plugin, told
    from ktstr.cluster.visit import ask_workers, visiting
    from ktstr.host.leftovers import Cleaned

    dry_run = options.dry_run
    with visiting(address, invocation.environ, invocation.cancel) as connection:
        answers = ask_workers(connection, Cleaned, plugin.clean_up, dry_run)
    if options.json:
        text = _dumped(told.to_value(answers, lambda cleaned: _value(cleaned, dry_run)))
    else:
        text = told.to_text(answers, lambda cleaned: _text(cleaned, dry_run))
    failed = any(one.answer.failed for one in answers if one.answer is not None)
    return Report(text, EXIT_ENVIRONMENT if failed or not told.all_answered(answers) else EXIT_OK)


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


def _value(cleaned: Cleaned, dry_run: bool) -> dict[str, object]:
    """Plain values, as ``schemas/cleanup.schema.json`` has them."""
    return {
        "dry_run": dry_run,
        "removed": [_row(left) for left in cleaned.removed],
        "in_use": [{**_row(left), "by": who} for left, who in cleaned.in_use],
        "failed": [{**_row(left), "error": why} for left, why in cleaned.failed],
    }


def _dumped(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _row(left: Left) -> dict[str, object]:
    return {"kind": left.kind, "name": left.name, "size_bytes": left.size_bytes}


COMMAND = Command("cleanup", "Host", "remove what killed runs left behind", Options, run)
