"""Which bugs were found again: what the two versions' runs have to be for that, and the report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ktstr.columns import printable, prose, table
from ktstr.record.outcome import Outcome
from ktstr.results.ledger import CellOutcome

_WIDTH = 100


@dataclass(frozen=True)
class Run:
    """What came of one version: the verdict and its reasons."""

    verdict: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """What a bug's file says of it. ``reason``: a regular expression."""

    name: str
    about: str
    mended_in: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """What came of a bug. ``found``: None where it was not decided; ``why``: where it was not found again."""

    bug: Told
    faulty: Run
    mended: Run
    found: bool | None
    why: str | None = None


def run_of(outcome: CellOutcome) -> Run:
    """The part of an outcome that a finding has."""
    return Run(str(outcome.verdict), outcome.reasons)


def finding_of(bug: Told, faulty: Sequence[Run], mended: Sequence[Run]) -> Finding:
    """What the runs of both versions say, at least one of each: of several seeds, the first that shows the bug, and the
    first that speaks against the mended version."""
    shown = [run for run in faulty if _shows(bug.reason, run)]
    against = [run for run in mended if run.verdict != Outcome.PASS]
    one, other = (shown or faulty)[0], (against or mended)[0]
    found, why = is_found(bug.reason, one, other)
    return Finding(bug, one, other, found, why)


def is_found(reason: str, faulty: Run, mended: Run) -> tuple[bool | None, str | None]:
    """Whether the faulty version failed for the stated reason and the mended one passed, and what speaks against it.

    ``reason``: a regular expression that one of the reasons matches somewhere. None where a version was not judged.
    """
    for name, run in (("faulty", faulty), ("mended", mended)):
        if run.verdict not in (Outcome.PASS, Outcome.FAIL):
            return None, f"the {name} version was not judged ({run.verdict})"
    if faulty.verdict == Outcome.PASS:
        return False, "the faulty version passes"
    if not _shows(reason, faulty):
        return False, f"the faulty version fails, but no reason matches {reason!r}"
    if mended.verdict == Outcome.FAIL:
        return False, "the mended version fails"
    return True, None


def _shows(reason: str, run: Run) -> bool:
    return run.verdict == Outcome.FAIL and any(re.search(reason, text) for text in run.reasons)


def to_json(findings: Sequence[Finding]) -> str:
    """One JSON object, ending in a newline."""
    rows = [{**asdict(row.bug), **{k: v for k, v in asdict(row).items() if k != "bug"}} for row in findings]
    return json.dumps({"bugs": rows}, indent=2, ensure_ascii=False) + "\n"


def render(findings: Sequence[Finding]) -> str:
    """A table of all bugs, then each with its reasons, ending in a newline."""
    rows = [
        (printable(f.bug.name), f.faulty.verdict.upper(), f.mended.verdict.upper(), _WORD[f.found]) for f in findings
    ]
    lines = table(("BUG", "FAULTY", "MENDED", "FOUND AGAIN"), rows, width=_WIDTH)
    for finding in findings:
        lines += ["", *_told(finding)]
    found = sum(finding.found is True for finding in findings)
    return "\n".join([*lines, "", f"{found} of {len(findings)} found again"]) + "\n"


_WORD = {True: "yes", False: "NO", None: "NOT DECIDED"}


def _told(finding: Finding) -> list[str]:
    bug = finding.bug
    lines = prose(printable(f"{bug.name} (mended in {bug.mended_in}): {' '.join(bug.about.split())}"), "")
    for name, run in (("faulty", finding.faulty), ("mended", finding.mended)):
        said = "; ".join(run.reasons)
        lines += prose(printable(f"{name}: {run.verdict}{': ' + said if said else ''}"), "  ")
    return lines if finding.why is None else [*lines, *prose(f"not found again: {printable(finding.why)}", "  ")]
