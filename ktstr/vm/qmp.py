"""Asking a running QEMU: its machine protocol (docs/interop/qmp-spec.rst of QEMU) on a socket that it inherits.

Nothing is sent before the first question, and QEMU sends no event before it was greeted: a guest that is asked
nothing runs as one without this socket. An emulator that was taken over by its guest can lie, and no more: answers
are bounded in length and time.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from ktstr.errors import HostError, InputError
from ktstr.files import parse_json
from ktstr.vm.descriptors import above_standard

ANSWER_S = 30.0  # a virtual machine of many vCPUs on a busy host takes seconds
LINE_CAP = 8 << 20  # bytes of one answer; the registers of 512 vCPUs are 2 MiB
_CHUNK = 64 << 10


class QmpError(HostError):
    """The emulator refused, did not answer, or is gone."""


class ShuttingDown(QmpError):
    """The emulator is about to exit, and may wait for ever over the question that it was asked meanwhile: see
    ``Process.nudge``."""


class Qmp:
    """The conversation with one emulator, from any thread, one question at a time. Takes ``connection`` over."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()
        self._pending = bytearray()
        self._asked = 0  # questions so far; an answer names the one that it is to
        self._greeted = False

    def execute(self, command: str, **arguments: object) -> Any:
        """What the emulator returns to a command. Raises QmpError, ShuttingDown when the guest turned itself off."""
        with self._lock:
            deadline = time.monotonic() + ANSWER_S
            try:
                self._greet(deadline)
                return self._ask(command, arguments, deadline)
            except TimeoutError:
                raise QmpError(f"the emulator did not answer {command} within {ANSWER_S:g} s") from None
            except OSError as err:
                raise QmpError(f"the emulator is gone: {err.strerror or err}") from err

    def tell(self, command: str) -> None:
        """Have a command done, and do not wait for what comes of it. Raises as ``execute``."""
        with self._lock:
            try:
                self._greet(time.monotonic() + ANSWER_S)
                self._send(command, {})
            except OSError as err:
                raise QmpError(f"the emulator is gone: {err.strerror or err}") from err

    def await_event(self, name: str) -> None:
        """Block until the emulator tells this event, however long that takes; other events are passed over.

        Raises QmpError when the emulator is gone, ShuttingDown when the guest turned itself off.
        """
        with self._lock:
            self._socket.settimeout(None)
            try:
                while (event := _object(self._line(None)).get("event")) != name:
                    if event == "SHUTDOWN":
                        raise ShuttingDown(f"the emulator told no {name}: its guest has ended")
            except OSError as err:
                raise QmpError(f"the emulator is gone: {err.strerror or err}") from err

    def human(self, command_line: str) -> str:
        """What QEMU's monitor for people prints. Raises QmpError."""
        text = self.execute("human-monitor-command", **{"command-line": command_line})
        if not isinstance(text, str):
            raise QmpError(f"the emulator answered {command_line} with no text")
        return text

    def close(self) -> None:
        """Twice is once. A question that is asked meanwhile ends."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._socket.close()

    def _greet(self, deadline: float) -> None:
        if not self._greeted:
            self._line(deadline)
            self._ask("qmp_capabilities", {}, deadline)
            self._greeted = True

    def _send(self, command: str, arguments: dict[str, object]) -> None:
        self._asked += 1
        question = {"execute": command, "arguments": arguments, "id": self._asked}
        self._socket.sendall(json.dumps(question).encode() + b"\n")

    def _ask(self, command: str, arguments: dict[str, object], deadline: float) -> Any:
        self._before(deadline)
        self._send(command, arguments)
        while True:
            answer = _object(self._line(deadline))
            if answer.get("event") == "SHUTDOWN":
                raise ShuttingDown(f"the emulator does not answer {command}: its guest has ended")
            if type(answer.get("id")) is not int or answer["id"] != self._asked:
                continue  # an event, or what a question that was given up is answered after all
            if "return" in answer:
                return answer["return"]
            error = answer.get("error")
            text = error.get("desc") if isinstance(error, dict) else None
            reason = text[:300] if isinstance(text, str) else "it gave no reason"
            raise QmpError(f"the emulator refused {command}: {reason}")

    def _line(self, deadline: float | None) -> bytes:
        while (end := self._pending.find(b"\n")) < 0 and len(self._pending) <= LINE_CAP:
            if deadline is not None:
                self._before(deadline)
            data = self._socket.recv(_CHUNK)
            if not data:
                raise QmpError("the emulator is gone")
            self._pending += data
        if not 0 <= end <= LINE_CAP:
            raise QmpError(f"the emulator answered with more than {LINE_CAP >> 20} MiB")
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line

    def _before(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _object(line: bytes) -> dict[str, Any]:
    try:
        answer = parse_json(line, "its answer", LINE_CAP)
    except InputError as err:
        raise QmpError(f"the emulator answered with what is no JSON: {err.message}") from None
    if not isinstance(answer, dict):
        raise QmpError("the emulator answered with what is no object")
    return answer


def connection() -> tuple[socket.socket, socket.socket]:
    """Our end, and the emulator's, which it inherits; both closed by exec elsewhere. Raises OSError."""
    ours, theirs = socket.socketpair()
    return ours, socket.socket(fileno=above_standard(theirs.detach()))
