"""What ``doit verifier`` found: which schedulers load where, and how much of each program the verifier walked.

The JSON document of ``json=1``; ``schemas/verifier.schema.json`` is made from these types (``record.dump_schema``).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from ktstr.record.numbers import Count, NotNegative

LoadStatus: TypeAlias = Literal["loaded", "refused", "lost", "not_measured"]
Axis: TypeAlias = Literal["kernel", "scheduler", "commit"]


class LogStats(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the verifier counted in the log of one program; null for what the log does not say."""

    processed_insns: Count | None = None
    total_states: Count | None = None
    peak_states: Count | None = None
    time_us: Count | None = None
    stack_depth: str | None = None


class VerifiedProgram(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One BPF program. ``limit_pct``: of the instructions that the verifier walks before it gives up."""

    name: str
    verified_insns: Count
    limit_pct: NotNegative
    near_limit: Annotated[bool, Meta(description="at least warn_pct of the limit")]


class VerifiedCell(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One scheduler on one kernel and topology. ``refused``: it was not loaded; ``lost``: it attached, and was gone
    before its first tasks had run; ``not_measured``: the environment could not run it."""

    scheduler: str
    kernel: str
    preset: str
    commit: Annotated[str | None, Meta(description="the project's; null unless two are compared")]
    status: LoadStatus
    reason: Annotated[str | None, Meta(description="why it is not loaded")]
    refused_program: Annotated[str | None, Meta(description="which program was refused; null where nobody says")]
    programs: tuple[VerifiedProgram, ...]
    total_verified_insns: Count
    log_stats: LogStats | None
    log: Annotated[tuple[str, ...], Meta(description="the verifier's log of a refusal, its rounds collapsed")]


class ProgramDelta(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program on both sides; null where a side does not have it."""

    name: str
    a: Count | None
    b: Count | None
    delta: int | None


class Difference(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Two cells that differ in nothing but ``axis``, of which ``a`` and ``b`` are the values."""

    axis: Axis
    a: str
    b: str
    scheduler: Annotated[str | None, Meta(description="null where it is what differs")]
    kernel: Annotated[str | None, Meta(description="null where it is what differs")]
    preset: str
    programs: tuple[ProgramDelta, ...]


class VerifierReport(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole sweep."""

    limit_insns: Count
    warn_pct: Count
    cells: tuple[VerifiedCell, ...]
    differences: tuple[Difference, ...]
