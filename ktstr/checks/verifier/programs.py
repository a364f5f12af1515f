"""What a sidecar has of a scheduler's BPF programs: what the verifier walked of each, and their calls."""

from __future__ import annotations

from ktstr.record.dump import Inspected
from ktstr.record.sidecar import ProgStats, VerifierStats


def verifier_stats(inspected: Inspected | None) -> tuple[VerifierStats, ...]:
    """How much of each of the scheduler's programs the verifier walked; none where none was seen."""
    programs = () if inspected is None else inspected.programs
    return tuple(VerifierStats(program.name, program.verified_insns) for program in programs)


def prog_stats(inspected: Inspected | None) -> tuple[ProgStats, ...]:
    """Calls and time of each program between the first and the last time that it was seen; none where the kernel does
    not count them (kernel.bpf_stats_enabled)."""
    if inspected is None:
        return ()
    first = {program.id: program for program in inspected.programs}
    rows = []
    for last in inspected.profile:
        if last.id not in first:
            continue
        calls = last.run_cnt - first[last.id].run_cnt
        nsecs = last.run_time_ns - first[last.id].run_time_ns
        if calls >= 0 and nsecs >= 0:
            rows.append(ProgStats(last.name, calls, nsecs, nsecs / calls if calls else 0.0))
    return tuple(rows)
