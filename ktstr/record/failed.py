"""A cell that did not pass, as it is kept until it does: what runs it again, and what to hold the next run against."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from ktstr.record.host import Host
from ktstr.record.inputs import InputDigests
from ktstr.record.numbers import Count

FailedVerdict: TypeAlias = Literal["fail", "inconclusive", "error"]


class FailedReason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why. ``check``: the kind of the sidecar's reason; None for an error, which has no sidecar."""

    check: str | None
    message: str


class FailedCell(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell. ``kernel`` is the declared name, or the spec; ``label`` what cells call it.

    ``asked``: variables of the command line that decide what the cell is beside its name. ``measured_at``: ISO 8601.
    What is None was not known: of an error, all from ``input_digest`` on may be.
    """

    test: str
    preset: str
    kernel: str
    label: str
    scheduler: str
    accel: Literal["kvm", "icount", "tcg"]
    seed: Count
    verdict: FailedVerdict
    reasons: tuple[FailedReason, ...]
    asked: dict[str, str]
    input_digest: str | None = None
    inputs: InputDigests | None = None
    kernel_version: str | None = None
    emulator: str | None = None
    project_commit: str | None = None
    measured_at: str | None = None
    host: Host | None = None

    @property
    def name(self) -> str:
        """As plans call it (``planning.points.cell_name``)."""
        return f"{self.test}/{self.preset}/{self.label}/{self.scheduler}/{self.accel}-s{self.seed}"

    def key(self) -> tuple[str, ...]:
        """What the cells of one plan have in common."""
        return (self.accel, *(f"{name}={value}" for name, value in sorted(self.asked.items())))
