"""After a run: what failed=1 remembers, and the command that repeats a cell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ktstr.commands.test import reproduce
from ktstr.config.model import CellKey
from ktstr.files import SIDECAR_CAP
from ktstr.options import Building, GraphOptions, Running, Select, TestOptions
from ktstr.results.last import last_verdicts, remember_verdicts


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, b'{"a": 1}', b'{"a": "pass", "a": "fail"}'),
        b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_damaged_memory_counts_as_no_memory_and_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.json").write_bytes(content)
    assert last_verdicts(tmp_path) == {}
    remember_verdicts(tmp_path, {"b": "fail"})
    assert last_verdicts(tmp_path) == {"b": "fail"}


def test_memory_that_is_too_large_counts_as_none(tmp_path: Path) -> None:
    with (tmp_path / "last.json").open("wb") as file:
        file.truncate(SIDECAR_CAP + 1)
    assert last_verdicts(tmp_path) == {}


def test_no_memory_before_the_first_run(tmp_path: Path) -> None:
    assert last_verdicts(tmp_path) == {}


def test_reproduce_pins_every_dimension_and_quotes_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "./my kernel", "s", 7), point=SimpleNamespace(accel="icount"))
    assert reproduce(cell, TestOptions()) == (  # type: ignore[arg-type]
        "doit test test=t preset=p 'kernel=./my kernel' scheduler=s accel=icount seed=7 rerun=1"
    )


def test_reproduce_says_the_command_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_CALLED_AS", "./doit")
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    assert reproduce(cell, TestOptions()).startswith("./doit test test=t ")  # type: ignore[arg-type]


def test_reproduce_says_that_it_was_for_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    options = TestOptions(GraphOptions(running=Running(release=True)))
    assert reproduce(cell, options).endswith("seed=7 release=1 rerun=1")  # type: ignore[arg-type]


def test_reproduce_says_how_the_kernel_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "6.14", "s", 7), point=SimpleNamespace(accel="icount"))
    building = Building(("minimal", "debug"), CC="gcc-12", LLVM="-19")
    command = reproduce(cell, TestOptions(GraphOptions(building=building)))  # type: ignore[arg-type]
    assert command.endswith(" kconfig=minimal,debug CC=gcc-12 LLVM=-19 rerun=1")


def test_reproduce_says_what_swappable_workers_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    options = TestOptions(GraphOptions(select=Select(work_type="Mixed")))
    assert " scheduler=s work_type=Mixed accel=icount " in reproduce(cell, options)  # type: ignore[arg-type]
