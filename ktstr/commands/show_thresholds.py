"""``doit show_thresholds test=NAME``: the merged thresholds, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ktstr.commands.declare.command import Command, Invocation, Report
from ktstr.config.suggest import nearest
from ktstr.errors import InputError
from ktstr.options import FLAG, LIST, variable

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Whose thresholds."""

    test: tuple[str, ...] = variable(LIST, "the test, by its name", ())
    scheduler: tuple[str, ...] = variable(LIST, "the scheduler, by its name; default: eevdf", ())
    release: bool = variable(FLAG, "with the stricter limits of a release", False)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)


def run(invocation: Invocation, options: Options) -> Report:
    """The thresholds of one test under one scheduler."""
    from ktstr.checks import thresholds
    from ktstr.config.load import load

    config = load(invocation.project.config)
    if len(options.test) != 1:
        raise InputError(f"test=: found {len(options.test)} names, expected one", fix="doit show_thresholds test=NAME")
    test = _named("test", options.test, config.tests)
    scheduler = _named("scheduler", options.scheduler or ("eevdf",), config.schedulers)
    render = thresholds.to_json if options.json else thresholds.to_text
    merged = thresholds.merge(scheduler.checks, test.checks, release=options.release)
    return Report(render(test.name, scheduler.name, merged))


def _named(what: str, names: tuple[str, ...], known: Mapping[str, T]) -> T:
    """What the one name means. Raises InputError with the nearest one."""
    if len(names) == 1 and names[0] in known:
        return known[names[0]]
    name = ",".join(names)
    hint = nearest(name, known)
    raise InputError(
        f"{what}={name}: found no such {what}" + (f", nearest match {hint!r}" if hint else ""),
        fix=f"declared: {', '.join(known)}",
    )


COMMAND = Command("show_thresholds", "Results", "a test's merged thresholds", Options, run)
