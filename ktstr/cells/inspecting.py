"""The scheduler of a guest that runs, read at its moments: its programs, and the machine as a task waits too long.

Under counted instructions the guest stands still at a moment, so what is read is the same in each run. drgn is
imported by the first guest that runs a scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ktstr.errors import HostError
from ktstr.kernels.cache import Corrupt, read_entry
from ktstr.record.codec import DecodeError, decode
from ktstr.record.dump import Inspected, Snapshot
from ktstr.record.kernel import BpfProgram
from ktstr.record.machine import FINE_EXITS, MachineEnd
from ktstr.record.samples import MonitorSample
from ktstr.vm.machine import Guest, GuestEnded, Registers
from ktstr.vm.moments import Moment

if TYPE_CHECKING:
    from ktstr.introspect.program import GuestProgram, Kernel

VMCORE = "memory.vmcore"  # in a cell's folder
# Programs' counts are read at this moment and at each so many-th: all CPUs have their own.
_FIRST_PROFILE, _PROFILES = 5, 10
_TRIES = 20  # moments at which programs are looked for in a guest that cannot be read

T = TypeVar("T")


@lru_cache(maxsize=4)
def kernel_of(folder: Path) -> Kernel:
    """What is known of the kernel whose cache entry is in ``folder``; the caller holds its lock."""
    from ktstr.introspect.program import read_kernel

    return read_kernel(read_entry(folder))


@dataclass(frozen=True)
class Core:
    """Where a guest's memory is to be kept. ``stands_still``: the guest does, at its moments."""

    path: Path
    stands_still: bool


