"""A machine of the C VMM, as Python has it: errors are exceptions, descriptors and strings are kept alive.

cffi releases the GIL around every call, guests run on threads of the C code's own, and nothing in C ever
calls back. The header ``ktstr_vmm.h`` is the reference of what each call does.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntFlag
from pathlib import Path
from typing import Any

from ktstr.config.topology import Topology
from ktstr.errors import HostError
from ktstr.vm.memory import nodes_mib

_TEXT = 4096  # bytes of warnings
_STATS = 512  # numbers of one vCPU; 6.12 has about 60
_HINTS = {
    errno.EACCES: "as root: usermod -aG kvm USER, then log in again",
    errno.EPERM: "as root: usermod -aG kvm USER, then log in again",
    errno.ENOENT: "as root: modprobe kvm_intel || modprobe kvm_amd",
    errno.ENOMEM: "smaller memory_mib, or jobs=1",
    errno.EMFILE: "ulimit -n 4096, or jobs=1",
    errno.EBUSY: "end other hypervisors on this host",
}


class VmmError(HostError):
    """The VMM refused: ``errno`` is the cause, the text names the operation."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, fix=_HINTS.get(code))
        self.errno = code


class Flag(IntFlag):
    """``enum vmm_flag``; tested against the header."""

    REALTIME_HINT = 1
    KEEP_PAUSE = 2
    KEEP_HALT = 4
    HUGE_PAGES = 8
    POPULATE = 16


@dataclass(frozen=True)
class VmmConfig:
    """What to create. ``kernel`` is an ELF vmlinux or a bzImage; memory in MiB, ``deadline_ms`` of host time.

    ``pin``: the host CPU of each vCPU, -1 for any; ``node_masks``: host nodes of each guest node's memory.
    ``snapshot``: descriptors of a snapshot's memory and state, to clone rather than to boot.
    """

    kernel: Path | None
    topology: Topology
    memory_mib: int
    initrd: tuple[Path, ...] = ()
    command_line: str = ""
    vendor: str = "host"
    flags: int = 0
    console_fd: int = -1
    channel_fd: int = -1
    console_limit: int = 16 << 20
    channel_limit: int = 64 << 20
    deadline_ms: int = 0
    pin: tuple[int, ...] = ()
    node_masks: tuple[int, ...] = ()
    fifo_priority: int = 0
    snapshot: tuple[int, int] | None = None


@dataclass(frozen=True)
class VmmExit:
    """How a machine ended: ``reason`` is an ``enum vmm_reason`` in lower case without its prefix."""

    reason: str
    code: int
    cpu: int
    text: str


@dataclass(frozen=True)
class Output:
    """What became of a stream: bytes written and dropped, and an errno value or 0: EFBIG at its limit, EAGAIN for
    a pipe, terminal or socket that nobody read.
    """

    written: int
    dropped: int
    error: int


@dataclass(frozen=True)
class VcpuTimes:
    """Of one vCPU's thread on the host, in ns: it ran; it was runnable and waited for a CPU."""

    run_ns: int
    wait_ns: int


@dataclass(frozen=True)
class Piece:
    """Guest RAM that is one piece here: its physical address, its size in bytes, and guest NUMA node.

    ``host`` is where it is in this process, for readers without a copy; nothing is there after ``Vmm.close``.
    """

    address: int
    size: int
    host: int
    node: int


@dataclass
class _Kept:
    """C memory that has to outlive ``vmm_create``."""

    ffi: Any
    alive: list[Any] = field(default_factory=list)

    def text(self, value: bytes) -> Any:
        return self.new("char[]", value)

    def new(self, kind: str, value: Any) -> Any:
        made = self.ffi.new(kind, value)
        self.alive.append(made)
        return made

    def array(self, kind: str, values: Sequence[Any]) -> Any:
        return self.new(f"{kind}[]", list(values)) if values else self.ffi.NULL


