"""``doit merge``: what shards of one run left on machines that share nothing, as the one run that they are parts of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ktstr.commands.declare.command import Command, Invocation, Report
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

    Raises InputError for parts that are not all of one run or not of this ktstr.yaml, and HostError where there is no
    room for them, before anything of them is written.
    """
    from ktstr.cells.adopt import adopt
    from ktstr.cells.declared import partial_by
    from ktstr.cells.merged import declared, take
    from ktstr.commands.declare.reported import Saying, report_of
    from ktstr.host.flock import refuse_remote
    from ktstr.results.shards import told_printably

    refuse_remote(invocation.project.runs_root)
    with told_printably():
        parts = _parts(invocation, options)
        whole = parts[0].part.whole
        config = _config(invocation, whole, parts[0].shown)
        taken = take(invocation.project, config, parts, invocation.cancel)
    outcomes = _settled(invocation, whole, adopt(invocation.project, taken, invocation.cancel))
    _remember(invocation, config, taken, outcomes)
    _tell_failures(invocation, [found.part for found in parts])
    saying = Saying(
        json=options.json,
        verbose=options.verbose,
        junit=options.junit,
        rules=_rules(options),
        partial=partial_by(whole.narrowed),
        interrupted=any(found.part.interrupted for found in parts),
    )
    every = options.json or options.verbose
    cells = [_summary(cell, outcome, every=every) for cell, outcome in zip(taken, outcomes, strict=True)]
    return report_of(invocation, saying, cells, list(declared(config, taken, outcomes)))


def _parts(invocation: Invocation, options: Options) -> tuple[Found, ...]:
    """All parts of one run. One that several of the folders hold is read once."""
    from ktstr.results.joined import joined
    from ktstr.results.shards import parts_in

    if not options.dir:
        raise InputError(
            "dir=: found none, expected the folders that shards left", fix="doit merge dir=parts/1,parts/2"
        )
    found: dict[Path, Found] = {}
    for shown in options.dir:
        folder = _folder(invocation, shown)
        found.update((part.path, part) for part in parts_in(folder, shown) if part.path not in found)
    return joined(tuple(found.values()))


def _folder(invocation: Invocation, shown: str) -> Path:
    try:
        return (invocation.project.stand / Path(shown).expanduser()).resolve()
    except (OSError, RuntimeError) as err:  # a user that there is not, or a symbolic link that leads to itself
        raise InputError(f"dir={shown}: leads nowhere: {err}", fix="correct its name") from None


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


def _settled(invocation: Invocation, whole: Whole, adopted: Sequence[CellOutcome]) -> Sequence[CellOutcome]:
    """Publish, and tell the ledger, as after a run."""
    from ktstr.cells.publish import Place, publish_at, shown_at
    from ktstr.commands.declare.ended import explain_losses, published
    from ktstr.results.names import leaf_name

    project = invocation.project
    place = Place(project, invocation.environ, lambda kernel: leaf_name(kernel, whole.commit), invocation.cancel)

    def fill(outcomes: Sequence[CellOutcome]) -> Sequence[CellOutcome]:
        return shown_at(project, outcomes, publish_at(place, invocation.epoch, outcomes))

    outcomes = published(invocation, "merge", fill, adopted)
    for outcome in outcomes:
        invocation.ledger.record(outcome)
    explain_losses(outcomes)
    return outcomes


def _remember(invocation: Invocation, config: Config, taken: Sequence[Taken], outcomes: Sequence[CellOutcome]) -> None:
    """Remember what did not pass, and say of how many that is not possible."""
    from ktstr.cells.merged import failures
    from ktstr.results.last import remember
    from ktstr.results.ledger import did_pass

    kept = list(failures(config, taken, outcomes))
    remember(invocation.project.state, did_pass(outcomes), kept)
    left = sum(outcome.failed for outcome in outcomes) - len(kept)
    if left:
        invocation.progress.step(
            f"{left} cells that did not pass are not remembered for doit replay: their kernel is not declared here, or"
            " the shards were given CC=, LLVM=, kconfig= or a scheduler's path"
        )


def _tell_failures(invocation: Invocation, parts: Sequence[Part]) -> None:
    """What else went wrong in the shards: tasks that are no cells, and ends before their time."""
    from ktstr.cells.merged import error_of

    for part in parts:
        for failure in part.failures:
            invocation.ledger.fail(failure.task, error_of(failure.error))
        if (error := _end(part)) is not None:
            invocation.ledger.fail(f"shard {part.shard}", error)


def _end(part: Part) -> HostError | None:
    """What is wrong with a shard of which cells did not run; None where a cell that failed stopped it."""
    from ktstr.record.outcome import UNSUCCESSFUL

    left = sum(cell.verdict == "not run" for cell in part.cells)
    if not part.interrupted and (not left or any(cell.verdict in UNSUCCESSFUL for cell in part.cells)):
        return None
    why = "was interrupted" if part.interrupted else "does not say why it ended"
    return HostError(
        f"{why}: {left} of its {len(part.cells)} cells did not run",
        fix=f"doit test shard={part.shard} again, which runs what is left, and merge anew",
    )


def _summary(cell: Taken, outcome: CellOutcome, *, every: bool) -> CellSummary:
    from ktstr.cells.parts import key_of
    from ktstr.commands.declare.ended import command_of
    from ktstr.results.summary import summary_of

    if cell.entry.kind != "cell" or not (every or outcome.failed):
        return summary_of(outcome, "")
    return summary_of(outcome, command_of(key_of(cell.entry), cell.entry.accel, cell.whole.asked))


def _rules(options: Options) -> ExitRules:
    return ExitRules(allow_inconclusive=options.allow_inconclusive, no_skip=options.no_skip)


COMMAND = Command(
    "merge",
    "Run",
    "join what doit test shard=i/n left on several machines",
    Options,
    run=run,
    rules=_rules,
    alone=True,
)
