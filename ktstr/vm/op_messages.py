"""What the agent said of its ops, out of their messages: steps, errors, checkpoints, files, payloads, delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from msgspec.structs import replace

from ktstr.record.guest import (
    Checkpoint,
    DrawnDelay,
    FileRead,
    GuestRecord,
    OpError,
    PayloadEvent,
    PayloadEventKind,
    PayloadLog,
    Progress,
    Stimulus,
    Stream,
)
from ktstr.vm import parts
from ktstr.vm.parts import Bad
from ktstr.vm.protocol import OP_NAMES, PAYLOAD_EVENTS, STREAMS, lib


class OpMessages:
    """Payloads in, in order; what they said so far out at any time."""

    def __init__(self) -> None:
        self._stimuli: list[Stimulus] = []
        self._errors: list[str] = []
        self._op_errors: list[OpError] = []
        self._checkpoints: list[Checkpoint] = []
        self._progress: list[Progress] = []  # of the last checkpoint
        self._progress_total = 0
        self._reads: list[FileRead] = []
        self._events: list[PayloadEvent] = []
        self._logs: dict[tuple[int, int], bytearray] = {}
        self._delays: tuple[DrawnDelay, ...] = ()
        self._delays_drawn: int | None = None
        self.readers: dict[int, Callable[[bytes], None]] = {
            lib.KTSTR_MSG_STIMULUS: self._stimulus,
            lib.KTSTR_MSG_ERROR: self._error,
            lib.KTSTR_MSG_CHECKPOINT: self._checkpoint,
            lib.KTSTR_MSG_READ: self._read,
            lib.KTSTR_MSG_PAYLOAD_EVENT: self._payload_event,
            lib.KTSTR_MSG_PAYLOAD_LOG: self._payload_log,
            lib.KTSTR_MSG_DELAYS: self._drawn,
        }

    def add_to(self, record: GuestRecord) -> GuestRecord:
        """The record with what was said here; None for what nothing was said of."""
        self._finish_checkpoint()
        logs = (
            PayloadLog(number, parts.decode(self._logs[number, stream]), cast(Stream, STREAMS[stream]))
            for number, stream in sorted(self._logs)
        )
        return replace(
            record,
            stimuli=tuple(self._stimuli),
            errors=tuple(self._errors),
            op_errors=tuple(self._op_errors) or None,
            checkpoints=tuple(self._checkpoints) or None,
            reads=tuple(self._reads) or None,
            payload_events=tuple(self._events) or None,
            payload_logs=tuple(logs) or None,
            delays=self._delays or None,
            delays_drawn=self._delays_drawn,
        )

    def _stimulus(self, payload: bytes) -> None:
        msg, detail = parts.struct_and_text("struct ktstr_msg_stimulus", payload)
        if msg.kind not in OP_NAMES:
            raise Bad(f"stimulus of unknown op {msg.kind}")
        place, scope = parts.op_place(msg.op), parts.below("scope", msg.scope, lib.KTSTR_MAX_OPS + 1)
        parts.room("stimuli", self._stimuli, lib.KTSTR_MAX_STIMULI)
        self._stimuli.append(
            Stimulus(msg.at_ns, OP_NAMES[msg.kind], detail, msg.total_iterations, place, scope, msg.iteration)
        )

    def _error(self, payload: bytes) -> None:
        msg, text = parts.struct_and_text("struct ktstr_msg_error", payload)
        parts.below("flag of an error", msg.recorded, 2)
        place = -1 if msg.op == -1 else parts.op_place(msg.op)
        if not msg.recorded:
            parts.room("errors", self._errors, lib.KTSTR_MAX_ERRORS)
            self._errors.append(text)
            return
        if place < 0:
            raise Bad("recorded error of no op")
        parts.room("errors of ops", self._op_errors, lib.KTSTR_MAX_ERRORS)
        self._op_errors.append(OpError(place, text))

    def _checkpoint(self, payload: bytes) -> None:
        msg, items = parts.struct_and_array("struct ktstr_msg_checkpoint", "struct ktstr_progress", payload, least=0)
        self._progress_total += len(items)
        if self._progress_total > lib.KTSTR_MAX_PROGRESS_TOTAL:
            raise Bad(f"more than {lib.KTSTR_MAX_PROGRESS_TOTAL} workers of checkpoints", "flood")
        workers = [_progress(item) for item in items]
        last = self._checkpoints[-1] if self._checkpoints else None
        if last is None or (last.at_ns, last.phase, last.op) != (msg.at_ns, msg.phase, msg.op):
            parts.room("checkpoints", self._checkpoints, lib.KTSTR_MAX_CHECKPOINTS)
            self._finish_checkpoint()
            self._checkpoints.append(Checkpoint(msg.at_ns, msg.phase, parts.op_place(msg.op), ()))
        self._progress += workers

    def _finish_checkpoint(self) -> None:
        """Give the last checkpoint the workers that came for it."""
        if self._progress:
            last = self._checkpoints[-1]
            self._checkpoints[-1] = replace(last, workers=(*last.workers, *self._progress))
            self._progress.clear()

    def _read(self, payload: bytes) -> None:
        msg, rest = parts.struct_and_rest("struct ktstr_msg_read", payload)
        text, place = parts.text(rest), parts.op_place(msg.op)
        if len(rest) > msg.bytes:
            raise Bad(f"{len(rest)} bytes of a file of {msg.bytes}")
        parts.room("files read", self._reads, lib.KTSTR_MAX_READS)
        self._reads.append(FileRead(msg.at_ns, place, msg.bytes, text))

    def _payload_event(self, payload: bytes) -> None:
        msg = parts.struct("struct ktstr_msg_payload_event", payload)
        number = parts.below("payload", msg.payload, lib.KTSTR_MAX_PAYLOADS)
        if msg.kind not in PAYLOAD_EVENTS:
            raise Bad(f"payload event of unknown kind {msg.kind}")
        parts.room("payload events", self._events, lib.KTSTR_MAX_PAYLOAD_EVENTS)
        kind = cast(PayloadEventKind, PAYLOAD_EVENTS[msg.kind])
        self._events.append(PayloadEvent(msg.at_ns, number, kind, msg.code))

    def _payload_log(self, payload: bytes) -> None:
        msg, data = parts.struct_and_rest("struct ktstr_msg_payload_log", payload)
        number = parts.below("payload", msg.payload, lib.KTSTR_MAX_PAYLOADS)
        if msg.stream not in STREAMS:
            raise Bad(f"what payload {number} wrote to unknown stream {msg.stream}")
        parts.extend_log(self._logs.setdefault((number, msg.stream), bytearray()), data)

    def _drawn(self, payload: bytes) -> None:
        msg, items = parts.struct_and_array("struct ktstr_msg_delays", "struct ktstr_delay", payload)
        if self._delays_drawn is not None:
            raise Bad("second Delays message")
        if msg.count > lib.KTSTR_MAX_DELAYS or msg.seen < msg.count:
            raise Bad(f"{msg.count} delays of {msg.seen} that were drawn, expected at most {lib.KTSTR_MAX_DELAYS},")
        self._delays = tuple(DrawnDelay(parts.op_place(item.op), item.ns) for item in items)
        self._delays_drawn = msg.seen


def _progress(item: Any) -> Progress:
    return Progress(
        worker=parts.below("worker", item.worker, lib.KTSTR_MAX_WORKERS),
        spawn=item.spawn,
        iterations=item.iterations,
        work_units=item.work_units,
        cpu_time_ns=item.cpu_time_ns,
        migrations=item.migrations,
        wakes=item.wakes,
        max_gap_ns=item.max_gap_ns,
    )
