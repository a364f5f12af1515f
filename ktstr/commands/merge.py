"""``doit merge``: what shards of one run left on machines that share nothing, as the one run that they are parts of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Planned, Report
from ktstr.errors import HostError, InputError
from ktstr.options import FLAG, LIST, PATH, variable
from ktstr.results.ledger import CellOutcome, ExitRules

if TYPE_CHECKING:
    from ktstr.cells.merged import Taken
    from ktstr.config.model import Config
    from ktstr.record.part import Part, Whole
    from ktstr.results.shards import Found
    from ktstr.results.summary import CellSummary


@dataclass(frozen=True)
class Options:
    """Whose parts, and what is said of them."""

    dir: tuple[str, ...] = variable(
        LIST, "the folders that shards left: each one's target/ktstr, or a folder that holds some", (),
        environment=False,
    )  # fmt: skip
    junit: str | None = variable(PATH, "also write a JUnit XML file", None)
    json: bool = variable(FLAG, "print one JSON object instead of text", False)
    verbose: bool = variable(FLAG, "show each cell's reasons and commands, passed ones too", False)
    allow_inconclusive: bool = variable(FLAG, "let Inconclusive cells exit 0", False)
    no_skip: bool = variable(FLAG, "exit 3 when every cell was skipped", False)


def run(invocation: Invocation, options: Options) -> Report:
    """Check the parts, take what they left into the project's own results, and report as one run does.

    Raises InputError for parts that are not all of one run or not of this ktstr.yaml, before anything is written.
    """
    from ktstr.cells.merged import declared, store, take
    from ktstr.commands.declare.reported import Saying, report_of

    found = _parts(invocation, options)
    whole = found[0].part.whole
    config = _config(invocation, whole, found[0].shown)
    taken = take(config, found, invocation.cancel)
    stored = store(invocation.project, taken, invocation.cancel)
    outcomes = _settled(invocation, config, taken, stored)
    _tell_failures(invocation, [one.part for one in found])
    saying = Saying(
        json=options.json,
        verbose=options.verbose,
        junit=options.junit,
        rules=_rules(options),
        partial=_partial(whole),
        interrupted=any(one.part.interrupted for one in found),
    )
    every = options.json or options.verbose
    cells = [_summary(one, outcome, every=every) for one, outcome in zip(taken, outcomes, strict=True)]
    return report_of(invocation, saying, cells, list(declared(config, taken, outcomes)))


def _parts(invocation: Invocation, options: Options) -> tuple[Found, ...]:
    """All parts of one run. A folder that is named twice is read once."""
    from ktstr.results.shards import joined, parts_in

    if not options.dir:
        raise InputError(
            "dir=: found none, expected the folders that shards left", fix="doit merge dir=parts/1,parts/2"
        )
    found: dict[Path, Found] = {}
    for shown in options.dir:
        folder = (invocation.project.stand / Path(shown).expanduser()).resolve()
        found.update((one.path, one) for one in parts_in(folder, shown) if one.path not in found)
    return joined(tuple(found.values()))


def _config(invocation: Invocation, whole: Whole, shown: str) -> Config:
    """The declarations, which are those that the shards ran."""
    from ktstr.config.validated import declarations_digest, load_config

    config = load_config(invocation.project)
    ours = declarations_digest(invocation.project)
    if ours != whole.declarations:
        raise InputError(
            f"{invocation.project.config}: found other declarations ({ours[:16]}) than the shards ran"
            f" ({whole.declarations[:16]}, {shown})",
            fix=f"merge where the commit that they ran is checked out ({whole.commit or 'unknown'})",
        )
    return config


def _settled(
    invocation: Invocation, config: Config, taken: Sequence[Taken], stored: Sequence[CellOutcome]
) -> list[CellOutcome]:
    """Publish, remember what did not pass, and tell the ledger, as after a run."""
    from ktstr.cells.merged import failures
    from ktstr.cells.publish import Place, publish_at, shown_at
    from ktstr.commands.declare.ended import explain_losses
    from ktstr.results.last import remember
    from ktstr.results.ledger import did_pass
    from ktstr.results.names import leaf_name

    project, whole = invocation.project, taken[0].whole
    place = Place(project, invocation.environ, lambda kernel: leaf_name(kernel, whole.commit), invocation.cancel)
    outcomes = shown_at(project, stored, publish_at(place, invocation.epoch, stored))
    remember(project.state, did_pass(outcomes), failures(project, config, taken, outcomes))
    for outcome in outcomes:
        invocation.ledger.record(outcome)
    explain_losses(outcomes)
    return outcomes


def _tell_failures(invocation: Invocation, parts: Sequence[Part]) -> None:
    """What else went wrong in the shards: tasks that are no cells, and ends before their time."""
    from ktstr.cells.merged import error_of

    for part in parts:
        for failure in part.failures:
            invocation.ledger.fail(failure.task, error_of(failure.error))
        if part.interrupted:
            left = sum(cell.verdict == "not run" for cell in part.cells)
            invocation.ledger.fail(
                f"shard {part.shard}",
                HostError(
                    f"shard {part.shard} was interrupted: {left} of its {len(part.cells)} cells did not run",
                    fix=f"doit test shard={part.shard} again, which runs what is left, and merge anew",
                ),
            )


def _summary(one: Taken, outcome: CellOutcome, *, every: bool) -> CellSummary:
    from ktstr.cells.parts import key_of
    from ktstr.commands.declare.ended import command_of
    from ktstr.results.summary import CellSummary

    planned = one.entry.kind == "cell"
    command = partial(command_of, key_of(one.entry), one.entry.accel, one.whole.asked)
    return CellSummary(
        name=outcome.name,
        verdict=outcome.verdict,
        reasons=outcome.reasons,
        seconds=outcome.seconds,
        ran=outcome.ran,
        sidecar=outcome.path,
        files=outcome.files,
        command=command() if planned and (every or outcome.failed) else "",
    )


def _partial(whole: Whole) -> str:
    from ktstr.cells.declared import partial_by

    return partial_by(whole.narrowed)


def _rules(options: Options) -> ExitRules:
    return ExitRules(allow_inconclusive=options.allow_inconclusive, no_skip=options.no_skip)


def _nothing_to_plan(invocation: Invocation, options: Options) -> Planned | None:
    """A merge runs nothing: its rules are asked of it, and no more."""
    return None


COMMAND = Command(
    "merge",
    "Run",
    "join what doit test shard=i/n left on several machines",
    Options,
    run=run,
    plan=_nothing_to_plan,
    rules=_rules,
    alone=True,
)