class Inspection:
    """Of one guest of the kernel in ``folder``. ``hz``: the kernel's ticks a second. ``core``: where its memory is
    kept, as it is when a task has waited too long (of a guest that stands still then), else when its scheduler is
    lost, else at the end of a guest that died. Raises HostError when that cannot be written, and nothing else."""

    def __init__(self, guest: Guest, folder: Path, hz: int | None, core: Core | None = None) -> None:
        self._guest, self._folder, self._hz = guest, folder, hz
        self._core = core
        self._program: GuestProgram | None = None
        self._first: tuple[BpfProgram, ...] = ()
        self._last: tuple[BpfProgram, ...] = ()
        self._timeout_ms: int | None = None
        self._early: Snapshot | None = None
        self._late: Snapshot | None = None
        self._unread: str | None = None
        self._failed = 0
        self._attached: int | None = None  # which scheduler is, as of the last moment
        self._met: int | None = None
        self._looks = 0

    def look(self, moment: Moment, sample: MonitorSample | None) -> None:
        """Called at each moment. ``sample``: its runqueues, None where they could not be read."""
        before, self._attached = self._attached, None if sample is None else self._scheduler(sample)
        if before is not None and sample is not None and self._attached is None:
            self._keep_memory(stop=self._core is not None and not self._core.stands_still)
        if sample is None or self._attached is None or self._failed >= _TRIES:
            return
        self._read(lambda: self._look(moment, sample))

    def _scheduler(self, sample: MonitorSample) -> int | None:
        """What tells the attached scheduler from those before; None where there is none."""
        if sample.root is not None or self._failed >= _TRIES or not self._is_of_before_scx_root():
            return sample.root
        return self._read(self._enabled)

    def _enabled(self) -> int | None:
        from ktstr.introspect.scx import read_state

        state = read_state(self._opened(), self._hz)
        return state.enable_seq if state.state == "enabled" else None

    def _is_of_before_scx_root(self) -> bool:
        """Whether it is a kernel with sched_ext of before Linux 6.16, where no sample says that it is attached."""
        try:
            symbols = kernel_of(self._folder).symbols
        except (HostError, Corrupt):
            return False
        return symbols.address("scx_root") is None and symbols.address("scx_ops") is not None

    def end(self, end: MachineEnd) -> Inspected | None:
        """All that was seen, once the machine has ended: with a last look where that was not as it should be. None for
        a guest without a scheduler."""
        if self._attached is not None and end.reason not in FINE_EXITS and self._failed < _TRIES:
            self._read(self._leave)
        if end.reason not in FINE_EXITS:
            self._keep_memory()
        if not self._first and self._unread is None:
            return None
        return Inspected(
            programs=self._first,
            profile=self._last,
            watchdog_timeout_ms=self._timeout_ms,
            early=self._early,
            late=self._late,
            unread=self._unread,
        )

    def _read(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; None, and why in ``_unread``, where it cannot be read."""
        from ktstr.introspect.program import Unreadable

        try:
            return read()
        except (Unreadable, DecodeError, HostError, Corrupt) as err:
            self._failed += 1
            self._unread = str(err) if not self._first else None
            return None

    def _look(self, moment: Moment, sample: MonitorSample) -> None:
        program = self._opened()
        self._looks += 1
        if self._met != self._attached:
            self._meet(program)
        elif self._is_due() and _counts_runs(program):
            self._last = _joined(self._last, _programs(program))
        if self._early is None and self._waits_too_long(sample):
            self._early = self._snapshot(program, moment)
            if self._core is not None and self._core.stands_still:
                self._keep_memory()

    def _is_due(self) -> bool:
        return self._looks == _FIRST_PROFILE or self._looks % _PROFILES == 0

    def _keep_memory(self, *, stop: bool = False) -> None:
        """Once. ``stop``: while the guest stands still."""
        core, self._core = self._core, None
        if core is None:
            return
        from ktstr.introspect.program import Unreadable, open_program
        from ktstr.introspect.vmcore import write_core

        try:
            if stop:
                self._guest.pause()
            registers = self._guest.registers()
        except (GuestEnded, HostError):
            registers = ()
        try:
            program = open_program(self._guest.memory, kernel_of(self._folder), registers)
            write_core(core.path, program, read_entry(self._folder))
        except (Unreadable, Corrupt):
            pass  # the kernel was never up
        finally:
            if stop:
                with suppress(GuestEnded, HostError):
                    self._guest.resume()

    def _opened(self) -> GuestProgram:
        from ktstr.introspect.program import open_program

        if self._program is None:
            self._program = open_program(self._guest.memory, kernel_of(self._folder))
        return self._program

    def _meet(self, program: GuestProgram) -> None:
        from ktstr.introspect.scx import read_state

        programs = _programs(program)
        self._first = _joined(programs, self._first)
        self._timeout_ms = read_state(program, self._hz).watchdog_timeout_ms
        if programs:
            self._met, self._unread = self._attached, None

    def _waits_too_long(self, sample: MonitorSample) -> bool:
        if not self._timeout_ms:
            return False
        waits = (task.runnable_ms or 0 for cpu in sample.cpus for task in cpu.waiting if task.kind == "ext")
        return 2 * max(waits, default=0) >= self._timeout_ms

    def _snapshot(self, program: GuestProgram, moment: Moment) -> Snapshot:
        from ktstr.introspect import snapshot

        try:
            registers: tuple[Registers, ...] = self._guest.registers()
            why = ""
        except (GuestEnded, HostError) as err:
            registers, why = (), str(err)
        return _checked(snapshot.read_snapshot(program, self._hz, snapshot.Moment(moment.at_ns, registers, why)))

    def _leave(self) -> None:
        from ktstr.introspect import snapshot

        gone = snapshot.Moment(None, (), "the machine had ended")
        self._late = _checked(snapshot.read_snapshot(self._opened(), self._hz, gone))


def _checked(found: Snapshot) -> Snapshot:
    """The same: what a guest's memory says is to fit the record that it becomes part of. Raises DecodeError."""
    return decode(Snapshot, msgspec.json.decode(msgspec.json.encode(found)), "guest memory")


def _joined(before: tuple[BpfProgram, ...], after: tuple[BpfProgram, ...]) -> tuple[BpfProgram, ...]:
    """Both, each program once, by its number: the second's where both have it."""
    known = {program.id: program for program in (*before, *after)}
    return tuple(known[number] for number in sorted(known))


def _programs(program: GuestProgram) -> tuple[BpfProgram, ...]:
    from ktstr.introspect.bpf import read_programs
    from ktstr.introspect.snapshot import scheduler_programs

    return scheduler_programs(read_programs(program).programs)


def _counts_runs(program: GuestProgram) -> bool:
    """Whether kernel.bpf_stats_enabled is on (struct static_key begins with its count)."""
    from ktstr.introspect.program import Unreadable

    try:
        count = program.image_bytes("bpf_stats_enabled_key", 4)
    except (Unreadable, ValueError):
        return False
    return count is not None and int.from_bytes(count, "little", signed=True) > 0
