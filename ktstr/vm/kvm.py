"""The KVM backend: guests run in this process, on threads of the C VMM. A cell may start as a clone of a machine
that has booted already (``snapshots``)."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import ktstr
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.record.cell import KvmRun, MachineEnd
from ktstr.vm.delivery import WAIT_ARGUMENT, is_ready, pack
from ktstr.vm.guest_files import (
    CHANNEL,
    CONSOLE,
    CONSOLE_CAP,
    PROGRAM_PART,
    channel_cap,
    has_panicked,
    judge_end,
    left_in,
    prepare,
    program_part,
)
from ktstr.vm.host_cpus import HostCpus
from ktstr.vm.kernel_args import kernel_command_line
from ktstr.vm.machine import GuestSpec, MachineResult
from ktstr.vm.performance import Performance
from ktstr.vm.snapshots import Snapshot, Snapshots
from ktstr.vm.supervise import DEAD_GRACE_S, Ended, Stop
from ktstr.vm.vmm import VcpuTimes, Vmm, VmmConfig, VmmError, VmmExit
from ktstr.vm.vmm_build import Extension, load_vmm

TICK_S = 0.1  # how often cancel and the console are looked at; the end itself is noticed at once
_SOON_S = 0.01  # how often a machine that boots is asked whether its agent has spoken
_LOOK_TICKS = 5  # at the console, for a panic
_HALT_POLL = Path("/sys/module/kvm/parameters/halt_poll_ns")
_STOPS: Mapping[str, Stop] = {"deadline": "timeout"}
_FAILURES = frozenset({"internal_error", "fail_entry", "host_error"})
_PROGRAM = "ktstr-vmm"


class KvmMachine:
    """Boots guests on KVM. ``snapshots``: where booted machines are kept to be cloned, None to boot each."""

    def __init__(self, extension: Extension, host_cpus: HostCpus, snapshots: Snapshots | None = None) -> None:
        self._extension, self._host_cpus, self._snapshots = extension, host_cpus, snapshots
        self._unkept: set[str] = set()  # keys of machines that could not be kept: they are booted each time

    @property
    def accel(self) -> str:
        return "kvm"

    @property
    def digest(self) -> str:
        return self._extension.digest

    @property
    def label(self) -> str:
        return f"ktstr VMM {ktstr.__version__} KVM"

    def command_line(self, spec: GuestSpec) -> tuple[str, ...]:
        """What the machine is, for a cell's key. Raises InputError for a kernel argument that cannot be passed."""
        return _describe(spec, kernel_command_line(spec, self.accel))

    def run(self, spec: GuestSpec, workdir: Path, host_timeout_s: float, cancel: threading.Event) -> MachineResult:
        """Boot or clone, and run to the end. Blocks the calling thread.

        Leaves ``console.log`` and ``channel.bin`` in ``workdir``. Raises InputError for a guest that cannot be
        described, HostError (VmmError with an errno) when the files cannot be written or KVM refuses.
        """
        started = time.monotonic()
        run = _Run(self._extension.path, spec, workdir.absolute(), started + host_timeout_s, cancel)
        with self._host_cpus.hold(spec, host_timeout_s, cancel) as performance:
            try:
                prepare(run.workdir)
                found = self._cloned(run) if performance is None else None
                exited, cost = found or run.booted(performance)
            except OSError as err:
                raise full_or_denied(err, run.workdir, "KTSTR_RUNS_ROOT") from err
            finally:
                (run.workdir / PROGRAM_PART).unlink(missing_ok=True)
        return self._result(run, exited, cost, time.monotonic() - started)

    def _cloned(self, run: _Run) -> tuple[VmmExit, KvmRun] | None:
        """Run a clone; None when nothing is to be cloned, or what was kept can no longer be."""
        if self._snapshots is None or not run.spec.alike:
            return None
        key = self._snapshots.key(run.spec.alike, self.digest, self.command_line(run.spec))
        wanted = run.spec.many and key not in self._unkept
        with self._snapshots.holding(key, run.template if wanted else None) as snapshot:
            if snapshot is None:
                if wanted:
                    self._unkept.add(key)
                return None
            try:
                return run.cloned(snapshot)
            except VmmError as err:
                if err.errno != errno.EINVAL:
                    raise
                self._snapshots.forget(key)
                prepare(run.workdir)
                return None

    def _result(self, run: _Run, exited: VmmExit, cost: KvmRun, seconds: float) -> MachineResult:
        stopped = run.stopped or _STOPS.get(exited.reason)
        ended = Ended(0, stopped, run.flooded, seconds, None, _dilation(cost))
        failure = f"KVM: {exited.text}" if exited.reason in _FAILURES else None
        left = left_in(run.workdir, failure, triple_fault=exited.reason == "triple_fault")
        why, detail = judge_end(ended, left, run.workdir)
        command = self.command_line(run.spec)
        end = MachineEnd(why, detail, seconds, self.label, command, host_dilation=ended.dilation, kvm=cost)
        return MachineResult(end, run.workdir / CHANNEL, run.workdir / CONSOLE)


