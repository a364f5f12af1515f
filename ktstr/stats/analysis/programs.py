"""BPF programs of a run: how much of each the verifier walked, and what its calls cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ktstr.columns import printable
from ktstr.stats.analysis.extras import Extras

INSN_LIMIT = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, include/linux/bpf.h
NEAR_PCT = 75.0


@dataclass(frozen=True)
class Verified:
    """One program. ``insns``: the most that any of the sidecars saw verified; each run verifies it anew."""

    name: str
    insns: int

    @property
    def limit_pct(self) -> float:
        return 100 * self.insns / INSN_LIMIT

    @property
    def near_limit(self) -> bool:
        return self.limit_pct >= NEAR_PCT


def verified_programs(extras: Sequence[Extras]) -> tuple[Verified, ...]:
    """By name, each once."""
    most: dict[str, int] = {}
    for one in extras:
        for program in one.verified:
            most[program.name] = max(program.verified_insns, most.get(program.name, 0))
    return tuple(Verified(name, most[name]) for name in sorted(most))


def verifier_text(found: Sequence[Verified]) -> str:
    """The table, the total and a warning for those near the limit; empty when there is none."""
    if not found:
        return ""
    lines = ["", "=== BPF VERIFIER STATS ===", ""]
    lines += [f"  {'program':<24} {'verified':>12} {'limit%':>8}", f"  {'-' * 24} {'-' * 12} {'-' * 8}"]
    for one in found:
        flag = " !" if one.near_limit else ""
        lines.append(f"  {printable(one.name):<24} {one.insns:>12} {one.limit_pct:>7.1f}%{flag}")
    lines += ["", f"  total verified insns: {sum(one.insns for one in found)}"]
    near = [one for one in found if one.near_limit]
    if near:
        lines += ["", "WARNING: programs near verifier complexity limit:"]
    for one in near:
        lines.append(f"  {printable(one.name)}: {one.limit_pct:.1f}% of 1M limit ({one.insns} verified insns)")
    return "\n".join(lines) + "\n"


def callback_text(extras: Sequence[Extras]) -> str:
    """A table for each sidecar whose programs were counted, never added up; empty when none was."""
    lines: list[str] = []
    for one in extras:
        if not one.callbacks:
            continue
        lines += ["", f"  {printable(one.scenario)} ({one.topology}):"]
        lines.append(f"    {'program':<24} {'cnt':>12} {'total_ns':>14} {'avg_ns':>12}")
        lines.append(f"    {'-' * 24} {'-' * 12} {'-' * 14} {'-' * 12}")
        for program in one.callbacks:
            numbers = f"{program.cnt:>12} {program.nsecs:>14} {program.nsecs_per_call:>12.0f}"
            lines.append(f"    {printable(program.name):<24} {numbers}")
    return "\n".join(["", "=== BPF CALLBACK PROFILE ===", *lines]) + "\n" if lines else ""
