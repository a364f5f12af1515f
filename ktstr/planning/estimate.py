"""How long machines and cells take on this host, before they run: what was measured of them, else a formula.

The formulas are fits to measurements on two CPUs that others used too (``docs/gauntlet.md`` has them). They are good to
a factor of two, which is enough to choose by, and never enter a result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from ktstr.config.model import TestDecl
from ktstr.config.topology import Topology
from ktstr.results.judged import Row

# tcg: 7 s with 4 vCPUs, 20 to 27 with 64, 43 to 69 with 128, 118 with 192, 114 with 240, on two CPUs.
_TCG_BOOT_S, _TCG_PER_SQUARE = 7.0, 6e-3
_TCG_CLONE_PER_SQUARE = 1.2e-3  # 1 s of 4 vCPUs, 18 to 48 of 128
# icount: one thread, a clock that instructions move: 12 s for 4 vCPUs, 38 s for 16.
_ICOUNT_BOOT_S, _ICOUNT_PER_CPU = 4.0, 2.1
# kvm: 3.5 s for 16 vCPUs on two emulated CPUs, none of 64 within 100 s.
_KVM_BOOT_S, _KVM_PER_CPU = 1.5, 0.002
_CLONE_S = {"icount": 1.0, "tcg": 1.5, "kvm": 0.5}  # a process or a thread, its memory, and what is read of it
# A virtual second of counted instructions, all vCPUs busy: 9 s of 8, 19 s of 16, 40 s of 32 for two.
_ICOUNT_SECOND_PER_CPU = 0.6


def boot_seconds(accel: str, vcpus: int, host_cpus: int) -> float:
    """From the start of a machine to its agent."""
    if accel == "icount":
        return _ICOUNT_BOOT_S + _ICOUNT_PER_CPU * vcpus
    if accel == "tcg":
        return _TCG_BOOT_S + _TCG_PER_SQUARE * vcpus * vcpus / max(1, min(host_cpus, vcpus))
    return _KVM_BOOT_S + _KVM_PER_CPU * vcpus * max(0.0, vcpus / host_cpus - 1) ** 2


def cell_seconds(accel: str, vcpus: int, duration_ns: int) -> float:
    """Of a cell whose machine is there: its clone, its duration, and what the emulator takes longer than that."""
    slower = max(1.0, _ICOUNT_SECOND_PER_CPU * vcpus) if accel == "icount" else 1.0
    clone = _CLONE_S[accel] + (_TCG_CLONE_PER_SQUARE * vcpus * vcpus if accel == "tcg" else 0.0)
    return clone + duration_ns / 1e9 * slower


@dataclass(frozen=True)
class Estimates:
    """Seconds of cells on this host. ``rows``: what earlier runs left, by cell name."""

    rows: Mapping[str, Row]
    host_cpus: int

    @cached_property
    def _alike(self) -> dict[tuple[str, str], float]:
        """By preset and accel the median of what was measured."""
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for name, row in self.rows.items():
            parts = name.split("/")
            if len(parts) >= 5 and row.seconds > 0:
                found[parts[-4], parts[-1].rpartition("-s")[0]].append(row.seconds)
        return {key: median(seconds) for key, seconds in found.items()}

    def cell(self, name: str, accel: str, preset: str, topology: Topology, test: TestDecl) -> float:
        """What its last run took, else the median of runs on the same preset and accel, else the formula."""
        row = self.rows.get(name)
        if row is not None and row.seconds > 0:
            return row.seconds
        alike = self._alike.get((preset, accel))
        return cell_seconds(accel, topology.cpus, test.duration_ns) if alike is None else alike

    def boot(self, accel: str, topology: Topology) -> float:
        """Of the machine that cells are clones of."""
        return boot_seconds(accel, topology.cpus, self.host_cpus)