@dataclass
class _Run:
    """One guest from its start to its end; ``stopped`` says that we ended it, ``flooded`` which file grew too large."""

    extension: Path
    spec: GuestSpec
    workdir: Path
    deadline: float  # of time.monotonic
    cancel: threading.Event
    stopped: Stop | None = None
    flooded: Path | None = None
    boot_ms: float | None = None
    warnings: list[str] = field(default_factory=list)
    before: tuple[VcpuTimes, ...] = ()  # of each vCPU's thread, when the agent first spoke or the clone began

    def booted(self, performance: Performance | None) -> tuple[VmmExit, KvmRun]:
        parts = (*self.spec.initrd_parts, *program_part(self.spec, self.workdir))
        with self._machine(self._config(parts, performance)) as vmm:
            started = time.monotonic()
            vmm.start()
            if self._until(vmm, lambda: vmm.channel_output().written > 0):
                self.boot_ms = (time.monotonic() - started) * 1000
                self.before = self._times(vmm)
            return self._until_end(vmm), self._cost(vmm, performance, cloned=False)

    def cloned(self, snapshot: Snapshot) -> tuple[VmmExit, KvmRun]:
        (self.workdir / CHANNEL).write_bytes(snapshot.channel.read_bytes())
        (self.workdir / CONSOLE).write_bytes(snapshot.console.read_bytes())
        with snapshot.opened() as files:
            machine = self._machine(replace(self._config((), None), kernel=None, snapshot=files))
            with machine as vmm:
                vmm.start()
                self._deliver(vmm)
                self.before = self._times(vmm)
                return self._until_end(vmm), self._cost(vmm, None, cloned=True)

    def template(self, folder: Path) -> bool:
        """Boot a machine that waits for its program, and keep it in ``folder``; False when it does not come so far."""
        config = self._config(self.spec.initrd_parts, None)
        config = replace(config, command_line=f"{config.command_line} {WAIT_ARGUMENT}")
        try:
            with self._machine(config) as vmm:
                vmm.start()
                if not self._until(vmm, lambda: is_ready((self.workdir / CHANNEL).read_bytes())):
                    return False
                return self._keep(vmm, Snapshot(folder))
        finally:
            for name in (CHANNEL, CONSOLE):
                shutil.copyfile(self.workdir / name, folder / name)  # the cache may be another filesystem
            prepare(self.workdir)

    def _keep(self, vmm: Vmm, snapshot: Snapshot) -> bool:
        """False, and said in the sidecar, where this host or this moment does not allow it."""
        try:
            with snapshot.created() as files:
                vmm.snapshot(*files)
        except VmmError as err:
            self.warnings.append(f"no clone: {err.message}")
            return False
        return True

    def _config(self, parts: tuple[Path, ...], performance: Performance | None) -> VmmConfig:
        config = VmmConfig(
            kernel=self.spec.kernel.absolute(),
            topology=self.spec.topology,
            memory_mib=self.spec.memory_mib,
            initrd=parts,
            command_line=kernel_command_line(self.spec, "kvm"),
            console_limit=CONSOLE_CAP,
            channel_limit=channel_cap() + 1,
            deadline_ms=max(1, round((self.deadline - time.monotonic()) * 1000)),
        )
        if performance is None:
            return config
        return replace(
            config, flags=performance.flags, pin=performance.pin, node_masks=performance.node_masks,
            fifo_priority=performance.fifo_priority,
        )  # fmt: skip

    @contextmanager
    def _machine(self, config: VmmConfig) -> Iterator[Vmm]:
        """A machine that writes behind what console and channel have already; they outlive it."""
        with ExitStack() as stack:
            console = stack.enter_context((self.workdir / CONSOLE).open("ab"))
            channel = stack.enter_context((self.workdir / CHANNEL).open("ab"))
            config = replace(config, console_fd=console.fileno(), channel_fd=channel.fileno())
            yield stack.enter_context(Vmm(_library(self.extension), config))

    def _until(self, vmm: Vmm, holds: Callable[[], bool]) -> bool:
        """Wait until a guest that boots has come so far; False when it ended or died, or was cancelled, before."""
        ticks = 0
        while not holds():
            ticks += 1
            if vmm.wait(_SOON_S) is not None or self.cancel.is_set():
                return False
            if ticks % (_LOOK_TICKS * 20) == 0 and has_panicked(self.workdir):
                return False
        return True

    def _times(self, vmm: Vmm) -> tuple[VcpuTimes, ...]:
        return tuple(vmm.times(cpu) for cpu in range(self.spec.topology.cpus))

    def _deliver(self, vmm: Vmm) -> None:
        """Give a clone its program, the time, and randomness that no other clone has."""
        data = pack(self.spec.program, os.urandom(64), time.time_ns())
        while data:
            data = data[vmm.send(data) :]
            if data and vmm.wait(_SOON_S) is not None:
                return

    def _until_end(self, vmm: Vmm) -> VmmExit:
        dead_at: float | None = None
        tick = 0
        while (exited := vmm.wait(TICK_S)) is None:
            tick += 1
            self.stopped = self._why_stop(vmm, dead_at)
            if self.stopped is not None:
                vmm.stop()
            elif dead_at is None and tick % _LOOK_TICKS == 0 and has_panicked(self.workdir):
                dead_at = time.monotonic()
        self._note_flood(vmm)
        return exited

    def _cost(self, vmm: Vmm, performance: Performance | None, *, cloned: bool) -> KvmRun:
        """What the run took of the host, read after its end. Booting is no part of what threads ran and waited."""
        cpus = self.spec.topology.cpus
        before = self.before or (VcpuTimes(0, 0),) * cpus
        times = tuple(zip(self._times(vmm), before, strict=True))
        budget = min(cpus, len(os.sched_getaffinity(0) if performance is None else performance.pin))
        return KvmRun(
            vm_stats=vmm.stats(None),
            vcpu_stats=tuple(vmm.stats(cpu) for cpu in range(cpus)),
            host_run_ns=tuple(after.run_ns - first.run_ns for after, first in times),
            host_wait_ns=tuple(after.wait_ns - first.wait_ns for after, first in times),
            halt_poll_ns=_halt_poll_ns(),
            cpu_budget=budget,
            overcommit=cpus / budget,
            cloned=cloned,
            boot_ms=self.boot_ms,
            performance=None if performance is None else performance.as_json(),
            warnings=(*self.warnings, *(performance.warnings if performance else ()), *vmm.warnings()),
        )

    def _why_stop(self, vmm: Vmm, dead_at: float | None) -> Stop | None:
        if self.stopped is not None:
            return self.stopped
        if self.cancel.is_set():
            return "cancelled"
        if self._note_flood(vmm):
            return "flood"
        return "dead" if dead_at is not None and time.monotonic() - dead_at >= DEAD_GRACE_S else None

    def _note_flood(self, vmm: Vmm) -> bool:
        for name, output in ((CHANNEL, vmm.channel_output()), (CONSOLE, vmm.console_output())):
            if output.error == errno.EFBIG and self.stopped is None:
                self.stopped, self.flooded = "flood", self.workdir / name
        return self.flooded is not None


def _halt_poll_ns() -> int | None:
    try:
        return int(_HALT_POLL.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _dilation(cost: KvmRun) -> float | None:
    """1 + total run delay / total run time of the vCPUs' threads; None when they never ran."""
    run = sum(cost.host_run_ns)
    return 1 + sum(cost.host_wait_ns) / run if run else None


def _describe(spec: GuestSpec, append: str) -> tuple[str, ...]:
    topology = spec.topology
    nodes = range(topology.numa_nodes)
    distances = ",".join(str(topology.distance(a, b)) for a in nodes for b in nodes)
    mode = ("performance",) if spec.performance else ()
    return (
        _PROGRAM, f"topology={topology.label}", f"distances={distances}", f"memory={spec.memory_mib}M", "vendor=host",
        *mode, "append", append,
    )  # fmt: skip


@cache
def _library(path: Path) -> Any:
    """The extension, imported once: a module cannot be unloaded."""
    if not path.is_file():
        raise HostError(f"{path}: is gone", fix="run the command again")
    return load_vmm(path)
