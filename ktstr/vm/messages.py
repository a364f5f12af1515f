"""What the guest said, from frames to a GuestRecord. Every count, index and length is checked.

A message that breaks a rule ends the decoding with a ChannelError; what came before is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from msgspec.structs import replace

from ktstr.record.guest import SILENT, GuestCpu, GuestNode, GuestRecord, SchedEvent, SchedEventKind, VcpuReport
from ktstr.vm import loader_messages, parts
from ktstr.vm.channel import ChannelError, Frame, FrameParser
from ktstr.vm.op_messages import OpMessages
from ktstr.vm.parts import Bad
from ktstr.vm.protocol import SCHED_EVENTS, ffi, lib
from ktstr.vm.worker_messages import WorkerMessages

# What an agent says that needs no program; one that waits for its program has said nothing else.
_BEFORE_READY = frozenset(
    {
        lib.KTSTR_MSG_HELLO, lib.KTSTR_MSG_CPU_LISTS, lib.KTSTR_MSG_CPU, lib.KTSTR_MSG_NODE,
        lib.KTSTR_MSG_DISTANCES, lib.KTSTR_MSG_SCHED_EVENT, lib.KTSTR_MSG_SCHED_LOG,
        lib.KTSTR_MSG_SCHED_KMSG, lib.KTSTR_MSG_SCHED_DUMP, lib.KTSTR_MSG_SCHED_PRINTK,
    }
)  # fmt: skip
_TEXTS = (
    lib.KTSTR_MSG_SCHED_LOG, lib.KTSTR_MSG_SCHED_KMSG, lib.KTSTR_MSG_SCHED_DUMP, lib.KTSTR_MSG_SCHED_PRINTK,
)  # fmt: skip


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


class GuestDecoder:
    """Frames in, in order; the record of what they said so far out at any time."""

    def __init__(self) -> None:
        self._base = SILENT
        self._may_wait = True
        self._cpus: dict[int, GuestCpu] = {}
        self._distances: dict[int, tuple[int, ...]] = {}
        self._nodes: dict[int, GuestNode] = {}
        self._events: list[SchedEvent] = []
        self._workers = WorkerMessages()
        self._vcpus: dict[int, VcpuReport] = {}
        self._ops = OpMessages()
        self._logs = {text: bytearray() for text in _TEXTS}
        self._readers: dict[int, Callable[[bytes], None]] = {
            lib.KTSTR_MSG_HELLO: self._hello,
            lib.KTSTR_MSG_BEGIN: self._begin,
            lib.KTSTR_MSG_CPU: self._cpu,
            lib.KTSTR_MSG_CPU_LISTS: self._cpu_lists,
            lib.KTSTR_MSG_NODE: self._node,
            lib.KTSTR_MSG_DISTANCES: self._distance_row,
            lib.KTSTR_MSG_SCHED_EVENT: self._event,
            **{text: partial(parts.extend_log, log) for text, log in self._logs.items()},
            lib.KTSTR_MSG_SCHED_REFUSAL: self._refusal,
            lib.KTSTR_MSG_VCPU: self._vcpu,
            lib.KTSTR_MSG_END: self._end,
            lib.KTSTR_MSG_READY: self._ready,
            lib.KTSTR_MSG_UNPARKED: self._unparked,
            **self._workers.readers,
            **self._ops.readers,
        }

    def add(self, frame: Frame) -> ChannelError | None:
        """Take one frame; the error says which rule it broke."""
        try:
            if self._base.ended:
                raise Bad("frame after the End message")
            reader = self._readers.get(frame.type)
            if reader is None:
                raise Bad(f"message of unknown type {frame.type}")
            reader(frame.payload)
            self._may_wait = self._may_wait and frame.type in _BEFORE_READY
        except Bad as bad:
            return ChannelError(bad.kind, frame.offset, bad.reason)
        return None

    def record(self) -> GuestRecord:
        """Everything said so far."""
        return replace(
            self._ops.add_to(self._base),
            cpus=tuple(self._cpus[n] for n in sorted(self._cpus)),
            nodes=tuple(self._nodes[n] for n in sorted(self._nodes)) or None,
            node_distances=tuple(self._distances[n] for n in sorted(self._distances)),
            sched_events=tuple(self._events),
            sched_log=parts.decode(self._logs[lib.KTSTR_MSG_SCHED_LOG]),
            sched_kmsg=parts.decode(self._logs[lib.KTSTR_MSG_SCHED_KMSG]),
            sched_dump=parts.decode(self._logs[lib.KTSTR_MSG_SCHED_DUMP]) or None,
            sched_printk=parts.decode(self._logs[lib.KTSTR_MSG_SCHED_PRINTK]) or None,
            workers=self._workers.reports(),
            vcpus=tuple(self._vcpus[n] for n in sorted(self._vcpus)),
        )

    def _hello(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_hello", payload)
        if msg.version != lib.KTSTR_PROTO_VERSION:
            raise Bad(f"Hello of protocol version {msg.version}, expected {lib.KTSTR_PROTO_VERSION},")
        if self._base.kernel_release is not None:
            raise Bad("second Hello message")
        release = bytes(ffi.buffer(msg.kernel_release)).split(b"\0", 1)[0]
        self._base = replace(self._base, kernel_release=parts.decode(release))

    def _begin(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_begin", payload)
        if self._base.begin_tsc is not None:
            raise Bad("second Begin message")
        self._base = replace(self._base, begin_tsc=msg.tsc)

    def _cpu(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_cpu", payload)
        cpu = parts.cpu_number(msg.cpu)
        if cpu in self._cpus:
            raise Bad(f"second Cpu message for CPU {cpu}")
        self._cpus[cpu] = GuestCpu(cpu, msg.node, msg.package, parts.mask_cpus(msg.llc), parts.mask_cpus(msg.smt))

    def _cpu_lists(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_cpu_lists", payload)
        lists = parts.mask_cpus(msg.possible) or None, parts.mask_cpus(msg.present) or None
        self._base = replace(self._base, possible_cpus=lists[0], present_cpus=lists[1])

    def _node(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_node", payload)
        if msg.node >= lib.KTSTR_MAX_NODES or msg.node in self._nodes:
            raise Bad(f"Node message for node {msg.node}")
        initiators = tuple(node for node in range(lib.KTSTR_MAX_NODES) if msg.initiators >> node & 1)
        self._nodes[msg.node] = GuestNode(msg.node, msg.memory_kib, initiators)

    def _distance_row(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_distances", payload)
        if msg.node >= lib.KTSTR_MAX_NODES or msg.count > lib.KTSTR_MAX_NODES or msg.node in self._distances:
            raise Bad(f"Distances message for node {msg.node} with {msg.count} entries")
        self._distances[msg.node] = tuple(msg.distance[0 : msg.count])

    def _event(self, payload: bytes) -> None:
        msg, text = parts.struct_and_text("struct ktstr_msg_sched_event", payload)
        if msg.kind not in SCHED_EVENTS:
            raise Bad(f"scheduler event of unknown kind {msg.kind}")
        parts.room("scheduler events", self._events, lib.KTSTR_MAX_SCHED_EVENTS)
        self._events.append(SchedEvent(msg.at_ns, cast(SchedEventKind, SCHED_EVENTS[msg.kind]), msg.code, text))

    def _refusal(self, payload: bytes) -> None:
        refusal = loader_messages.refusal(payload)
        if self._base.refusal is not None:
            raise Bad("second SchedRefusal message")
        self._base = replace(self._base, refusal=refusal)

    def _vcpu(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_vcpu", payload)
        cpu = parts.cpu_number(msg.cpu)
        if cpu in self._vcpus:
            raise Bad(f"second Vcpu message for CPU {cpu}")
        self._vcpus[cpu] = VcpuReport(cpu, msg.run_ns, msg.run_delay_ns, msg.timeslices)

    def _end(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_end", payload)
        if msg.status > lib.KTSTR_END_DEADLINE:
            raise Bad(f"End message with unknown status {msg.status}")
        hit = msg.status == lib.KTSTR_END_DEADLINE
        due = self._workers.unfinished()
        if due is not None and not hit:  # the deadline guard ends for an agent that hangs, wherever that was
            raise Bad(f"End message before all that worker {due} announced")
        self._base = replace(self._base, ended=True, deadline_hit=hit, end_ns=msg.at_ns)

    def _ready(self, payload: bytes) -> None:
        if payload:
            raise Bad(f"Ready message with {len(payload)} bytes of payload")
        if not self._may_wait or self._base.kernel_release is None:
            raise Bad("Ready message where no agent waits for its program")

    def _unparked(self, payload: bytes) -> None:
        parts.text(payload)
        if not self._may_wait:
            raise Bad("Unparked message where no agent is to be parked")
