"""The conversation with an emulator that may say anything; the real one is asked in test_qemu_guest.py."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ktstr.vm import qmp as module
from ktstr.vm.qmp import Qmp, QmpError, ShuttingDown, connection

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
Answer = Callable[[dict[str, object]], bytes]


def reply(value: object) -> Answer:
    return lambda question: json.dumps({"return": value, "id": question["id"]}).encode() + b"\r\n"


def plain(data: bytes) -> Answer:
    return lambda _: data


@contextmanager
def speaking(*answers: Answer, greeting: bytes = GREETING) -> Iterator[tuple[Qmp, list[dict[str, object]]]]:
    """An emulator that answers so and then hangs up; and what it was asked."""
    ours, theirs = connection()
    asked: list[dict[str, object]] = []

    def speak() -> None:
        with suppress(BrokenPipeError), theirs, theirs.makefile("rb") as lines:
            theirs.sendall(greeting)
            for answer in (reply({}), *answers):
                line = lines.readline()
                if not line:
                    return
                asked.append(json.loads(line))
                theirs.sendall(answer(asked[-1]))

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    qmp = Qmp(ours)
    try:
        yield qmp, asked
    finally:
        qmp.close()
        thread.join(10)


def test_nothing_is_said_before_the_first_question() -> None:
    ours, theirs = connection()
    with theirs:
        qmp = Qmp(ours)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        qmp.close()


def test_capabilities_are_agreed_on_once() -> None:
    with speaking(reply(1), reply("two")) as (qmp, asked):
        assert qmp.execute("one") == 1
        assert qmp.human("info two") == "two"
    assert [question["execute"] for question in asked] == ["qmp_capabilities", "one", "human-monitor-command"]
    assert asked[2]["arguments"] == {"command-line": "info two"}


def test_events_and_late_answers_are_passed_over() -> None:
    def after_others(question: dict[str, object]) -> bytes:
        late = b'{"return": "late", "id": 1}\n{"return": "whose?"}\n'
        return b'{"event": "RESET", "data": {}}\n' + late + reply("mine")(question)

    with speaking(after_others) as (qmp, _):
        assert qmp.execute("x") == "mine"


def test_an_emulator_that_shuts_down_is_not_waited_for() -> None:
    """It answers no more, and does not hang up before it was nudged."""
    over = threading.Event()

    def shut_down(_: dict[str, object]) -> bytes:
        return b'{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}\n'

    def hang(_: dict[str, object]) -> bytes:
        over.wait(20)
        return b""

    with speaking(shut_down, hang) as (qmp, _):
        began = time.monotonic()
        with pytest.raises(ShuttingDown):
            qmp.execute("x")
        assert time.monotonic() - began < 10
        over.set()


def test_a_refusal_is_quoted_and_the_next_question_answered() -> None:
    def refuse(question: dict[str, object]) -> bytes:
        return (
            json.dumps({"error": {"class": "GenericError", "desc": "no such thing"}, "id": question["id"]}).encode()
            + b"\n"
        )

    with speaking(refuse, reply(2)) as (qmp, _):
        with pytest.raises(QmpError, match="refused x: no such thing"):
            qmp.execute("x")
        assert qmp.execute("y") == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"no JSON\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b'{"return": 1, "return": 2, "id": 2}\n', "the key 'return' twice"),
        (b'{"return": NaN, "id": 2}\n', "NaN"),
        (b'{"id": 2, "error": {"desc": ' + b"[" * 900 + b"]" * 900 + b"}}\n", "nested too deeply"),
        (b'{"id": 2, "error": {"desc": [1]}}\n', "refused x: it gave no reason"),
        (b'{"id": 2, "error": "no"}\n', "refused x: it gave no reason"),
        (b'{"id": 2}\n', "refused x: it gave no reason"),
        (b"7\n", "no object"),
        (b"", "is gone"),
    ],
)
def test_what_is_no_answer_is_an_error(answer: bytes, says: str) -> None:
    with speaking(plain(answer)) as (qmp, _), pytest.raises(QmpError, match=says):
        qmp.execute("x")


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_CAP", 1 << 16)
    with speaking(plain(b"x" * (1 << 18))) as (qmp, _), pytest.raises(QmpError, match="more than"):
        qmp.execute("x")


def test_a_line_of_more_than_the_cap_is_refused_though_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_CAP", 1000)
    with speaking(plain(b" " * 1000 + b"7\n")) as (qmp, _), pytest.raises(QmpError, match="more than"):
        qmp.execute("x")


def test_an_answer_to_what_is_no_number_of_a_question_is_passed_over() -> None:
    def first_another(question: dict[str, object]) -> bytes:
        return b'{"return": "other", "id": 2.0}\n' + reply("mine")(question)

    with speaking(first_another) as (qmp, _):
        assert qmp.execute("x") == "mine"


def test_endless_events_end_with_the_time_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.5)
    ours, theirs = connection()
    over = threading.Event()

    def babble() -> None:
        theirs.settimeout(1)
        with suppress(OSError):
            while not over.is_set():
                theirs.sendall(b'{"event": "X"}\n')

    thread = threading.Thread(target=babble)
    thread.start()
    qmp = Qmp(ours)
    with pytest.raises(QmpError, match=r"did not answer x within 0\.5 s"):
        qmp.execute("x")
    over.set()
    qmp.close()
    thread.join()
    theirs.close()


def test_an_emulator_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    ours, theirs = connection()
    with theirs, pytest.raises(QmpError, match="did not answer"):
        Qmp(ours).execute("x")


def test_closing_ends_a_question_that_waits() -> None:
    ours, theirs = connection()
    with theirs:
        qmp = Qmp(ours)
        threading.Timer(0.2, qmp.close).start()
        with pytest.raises(QmpError, match="is gone"):
            qmp.execute("x")
        qmp.close()


def telling(*lines: bytes) -> tuple[Qmp, socket.socket]:
    """An emulator that was greeted, answers one question and says these lines."""
    ours, theirs = connection()
    theirs.sendall(GREETING + b'{"return": {}, "id": 1}\n{"return": {}, "id": 2}\n' + b"".join(lines))
    qmp = Qmp(ours)
    qmp.execute("cont")
    return qmp, theirs


class TestAwaitEvent:
    def test_it_is_told_though_it_came_with_the_answer_before(self) -> None:
        qmp, theirs = telling(b'{"event": "RESUME"}\n{"event": "WATCHDOG"}\n{"event": "STOP"}\n{"event": "X"}\n')
        with theirs:
            qmp.await_event("STOP")
            qmp.await_event("X")
            qmp.close()

    def test_it_may_take_longer_than_any_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        qmp, theirs = telling()
        monkeypatch.setattr(module, "ANSWER_S", 0.1)
        with theirs:
            threading.Timer(0.5, theirs.sendall, [b'{"event": "STOP"}\n']).start()
            began = time.monotonic()
            qmp.await_event("STOP")
            assert time.monotonic() - began > 0.4
            theirs.sendall(b'{"return": 7, "id": 3}\n')
            monkeypatch.setattr(module, "ANSWER_S", 30.0)
            assert qmp.execute("query-status") == 7  # and the next answer has its limit again
            qmp.close()

    def test_a_guest_that_turns_itself_off_is_not_waited_for(self) -> None:
        qmp, theirs = telling(b'{"event": "SHUTDOWN"}\n')
        with theirs, pytest.raises(ShuttingDown, match="told no STOP"):
            qmp.await_event("STOP")
        qmp.close()

    @pytest.mark.parametrize(("line", "says"), [(b"no JSON\n", "no JSON"), (b"[]\n", "no object"), (b"", "is gone")])
    def test_what_is_no_event_is_an_error(self, line: bytes, says: str) -> None:
        qmp, theirs = telling(line)
        theirs.shutdown(socket.SHUT_WR)
        with theirs, pytest.raises(QmpError, match=says):
            qmp.await_event("STOP")
        qmp.close()

    def test_a_line_without_an_end_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "LINE_CAP", 1 << 12)
        qmp, theirs = telling(b"x" * (1 << 14))
        with theirs, pytest.raises(QmpError, match="more than"):
            qmp.await_event("STOP")
        qmp.close()

    def test_closing_ends_it(self) -> None:
        qmp, theirs = telling()
        with theirs:
            closer = threading.Timer(0.2, qmp.close)
            closer.start()
            with pytest.raises(QmpError, match="is gone"):
                qmp.await_event("STOP")
            closer.join(10)
            assert not closer.is_alive()


def test_text_is_text() -> None:
    with speaking(reply([1])) as (qmp, _), pytest.raises(QmpError, match="no text"):
        qmp.human("info x")


def test_neither_end_is_inherited_by_others() -> None:
    for end in connection():
        assert isinstance(end, socket.socket)
        assert not end.get_inheritable()
        assert end.fileno() > 2
        end.close()
