"""The record of one cell: what the guest reported and how its machine ended.

The record is the measured fact; verdicts and sidecars are computed from it. A number
that was not measured is None. All times are guest nanoseconds unless a name says host.
"""

from __future__ import annotations

from msgspec import Struct

from ktstr.record.guest import GuestRecord
from ktstr.record.host import Host
from ktstr.record.machine import MachineEnd


class CellRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell's measured facts. ``measured_at`` is an ISO 8601 time in UTC."""

    guest: GuestRecord
    end: MachineEnd
    input_digest: str
    measured_at: str
    measured_commit: str | None
    run_id: str
    host: Host