class Vmm:
    """One machine, made complete and standing still. Use it as a context: leaving destroys it.

    Any thread may call anything, ``close`` too. Raises VmmError with the errno and the operation that failed; all
    but ``close`` raise it (EBADF) once the machine is closed.
    """

    def __init__(self, library: Any, config: VmmConfig) -> None:
        self._ffi, self._lib = library.ffi, library.lib
        self._error = self._ffi.new("struct vmm_error *")
        kept = _Kept(self._ffi)
        made = self._lib.vmm_create(self._config(config, kept), self._error)
        if made == self._ffi.NULL:
            raise self._failure(self._error)
        self._vmm: Any = made
        self._calls: Counter[int] = Counter()  # by thread: those that are in C, or about to be
        self._changed = threading.Condition()
        self._destroyed = False

    def _config(self, config: VmmConfig, kept: _Kept) -> Any:
        topology = config.topology
        nodes = range(topology.numa_nodes)
        made = kept.new("struct vmm_config *", None)
        made.kernel = self._ffi.NULL if config.kernel is None else kept.text(os.fsencode(config.kernel))
        made.initrd = kept.array("const char *", [kept.text(os.fsencode(path)) for path in config.initrd])
        made.initrd_parts = len(config.initrd)
        made.command_line = kept.text(config.command_line.encode())
        made.nodes, made.llcs = topology.numa_nodes, topology.llcs
        made.cores, made.threads = topology.cores, topology.threads
        if topology.nodes:
            made.llc_cores = kept.array("uint32_t", topology.llc_cores)
            made.node_llcs = kept.array("uint32_t", [len(llcs) for llcs in topology.node_llcs])
            shares = nodes_mib(topology, config.memory_mib)
            made.node_bytes = kept.array("uint64_t", [mib << 20 for mib in shares])
        distances = [topology.distance(a, b) for a in nodes for b in nodes]
        made.distances = kept.array("uint8_t", distances)
        made.memory_bytes = config.memory_mib << 20
        made.vendor = getattr(self._lib, f"VMM_VENDOR_{config.vendor.upper()}")
        made.flags = config.flags
        made.console_fd, made.channel_fd = config.console_fd, config.channel_fd
        made.console_limit, made.channel_limit = config.console_limit, config.channel_limit
        made.deadline_ms = config.deadline_ms
        made.pin = kept.array("int32_t", config.pin)
        made.node_masks = kept.array("uint64_t", config.node_masks)
        made.fifo_priority = config.fifo_priority
        made.snapshot_memory_fd, made.snapshot_state_fd = config.snapshot or (-1, -1)
        return made

    def _failure(self, error: Any) -> VmmError:
        text = self._ffi.string(error.text).decode(errors="replace")
        return VmmError(f"KVM: {text}", error.code)

    def _call(self, function: Any, *args: Any) -> int:
        """Call what gives 0 or more, or -errno with an error filled in; each call has its own."""
        error = self._ffi.new("struct vmm_error *")
        with self._open() as vmm:
            status: int = function(vmm, *args, error)
        if status < 0:
            raise self._failure(error)
        return status

    def __enter__(self) -> Vmm:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop it if need be, and leave no thread, mapping or descriptor. Twice is once.

        Calls of other threads that are under way end first, as those of a machine that ended.
        """
        with self._changed:
            vmm, self._vmm = self._vmm, self._ffi.NULL
            if vmm == self._ffi.NULL:
                self._changed.wait_for(lambda: self._destroyed)
                return
        self._lib.vmm_stop(vmm)
        with self._changed:
            self._changed.wait_for(lambda: not self._others())
        self._lib.vmm_destroy(vmm)
        with self._changed:
            self._destroyed = True
            self._changed.notify_all()

    def _others(self) -> set[int]:
        """Threads that use the machine. Our own does not, whatever an exception out of a signal handler left."""
        return {thread for thread, calls in self._calls.items() if calls} - {threading.get_ident()}

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The machine, which ``close`` leaves alone meanwhile."""
        thread = threading.get_ident()
        with self._changed:
            if self._vmm == self._ffi.NULL:
                raise VmmError("KVM: the machine is closed", errno.EBADF)
            vmm = self._vmm
            self._calls[thread] += 1
        try:
            yield vmm
        finally:
            with self._changed:
                self._calls[thread] -= 1
                self._changed.notify_all()

    def start(self) -> None:
        self._call(self._lib.vmm_start)

    def wait(self, timeout_s: float | None) -> VmmExit | None:
        """Block until it has ended; None when ``timeout_s`` passed first."""
        found = self._ffi.new("struct vmm_exit *")
        timeout = -1 if timeout_s is None else round(timeout_s * 1000)
        with self._open() as vmm:
            if not self._lib.vmm_wait(vmm, timeout, found):
                return None
        reason = self._ffi.string(self._ffi.cast("enum vmm_reason", found.reason))
        text = self._ffi.string(found.text).decode(errors="replace")
        return VmmExit(reason.removeprefix("VMM_").lower(), found.code, found.cpu, text)

    def stop(self) -> None:
        """Ask for the end; ``wait`` says when."""
        with self._open() as vmm:
            self._lib.vmm_stop(vmm)

    def pause(self) -> None:
        self._call(self._lib.vmm_pause)

    def resume(self) -> None:
        with self._open() as vmm:
            self._lib.vmm_resume(vmm)

    def kick(self) -> None:
        """Force all vCPUs out of the guest once."""
        with self._open() as vmm:
            self._lib.vmm_kick(vmm)

    def registers(self, cpu: int) -> dict[str, int]:
        """A vCPU's registers by name. Pauses the machine for a moment; works after its end, too."""
        found = self._ffi.new("struct vmm_registers *")
        self._call(self._lib.vmm_registers, cpu, found)
        names = [name for name, _ in self._ffi.typeof("struct vmm_registers").fields]
        return {name: getattr(found, name) for name in names}

    def times(self, cpu: int) -> VcpuTimes:
        found = self._ffi.new("struct vmm_times *")
        self._call(self._lib.vmm_times, cpu, found)
        return VcpuTimes(found.cpu_ns, found.wait_ns)

    def stats(self, cpu: int | None) -> dict[str, int]:
        """KVM's own numbers of a vCPU, or of the whole machine for None."""
        found = self._ffi.new("struct vmm_stat[]", _STATS)
        count = self._call(self._lib.vmm_stats, -1 if cpu is None else cpu, found, _STATS)
        rows = found[0 : min(count, _STATS)]
        return {self._ffi.string(row.name).decode(errors="replace"): row.value for row in rows}

    def pieces(self) -> tuple[Piece, ...]:
        """All guest memory, by address. There is none between 3 and 4 GiB, so a node may have two pieces."""
        with self._open() as vmm:
            count = self._lib.vmm_pieces(vmm, self._ffi.NULL, 0)
            found = self._ffi.new("struct vmm_piece[]", count)
            self._lib.vmm_pieces(vmm, found, count)
        return tuple(
            Piece(row.address, row.bytes, int(self._ffi.cast("uintptr_t", row.host)), row.node) for row in found
        )

    def read(self, address: int, size: int) -> bytes:
        """Guest physical memory."""
        data = self._ffi.new("char[]", max(1, size))
        self._call(self._lib.vmm_read, address, data, size)
        return bytes(self._ffi.buffer(data, size))

    def write(self, address: int, data: bytes) -> None:
        self._call(self._lib.vmm_write, address, data, len(data))

    def send(self, data: bytes) -> int:
        """To the guest on the channel: how many bytes found room."""
        with self._open() as vmm:
            sent: int = self._lib.vmm_send(vmm, data, len(data))
        return sent

    def type(self, data: bytes) -> int:
        """To the guest as typed at its console: how many bytes found room."""
        with self._open() as vmm:
            sent: int = self._lib.vmm_type(vmm, data, len(data))
        return sent

    def snapshot(self, memory_fd: int, state_fd: int) -> None:
        """Write the machine to two empty files."""
        self._call(self._lib.vmm_snapshot, memory_fd, state_fd)

    def console_output(self) -> Output:
        return self._output(self._lib.vmm_console_output)

    def channel_output(self) -> Output:
        return self._output(self._lib.vmm_channel_output)

    def _output(self, function: Any) -> Output:
        found = self._ffi.new("struct vmm_output *")
        with self._open() as vmm:
            function(vmm, found)
        return Output(found.written, found.dropped, found.error)

    def warnings(self) -> tuple[str, ...]:
        """What was asked for and not had, a sentence each."""
        text = self._ffi.new("char[]", _TEXT)
        with self._open() as vmm:
            self._lib.vmm_warnings(vmm, text, _TEXT)
        return tuple(self._ffi.string(text).decode(errors="replace").splitlines())


def reasons(library: Any) -> Mapping[str, int]:
    """``enum vmm_reason`` by name, in lower case without its prefix."""
    values = library.ffi.typeof("enum vmm_reason").relements
    return {name.removeprefix("VMM_").lower(): value for name, value in values.items()}
