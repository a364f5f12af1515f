"""What came of a cell of the verifier's sweep: whether its scheduler loads, and what the kernel says if it does not."""

from __future__ import annotations

import os

from ktstr.checks import quote
from ktstr.checks.failure.build import lost_event
from ktstr.checks.verifier import log
from ktstr.checks.verifier.programs import verifier_stats
from ktstr.checks.verifier.report import verified
from ktstr.planning.points import CellPlan
from ktstr.planning.sweep import TEST
from ktstr.record.cell import CellRecord
from ktstr.record.guest import GuestRecord
from ktstr.record.verification import LoadStatus, VerifiedCell
from ktstr.results.ledger import CellOutcome


def verified_cell(
    cell: CellPlan, outcome: CellOutcome, record: CellRecord | None, commit: str | None, *, raw: bool
) -> VerifiedCell:
    """``record``: what was measured, None where nothing was. ``commit``: where two are compared. ``raw``: the log as
    it is, its rounds not collapsed."""
    guest = None if record is None else record.guest
    status = _status(guest)
    refused = _refused(guest) if status == "refused" and guest is not None else None
    stats = verifier_stats(None if record is None else record.inspected)
    return VerifiedCell(
        scheduler=cell.key.scheduler,
        kernel=cell.point.kernel.label,
        preset=cell.key.preset,
        commit=commit,
        status=status,
        reason=None if status == "loaded" else _reason(outcome, refused),
        refused_program=None if refused is None else refused.program,
        programs=verified(stats),
        total_verified_insns=sum(row.verified_insns for row in stats),
        log_stats=None if refused is None else refused.stats,
        log=() if refused is None else tuple(log.shown(refused.lines, raw=raw)),
    )


def missing_cell(name: str, scheduler: str, commit: str | None, reason: str) -> VerifiedCell:
    """A cell that could not be planned. ``name``: ``test/preset/kernel/...``, after the side's where two commits are
    compared."""
    preset, _, rest = name.partition(f"{TEST}/")[2].partition("/")
    kernel = rest.partition(f"/{scheduler}/")[0]
    return VerifiedCell(
        scheduler=scheduler, kernel=kernel, preset=preset, commit=commit, status="not_measured", reason=reason,
        refused_program=None, programs=(), total_verified_insns=0, log_stats=None, log=(),
    )  # fmt: skip


def _status(guest: GuestRecord | None) -> LoadStatus:
    if guest is None:
        return "not_measured"
    lost = lost_event(guest)
    if not any(event.kind == "attached" for event in guest.sched_events):
        return "not_measured" if lost is None else "refused"
    return "loaded" if lost is None or lost.kind == "detach_failed" else "lost"


def _refused(guest: GuestRecord) -> log.Refused | None:
    """What the kernel refused: as traced, with the log that the loader printed, which is longer, where it did."""
    printed, traced = log.refused_in(guest.sched_log), guest.refusal
    if traced is None or traced.outcome != "refused":
        return printed
    lines = printed.lines if printed is not None else tuple(quote.plain(traced.text).splitlines())
    words = quote.verifier_words(traced.text, 1) or os.strerror(traced.error)
    reason = words if traced.command in (None, "BPF_PROG_LOAD") else f"{traced.command}: {words}"
    return log.Refused(quote.clean(traced.name) or None, reason, lines, log.stats_in(list(lines)))


def _reason(outcome: CellOutcome, refused: log.Refused | None) -> str:
    if refused is not None:
        return refused.reason
    return quote.clean(outcome.reasons[0]) if outcome.reasons else "it says no reason"
