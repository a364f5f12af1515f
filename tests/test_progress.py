"""Progress on a real terminal: a bar, or plain lines for whoever asks for them."""

from __future__ import annotations

import itertools
import os
import re
import select
from collections.abc import Iterator
from typing import TextIO

import pytest

from ktstr.progress import CellEnd, Progress


class Terminal:
    """A pseudo-terminal: what is written to ``stream`` can be read at its other end."""

    def __init__(self) -> None:
        self._reader, writer = os.openpty()
        self.stream: TextIO = os.fdopen(writer, "w", encoding="utf-8")

    def shown(self) -> str:
        """All that was written so far; the terminal may hand it over in parts."""
        parts = []
        while select.select([self._reader], [], [], 0.5)[0]:
            parts.append(os.read(self._reader, 65536))
        return b"".join(parts).decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._reader)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def _run_two(stream: TextIO) -> None:
    progress = Progress(stream)
    progress.expect(3)
    progress.cell_started("a")
    progress.cell_started("b")
    progress.cell_ended(CellEnd("a", "pass", False, True, 1.25))
    progress.cell_ended(CellEnd("b", "error", True, False, None))


def test_a_terminal_shows_a_bar_that_counts_a_cell_lost_amid_its_run(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    _run_two(terminal.stream)
    bars = re.findall(r"\d+/3 done, \d+ running, \d+ failed", terminal.shown())
    assert [bar for bar, _ in itertools.groupby(bars)] == [
        "0/3 done, 1 running, 0 failed",
        "0/3 done, 2 running, 0 failed",
        "1/3 done, 1 running, 0 failed",
        "2/3 done, 0 running, 1 failed",
    ]


@pytest.mark.parametrize(("term", "no_color"), [("dumb", ""), ("xterm", "1"), (None, "")])
def test_a_terminal_that_wants_none_gets_lines_without_escape_codes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str | None, no_color: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    _run_two(terminal.stream)
    assert terminal.shown().splitlines() == ["[1/3] pass         a in 1.2 s", "[2/3] error        b"]
