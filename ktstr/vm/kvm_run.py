"""A machine of the C VMM that runs, as the loop that watches all machines sees it, and what it took of its host."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ktstr.record.codec import decode
from ktstr.record.machine import KvmRun, PerformanceMode
from ktstr.vm.machine import Place
from ktstr.vm.vmm import VcpuTimes, Vmm, VmmExit
from ktstr.vm.watch import TICK_S, Usage

_SOON_S = 0.01  # how often a machine is looked at that boots, or takes its program
_HALT_POLL = Path("/sys/module/kvm/parameters/halt_poll_ns")


@dataclass(frozen=True)
class Origin:
    """How a machine comes to run. ``delivery``: what a clone is sent once it runs, None for a machine that boots."""

    cpus: int
    place: Place
    delivery: bytes | None = None


class VmmRun:
    """Starts a machine that stands still; it has to be closed after this one's ``end``.

    ``exited`` and ``cost`` are there after ``end``, ``cost`` unless it raised.
    """

    def __init__(self, vmm: Vmm, origin: Origin) -> None:
        self.vmm = vmm
        self.exited: VmmExit | None = None
        self.cost: KvmRun | None = None
        self._origin = origin
        self._to_send = origin.delivery or b""
        self._boot_ms: float | None = None
        self._before: tuple[VcpuTimes, ...] | None = None  # of each vCPU's thread, when the guest's own run began
        self._started = time.monotonic()
        self._over = os.eventfd(0, os.EFD_CLOEXEC)
        self._waiter = threading.Thread(target=self._wait, name="vmm-wait", daemon=True)
        vmm.start()
        self._waiter.start()

    def fileno(self) -> int:
        return self._over

    def look(self) -> float:
        """Send a clone what it still has to get; note when a guest that boots first speaks."""
        if self._to_send:
            self._to_send = self._to_send[self.vmm.send(self._to_send) :]
        if self._before is None and self._has_begun():
            self._before = self._times()
        return _SOON_S if self._before is None else TICK_S

    def end(self) -> Usage:
        self.vmm.stop()
        self._waiter.join()
        os.close(self._over)
        self.cost = self._measured()
        return Usage(0, None, dilation(self.cost))

    def _wait(self) -> None:
        self.exited = self.vmm.wait(None)
        os.eventfd_write(self._over, 1)

    def _has_begun(self) -> bool:
        """Booting is no part of what a guest's threads ran and waited."""
        if self._origin.delivery is not None:
            return not self._to_send
        if self.vmm.channel_output().written == 0:
            return False
        self._boot_ms = (time.monotonic() - self._started) * 1000
        return True

    def _times(self) -> tuple[VcpuTimes, ...]:
        return tuple(self.vmm.times(cpu) for cpu in range(self._origin.cpus))

    def _measured(self) -> KvmRun:
        cpus, performance = self._origin.cpus, self._origin.place.performance
        before = self._before or (VcpuTimes(0, 0),) * cpus
        times = tuple(zip(self._times(), before, strict=True))
        budget = cpu_budget(cpus, self._origin.place)
        return KvmRun(
            vm_stats=self.vmm.stats(None),
            vcpu_stats=tuple(self.vmm.stats(cpu) for cpu in range(cpus)),
            host_run_ns=tuple(after.run_ns - first.run_ns for after, first in times),
            host_wait_ns=tuple(after.wait_ns - first.wait_ns for after, first in times),
            halt_poll_ns=_halt_poll_ns(),
            cpu_budget=budget,
            overcommit=cpus / budget,
            cloned=self._origin.delivery is not None,
            boot_ms=self._boot_ms,
            performance=None if performance is None else decode(PerformanceMode, performance.as_json()),
            warnings=(*(performance.warnings if performance else ()), *self.vmm.warnings()),
        )


def cpu_budget(cpus: int, place: Place) -> int:
    """How many host CPUs so many vCPUs can use at once."""
    if place.performance is not None:
        return min(cpus, len(place.performance.pin))
    return min(cpus, len(os.sched_getaffinity(0) if place.cpus is None else place.cpus))


def dilation(cost: KvmRun) -> float | None:
    """1 + total run delay / total run time of the vCPUs' threads; None when they never ran."""
    run = sum(cost.host_run_ns)
    return 1 + sum(cost.host_wait_ns) / run if run else None


def _halt_poll_ns() -> int | None:
    try:
        return int(_HALT_POLL.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
