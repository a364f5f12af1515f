"""The record of one cell: what the guest reported and how its machine ended.

The record is the measured fact; verdicts and sidecars are computed from it. A number
that was not measured is None. All times are guest nanoseconds unless a name says host.

Records outlive the ktstr that stored them. What an older one lacks reads as null: a field that is added defaults to
None. What this version does not know is refused, and the cell is measured again: a newer ktstr may mean something else
by the fields that both know.
"""

from __future__ import annotations

from msgspec import Struct

from ktstr.record.dump import Inspected
from ktstr.record.guest import GuestRecord
from ktstr.record.host import Host
from ktstr.record.machine import MachineEnd
from ktstr.record.samples import MonitorRecord


class CellRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One cell's measured facts. ``measured_at`` is an ISO 8601 time in UTC. ``monitor``: what was seen in the guest's
    memory; None in a record of before there was that, and of a machine that ended before it could run a program.
    ``inspected``: of the scheduler; None where none was seen."""

    guest: GuestRecord
    end: MachineEnd
    input_digest: str
    measured_at: str
    measured_commit: str | None
    run_id: str
    host: Host
    monitor: MonitorRecord | None = None
    inspected: Inspected | None = None
