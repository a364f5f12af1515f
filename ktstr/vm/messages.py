"""What the guest said, from frames to a GuestRecord. Every count, index and length is checked.

A message that breaks a rule ends the decoding with a ChannelError; what came before is kept.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec.structs import replace

from ktstr.record.guest import (
    SILENT,
    GuestCpu,
    GuestRecord,
    Migration,
    SchedEvent,
    SchedEventKind,
    Stimulus,
    VcpuReport,
    WorkerReport,
)
from ktstr.vm.channel import ChannelError, ChannelFault, Frame, FrameParser
from ktstr.vm.protocol import OP_NAMES, SCHED_EVENTS, ffi, lib

# What an agent says that needs no program; one that waits for its program has said nothing else.
_BEFORE_READY = frozenset({lib.KTSTR_MSG_HELLO, lib.KTSTR_MSG_CPU, lib.KTSTR_MSG_DISTANCES})


def decode_channel(data: bytes) -> tuple[GuestRecord, str | None]:
    """The record in a whole channel, and why it could not be read to its end (None when it could)."""
    record, error = read_channel(data)
    return record, None if error is None else str(error)


def read_channel(data: bytes) -> tuple[GuestRecord, ChannelError | None]:
    """As decode_channel, with the error as a value: its ``kind`` tells garbage, flood and truncation apart."""
    parser = FrameParser()
    decoder = GuestDecoder()
    for frame in parser.feed(data):
        if (error := decoder.add(frame)) is not None:
            return decoder.record(), error
    return decoder.record(), parser.finish()


class _Bad(Exception):
    """A message breaks a rule of the protocol; never leaves this module."""

    def __init__(self, reason: str, kind: ChannelFault = "garbage") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


@dataclass
class _Worker:
    """A report, and what is still to come for it."""

    report: WorkerReport
    migrations_due: int
    samples_due: int
    migrations: list[Migration] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def whole(self) -> WorkerReport:
        return replace(self.report, migrations=tuple(self.migrations), wake_latencies_ns=tuple(self.samples))


class GuestDecoder:
    """Frames in, in order; the record of what they said so far out at any time."""

    def __init__(self) -> None:
        self._base = SILENT
        self._may_wait = True
        self._cpus: dict[int, GuestCpu] = {}
        self._distances: dict[int, tuple[int, ...]] = {}
        self._events: list[SchedEvent] = []
        self._workers: dict[int, _Worker] = {}
        self._vcpus: dict[int, VcpuReport] = {}
        self._stimuli: list[Stimulus] = []
        self._errors: list[str] = []
        self._logs = {lib.KTSTR_MSG_SCHED_LOG: bytearray(), lib.KTSTR_MSG_SCHED_KMSG: bytearray()}
        self._readers: dict[int, Callable[[bytes], None]] = {
            lib.KTSTR_MSG_HELLO: self._hello,
            lib.KTSTR_MSG_CPU: self._cpu,
            lib.KTSTR_MSG_DISTANCES: self._distance_row,
            lib.KTSTR_MSG_SCHED_EVENT: self._event,
            lib.KTSTR_MSG_SCHED_LOG: lambda payload: self._log(lib.KTSTR_MSG_SCHED_LOG, payload),
            lib.KTSTR_MSG_SCHED_KMSG: lambda payload: self._log(lib.KTSTR_MSG_SCHED_KMSG, payload),
            lib.KTSTR_MSG_STIMULUS: self._stimulus,
            lib.KTSTR_MSG_WORKER: self._worker,
            lib.KTSTR_MSG_MIGRATIONS: self._migrations,
            lib.KTSTR_MSG_SAMPLES: self._samples,
            lib.KTSTR_MSG_VCPU: self._vcpu,
            lib.KTSTR_MSG_ERROR: self._error,
            lib.KTSTR_MSG_END: self._end,
            lib.KTSTR_MSG_READY: self._ready,
        }

    def add(self, frame: Frame) -> ChannelError | None:
        """Take one frame; the error says which rule it broke."""
        try:
            if self._base.ended:
                raise _Bad("frame after the End message")
            reader = self._readers.get(frame.type)
            if reader is None:
                raise _Bad(f"message of unknown type {frame.type}")
            reader(frame.payload)
            self._may_wait = self._may_wait and frame.type in _BEFORE_READY
        except _Bad as bad:
            return ChannelError(bad.kind, frame.offset, bad.reason)
        return None

    def record(self) -> GuestRecord:
        """Everything said so far."""
        return replace(
            self._base,
            cpus=tuple(self._cpus[n] for n in sorted(self._cpus)),
            node_distances=tuple(self._distances[n] for n in sorted(self._distances)),
            sched_events=tuple(self._events),
            sched_log=_decode(self._logs[lib.KTSTR_MSG_SCHED_LOG]),
            sched_kmsg=_decode(self._logs[lib.KTSTR_MSG_SCHED_KMSG]),
            workers=tuple(self._workers[n].whole() for n in sorted(self._workers)),
            vcpus=tuple(self._vcpus[n] for n in sorted(self._vcpus)),
            stimuli=tuple(self._stimuli),
            errors=tuple(self._errors),
        )

    def _hello(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_hello", payload)
        if msg.version != lib.KTSTR_PROTO_VERSION:
            raise _Bad(f"Hello of protocol version {msg.version}, expected {lib.KTSTR_PROTO_VERSION},")
        if self._base.kernel_release is not None:
            raise _Bad("second Hello message")
        release = bytes(ffi.buffer(msg.kernel_release)).split(b"\0", 1)[0]
        self._base = replace(self._base, kernel_release=_decode(release))

    def _cpu(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_cpu", payload)
        cpu = _cpu_number(msg.cpu)
        if cpu in self._cpus:
            raise _Bad(f"second Cpu message for CPU {cpu}")
        self._cpus[cpu] = GuestCpu(cpu, msg.node, msg.package, _mask(msg.llc), _mask(msg.smt))

    def _distance_row(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_distances", payload)
        if msg.node >= lib.KTSTR_MAX_NODES or msg.count > lib.KTSTR_MAX_NODES or msg.node in self._distances:
            raise _Bad(f"Distances message for node {msg.node} with {msg.count} entries")
        self._distances[msg.node] = tuple(msg.distance[0 : msg.count])

    def _event(self, payload: bytes) -> None:
        msg, text = _struct_and_text("struct ktstr_msg_sched_event", payload)
        if msg.kind not in SCHED_EVENTS:
            raise _Bad(f"scheduler event of unknown kind {msg.kind}")
        _room("scheduler events", self._events, lib.KTSTR_MAX_SCHED_EVENTS)
        self._events.append(SchedEvent(msg.at_ns, cast(SchedEventKind, SCHED_EVENTS[msg.kind]), msg.code, text))

    def _log(self, which: int, payload: bytes) -> None:
        log = self._logs[which]
        if len(log) + len(payload) > lib.KTSTR_MAX_LOG_BYTES:
            raise _Bad(f"more than {lib.KTSTR_MAX_LOG_BYTES} bytes of one log", "flood")
        log += payload

    def _stimulus(self, payload: bytes) -> None:
        msg, detail = _struct_and_text("struct ktstr_msg_stimulus", payload)
        if msg.op not in OP_NAMES:
            raise _Bad(f"stimulus of unknown op {msg.op}")
        _room("stimuli", self._stimuli, lib.KTSTR_MAX_OPS)
        self._stimuli.append(Stimulus(msg.at_ns, OP_NAMES[msg.op], detail, msg.total_iterations))

    def _worker(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_worker", payload)
        if msg.index >= lib.KTSTR_MAX_WORKERS or msg.index in self._workers:
            raise _Bad(f"report of worker {msg.index}, which was reported or cannot be")
        if msg.samples_stored > lib.KTSTR_MAX_SAMPLES or msg.migrations_stored > lib.KTSTR_MAX_MIGRATIONS:
            raise _Bad(f"worker {msg.index} with {msg.samples_stored} samples, {msg.migrations_stored} migrations")
        self._workers[msg.index] = _Worker(_report(msg), msg.migrations_stored, msg.samples_stored)

    def _migrations(self, payload: bytes) -> None:
        head, items = _struct_and_array("struct ktstr_msg_migrations", "struct ktstr_migration", payload)
        worker = self._workers.get(head.worker)
        if worker is None or len(items) > worker.migrations_due:
            raise _Bad(f"{len(items)} migrations of worker {head.worker}, which announced fewer")
        worker.migrations_due -= len(items)
        worker.migrations += [Migration(m.at_ns, _cpu_number(m.from_cpu), _cpu_number(m.to_cpu)) for m in items]

    def _samples(self, payload: bytes) -> None:
        head, items = _struct_and_array("struct ktstr_msg_samples", "uint64_t", payload)
        worker = self._workers.get(head.worker)
        if worker is None or len(items) > worker.samples_due:
            raise _Bad(f"{len(items)} samples of worker {head.worker}, which announced fewer")
        worker.samples_due -= len(items)
        worker.samples += list(items)

    def _vcpu(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_vcpu", payload)
        cpu = _cpu_number(msg.cpu)
        if cpu in self._vcpus:
            raise _Bad(f"second Vcpu message for CPU {cpu}")
        self._vcpus[cpu] = VcpuReport(cpu, msg.run_ns, msg.run_delay_ns, msg.timeslices)

    def _error(self, payload: bytes) -> None:
        _room("errors", self._errors, lib.KTSTR_MAX_ERRORS)
        self._errors.append(_text(payload))

    def _end(self, payload: bytes) -> None:
        msg = _struct("struct ktstr_msg_end", payload)
        if msg.status > lib.KTSTR_END_DEADLINE:
            raise _Bad(f"End message with unknown status {msg.status}")
        hit = msg.status == lib.KTSTR_END_DEADLINE
        due = [n for n, worker in self._workers.items() if worker.migrations_due or worker.samples_due]
        if due and not hit:  # the deadline guard ends for an agent that hangs, wherever that was
            raise _Bad(f"End message before all that worker {due[0]} announced")
        self._base = replace(self._base, ended=True, deadline_hit=hit, end_ns=msg.at_ns)

    def _ready(self, payload: bytes) -> None:
        if payload:
            raise _Bad(f"Ready message with {len(payload)} bytes of payload")
        if not self._may_wait or self._base.kernel_release is None:
            raise _Bad("Ready message where no agent waits for its program")


def _struct(name: str, payload: bytes) -> Any:
    """The payload as exactly this struct."""
    if len(payload) != ffi.sizeof(name):
        raise _Bad(f"{name} of {len(payload)} bytes, expected {ffi.sizeof(name)},")
    return ffi.new(name + " *", ffi.from_buffer(name + " *", payload)[0])[0]


def _struct_and_text(name: str, payload: bytes) -> tuple[Any, str]:
    size = ffi.sizeof(name)
    return _struct(name, payload[:size]), _text(payload[size:])


def _struct_and_array(name: str, item: str, payload: bytes) -> tuple[Any, Any]:
    size = ffi.sizeof(name)
    head = _struct(name, payload[:size])
    rest = payload[size:]
    if head.count == 0 or len(rest) != head.count * ffi.sizeof(item):
        raise _Bad(f"{name} of {len(rest)} bytes for {head.count} items")
    array = ffi.new(f"{item}[]", head.count)
    ffi.memmove(array, rest, len(rest))
    return head, array


def _text(data: bytes) -> str:
    if len(data) > lib.KTSTR_MAX_TEXT_BYTES:
        raise _Bad(f"text of {len(data)} bytes, expected at most {lib.KTSTR_MAX_TEXT_BYTES},")
    return _decode(data)


def _decode(data: bytes | bytearray) -> str:
    return data.decode("utf-8", errors="replace")


def _room(what: str, items: list[Any], limit: int) -> None:
    if len(items) >= limit:
        raise _Bad(f"more than {limit} {what}", "flood")


def _cpu_number(cpu: int) -> int:
    if cpu >= lib.KTSTR_MAX_CPUS:
        raise _Bad(f"CPU number {cpu}, expected less than {lib.KTSTR_MAX_CPUS},")
    return cpu


def _mask(mask: Any) -> tuple[int, ...]:
    bits = sum(word << 64 * i for i, word in enumerate(mask.bits))
    return tuple(cpu for cpu in range(lib.KTSTR_MAX_CPUS) if bits >> cpu & 1)


def _exit_info(kind: int, code: int) -> str | None:
    if kind == lib.KTSTR_EXIT_NONE:
        return None
    if kind == lib.KTSTR_EXIT_EXITED:
        return f"Exited({code})"
    if kind == lib.KTSTR_EXIT_SIGNALED:
        return f"Signaled({code})"
    if kind == lib.KTSTR_EXIT_TIMED_OUT:
        return "TimedOut"
    if kind == lib.KTSTR_EXIT_WAIT_FAILED:
        return f"WaitFailed({errno.errorcode.get(code, code)})"
    raise _Bad(f"worker exit of unknown kind {kind}")


def _report(msg: Any) -> WorkerReport:
    """The report without its migrations and samples, which follow in frames of their own."""
    measured = bool(msg.has_schedstat)
    return WorkerReport(
        index=msg.index,
        work_index=msg.work_index,
        cgroup=msg.cgroup,
        tid=msg.tid,
        work_units=msg.work_units,
        iterations=msg.iterations,
        cpu_time_ns=msg.cpu_time_ns,
        wall_time_ns=msg.wall_time_ns,
        migration_count=msg.migration_count,
        migrations=(),
        cpus_used=_mask(msg.cpus_used),
        max_gap_ns=msg.max_gap_ns,
        max_gap_cpu=_cpu_number(msg.max_gap_cpu),
        max_gap_at_ns=msg.max_gap_at_ns,
        max_gap_off_cpu_ns=msg.max_gap_off_cpu_ns,
        max_stall_ns=msg.max_stall_ns,
        max_stall_cpu=_cpu_number(msg.max_stall_cpu),
        wake_latencies_ns=(),
        wake_sample_total=msg.wake_sample_total,
        schedstat_cpu_time_ns=msg.schedstat_cpu_time_ns if measured else None,
        schedstat_run_delay_ns=msg.schedstat_run_delay_ns if measured else None,
        schedstat_run_count=msg.schedstat_run_count if measured else None,
        completed=bool(msg.completed),
        exit_info=_exit_info(msg.exit_kind, msg.exit_code),
    )
