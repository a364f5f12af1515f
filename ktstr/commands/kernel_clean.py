"""``doit kernel_clean``: remove kernels from the cache; asks first, unless ``force=1``."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.errors import EXIT_ENVIRONMENT, EXIT_OK, InputError
from ktstr.options import COUNT_OR_NONE, FLAG, variable

if TYPE_CHECKING:
    from ktstr.kernels.cleaning import Victim


@dataclass(frozen=True)
class Options:
    """What to remove."""

    keep: int | None = variable(COUNT_OR_NONE, "keep this many of the newest kernels", None)
    corrupt_only: bool = variable(FLAG, "remove only what is damaged or unfinished", False)
    force: bool = variable(FLAG, "do it without asking", False)
    dry_run: bool = variable(FLAG, "show what would be removed; remove nothing", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Remove what the options choose, or say what would be removed."""
    from ktstr.host.cache import Cache, cache_root
    from ktstr.kernels import cleaning, listing

    if options.keep is not None and options.corrupt_only:
        raise InputError("found keep= and corrupt_only=1, expected one of them")
    cache = Cache(cache_root(invocation.environ))
    rows, beside = listing.read_cache(cache), listing.leftovers(cache)
    victims = cleaning.choose(rows, beside, keep=options.keep, corrupt_only=options.corrupt_only)
    if options.dry_run or not victims or not _agreed(options, victims, invocation.cancel):
        return Report(_would(options, victims))
    cleaned = cleaning.perform(cache, victims)
    text = cleaning.to_json(cleaned) if options.json else cleaning.to_text(cleaned)
    return Report(text, EXIT_ENVIRONMENT if cleaned.failed else EXIT_OK)


def _would(options: Options, victims: Sequence[Victim]) -> str:
    if options.json:
        return json.dumps({"would_remove": [str(victim.path) for victim in victims]}, indent=2) + "\n"
    return "".join(f"{victim.path} ({victim.why})\n" for victim in victims) or "nothing to remove\n"


def _agreed(options: Options, victims: Sequence[Victim], cancel: Cancel) -> bool:
    """Whether the user wants it: by ``force=1``, or by ``y`` on a terminal."""
    if options.force:
        return True
    if not sys.stdin.isatty():
        raise InputError("requires a terminal to ask on, or force=1", fix="doit kernel_clean force=1")
    for victim in victims:
        sys.stderr.write(f"{victim.path} ({victim.why})\n")
    sys.stderr.write(f"remove these {len(victims)}? [y/N] ")
    sys.stderr.flush()
    return _answer(cancel).strip() in ("y", "Y")


def _answer(cancel: Cancel) -> str:
    """A line from the terminal. A signal does not end the reading of one by itself. Raises Cancelled."""
    waiting = select.poll()
    waiting.register(sys.stdin, select.POLLIN)
    waiting.register(cancel, select.POLLIN)
    waiting.poll()
    cancel.check()
    return sys.stdin.readline()


COMMAND = Command("kernel_clean", "Kernels", "remove kernels from the cache", Options, run)
