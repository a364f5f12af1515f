"""A guest of QEMU's that runs: a process that is watched, memory that it shares with us, and a socket to ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ktstr.record.machine import MachineEnd
from ktstr.vm.guest_files import CHANNEL, CONSOLE, RUN_PART, judge_end, left_in, tail
from ktstr.vm.guest_memory import MemfdMemory
from ktstr.vm.machine import GuestEnded, MachineResult, Registers
from ktstr.vm.moments import Gate, Given, Moment, in_real_time
from ktstr.vm.process import Process
from ktstr.vm.qemu_registers import COMMAND, parse_registers
from ktstr.vm.qmp import Qmp, QmpError, ShuttingDown
from ktstr.vm.watch import Ended, Watch

if TYPE_CHECKING:
    from ktstr.vm.channel import Frame

INITRD, PROGRAM, OUTPUT, RESET_LOG = "initrd.cpio", "program", "emulator.log", "reset.log"
RESET_LOG_CAP = 64 << 20  # bytes; about 1 KiB for each vCPU and reset
_GONE_S = 1.0  # from the last word of an emulator to its end as a process
# An emulator that exits needs a few ms, on a busy host some hundred; where it needs a nudge, one will do. None is
# sent early: what is half gone should not handle signals.
_PATIENCE_S, _NUDGES = 1.0, 10
T = TypeVar("T")


@dataclass(frozen=True)
class QemuRun:
    """What was started: the emulator's name and version, how it keeps time, the command, and the guest's folder."""

    label: str
    accel: str
    cpus: int
    workdir: Path
    command: tuple[str, ...]

    def result(self, ended: Ended) -> MachineResult:
        """How the machine ended, from what it left in the folder."""
        from ktstr.vm.ending import emulator_failure, fell_over

        failure = emulator_failure(ended, tail(self.workdir / OUTPUT))
        left = left_in(self.workdir, failure, triple_fault=fell_over(tail(self.workdir / RESET_LOG)))
        why, detail = judge_end(ended, left, self.workdir)
        end = MachineEnd(why, detail, ended.seconds, self.label, self.command, host_dilation=ended.dilation)
        return MachineResult(end, self.workdir / CHANNEL, self.workdir / CONSOLE)


class QemuGuest:
    """See ``machine.Guest``. ``held`` is closed with it; the emulator ends first."""

    def __init__(
        self,
        run: QemuRun,
        watch: Watch[Process],
        memory: MemfdMemory,
        monitor: Qmp,
        gate: Gate | None,
        held: ExitStack,
    ) -> None:
        self._run, self._watch, self._memory, self._monitor, self._held = run, watch, memory, monitor, held
        self._gate = gate

    @property
    def memory(self) -> MemfdMemory:
        return self._memory

    def ends_within(self, seconds: float) -> bool:
        return self._watch.ends_within(seconds)

    def wait(self) -> MachineResult:
        self._watch.wait()
        return self._result

    @cached_property
    def _result(self) -> MachineResult:
        return self._run.result(self._watch.wait())

    def frames(self) -> Iterator[Frame]:
        from ktstr.vm.channel import follow

        return follow(self._run.workdir / CHANNEL, self._watch.ends_within)

    def moments(self) -> Iterator[Moment]:
        if self._gate is not None:
            return self._gate.moments()
        if self._run.accel == "icount":
            return iter(())
        return in_real_time(self._watch.started, self._watch.ends_within, self._given)

    def _given(self) -> tuple[Given, ...] | None:
        return self._watch.machine.vcpus(self._run.cpus)

    def registers(self) -> tuple[Registers, ...]:
        held = None if self._gate is None else self._gate.registers(self._run.cpus)
        if held is not None:
            return parse_registers(held, self._run.cpus)
        return parse_registers(self.converse(lambda monitor: monitor.human(COMMAND), COMMAND), self._run.cpus)

    def pause(self) -> None:
        self.converse(lambda monitor: monitor.execute("stop"), "stop")

    def resume(self) -> None:
        self.converse(lambda monitor: monitor.execute("cont"), "cont")

    def kill(self) -> None:
        self._watch.kill()

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> QemuGuest:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def converse(self, speak: Callable[[Qmp], T], what: str) -> T:
        """What ``speak`` makes of a conversation with the emulator. Raises what it raises, and GuestEnded, with
        ``what`` was wanted, rather than that nobody answers."""
        try:
            return speak(self._monitor)
        except ShuttingDown:
            for _ in range(_NUDGES):
                if self._watch.ends_within(_PATIENCE_S):
                    break
                self._watch.machine.nudge()
            raise GuestEnded(what) from None
        except QmpError:
            if self._watch.ends_within(_GONE_S):
                raise GuestEnded(what) from None
            raise


def remove_inputs(workdir: Path) -> None:
    """Remove what the emulator alone needed, and its output if it printed nothing."""
    for name in (INITRD, PROGRAM, RUN_PART, RESET_LOG):
        (workdir / name).unlink(missing_ok=True)
    output = workdir / OUTPUT
    if output.exists() and output.stat().st_size == 0:
        output.unlink()
