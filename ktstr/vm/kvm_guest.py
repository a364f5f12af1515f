"""A guest of the C VMM's that runs, in this process."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ktstr.record.machine import MachineEnd
from ktstr.vm.channel import Frame, follow
from ktstr.vm.guest_files import CHANNEL, CONSOLE, judge_end, left_in
from ktstr.vm.guest_memory import Layout
from ktstr.vm.kvm_run import VmmRun
from ktstr.vm.machine import GuestEnded, MachineResult, Registers
from ktstr.vm.moments import Given, Moment, in_real_time
from ktstr.vm.vmm import Vmm, VmmError
from ktstr.vm.watch import Ended, Watch

_FAILURES = frozenset({"internal_error", "fail_entry", "host_error"})


@dataclass(frozen=True)
class Started:
    """What was started, and when (of ``time.monotonic``): making its machine is part of its time."""

    label: str
    command: tuple[str, ...]
    workdir: Path
    cpus: int
    layout: Layout
    at: float

    def result(self, ended: Ended, run: VmmRun) -> MachineResult:
        """How the machine ended, from what it left in the folder."""
        assert run.exited is not None
        failure = f"KVM: {run.exited.text}" if run.exited.reason in _FAILURES else None
        left = left_in(self.workdir, failure, triple_fault=run.exited.reason == "triple_fault")
        why, detail = judge_end(ended, left, self.workdir)
        end = MachineEnd(
            why, detail, ended.seconds, self.label, self.command, host_dilation=ended.dilation, kvm=run.cost
        )
        return MachineResult(end, self.workdir / CHANNEL, self.workdir / CONSOLE)


class VmmMemory:
    """See ``guest_memory.GuestMemory``."""

    def __init__(self, vmm: Vmm, layout: Layout) -> None:
        self._vmm, self._layout = vmm, layout

    @property
    def layout(self) -> Layout:
        return self._layout

    def read(self, address: int, size: int) -> bytes:
        self._layout.extents(address, size)  # refuses what is no RAM, before room is made for it
        return self._vmm.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        self._layout.extents(address, len(data))
        self._vmm.write(address, data)


class KvmGuest:
    """See ``machine.Guest``. ``held`` is closed with it, the watch first."""

    def __init__(self, started: Started, watch: Watch[VmmRun], held: ExitStack) -> None:
        self._started, self._watch, self._held = started, watch, held
        self._memory = VmmMemory(self.vmm, started.layout)
        self._lock = threading.Lock()
        self._paused = False

    @property
    def vmm(self) -> Vmm:
        return self._watch.machine.vmm

    @property
    def memory(self) -> VmmMemory:
        return self._memory

    def ends_within(self, seconds: float) -> bool:
        return self._watch.ends_within(seconds)

    def wait(self) -> MachineResult:
        self._watch.wait()
        return self._result

    @cached_property
    def _result(self) -> MachineResult:
        ended = self._watch.wait()
        before = self._watch.started - self._started.at
        return self._started.result(replace(ended, seconds=before + ended.seconds), self._watch.machine)

    def frames(self) -> Iterator[Frame]:
        return follow(self._started.workdir / CHANNEL, self._watch.ends_within)

    def moments(self) -> Iterator[Moment]:
        return in_real_time(self._watch.started, self._watch.ends_within, self._given)

    def _given(self) -> tuple[Given, ...] | None:
        try:
            times = [self.vmm.times(cpu) for cpu in range(self._started.cpus)]
            return tuple(Given(each.run_ns, each.wait_ns) for each in times)
        except VmmError:
            return None

    def registers(self) -> tuple[Registers, ...]:
        paused = self._pause_if_running()
        try:
            return tuple(self.vmm.registers(cpu) for cpu in range(self._started.cpus))
        finally:
            if paused:
                self.vmm.resume()

    def _pause_if_running(self) -> bool:
        try:
            self.vmm.pause()
        except VmmError as err:
            if err.errno != errno.ESRCH:
                raise
            return False  # it has ended, and keeps its registers
        return True

    def pause(self) -> None:
        with self._lock:
            if self._watch.ends_within(0) or not (self._paused or self._pause_if_running()):
                raise GuestEnded("pause")
            self._paused = True

    def resume(self) -> None:
        with self._lock:
            if self._watch.ends_within(0):
                raise GuestEnded("resume")
            if self._paused:
                self.vmm.resume()
            self._paused = False

    def kill(self) -> None:
        self._watch.kill()

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> KvmGuest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
