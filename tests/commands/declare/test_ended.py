"""After a run: the command that repeats a cell."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ktstr.commands.declare.ended import reproduce
from ktstr.config.model import CellKey
from ktstr.options import Building, GraphOptions, Running, Select


def test_reproduce_pins_every_dimension_and_quotes_for_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "./my kernel", "s", 7), point=SimpleNamespace(accel="icount"))
    assert reproduce(cell, GraphOptions()) == (  # type: ignore[arg-type]
        "doit test test=t preset=p 'kernel=./my kernel' scheduler=s accel=icount seed=7 rerun=1"
    )


def test_reproduce_says_the_command_that_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_CALLED_AS", "./doit")
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    assert reproduce(cell, GraphOptions()).startswith("./doit test test=t ")  # type: ignore[arg-type]


def test_reproduce_says_that_it_was_for_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    options = GraphOptions(running=Running(release=True))
    assert reproduce(cell, options).endswith("seed=7 release=1 rerun=1")  # type: ignore[arg-type]


def test_reproduce_says_how_the_kernel_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "6.14", "s", 7), point=SimpleNamespace(accel="icount"))
    building = Building(("minimal", "debug"), CC="gcc-12", LLVM="-19")
    command = reproduce(cell, GraphOptions(building=building))  # type: ignore[arg-type]
    assert command.endswith(" kconfig=minimal,debug CC=gcc-12 LLVM=-19 rerun=1")


def test_reproduce_says_what_swappable_workers_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KTSTR_CALLED_AS", raising=False)
    cell = SimpleNamespace(key=CellKey("t", "p", "k", "s", 7), point=SimpleNamespace(accel="icount"))
    options = GraphOptions(select=Select(work_type="Mixed"))
    assert " scheduler=s work_type=Mixed accel=icount " in reproduce(cell, options)  # type: ignore[arg-type]
