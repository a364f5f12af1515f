"""The exit code for git bisect run: only a verdict is good or bad."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.cells.tokens import TokenPool
from ktstr.commands.bisect import ABORT, BAD, GOOD, UNTESTABLE, bisecting, exit_code
from ktstr.config.project import Project
from ktstr.errors import HostError
from ktstr.planning.plan import Plan
from ktstr.progress import Progress
from ktstr.results.view import epoch
from ktstr.tasks.main import main
from ktstr.tasks.session import Outcome, Session


def session(*verdicts: str, planned: int | None = None, failed: str | None = None, signal: int = 0) -> Session:
    """A session after its cells: one outcome per verdict, of ``planned`` cells."""
    here = Path("/nowhere")
    run = Session(
        Project(here, here, here / "runs"), ("test",), {}, {}, Progress(io.StringIO()), TokenPool(1, 1), epoch({})
    )
    for i, verdict in enumerate(verdicts):
        run.record(Outcome(f"cell{i}", verdict, (), True, 1.0))
    cells = [None] * (len(verdicts) if planned is None else planned)
    run.plan = cast(Plan, SimpleNamespace(cells=cells, broken=()))
    if failed:
        run.fail(failed, HostError("no"))
    run.signal = signal
    return run


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (session("pass", "pass"), GOOD),
        (session("pass", "fail"), BAD),
        (session("fail", "error"), BAD),
        (session("pass", "inconclusive"), UNTESTABLE),
        (session("pass", "error"), UNTESTABLE),
        (session(), UNTESTABLE),
        (session("pass", planned=2), UNTESTABLE),
        (session(planned=1, failed="kernel:here"), UNTESTABLE),
        (session(planned=1, failed="scheduler:x@here"), UNTESTABLE),
        (session(planned=1, failed="tools:qemu"), ABORT),
        (session("pass", planned=2, signal=2), 130),
    ],
)
def test_only_a_verdict_is_good_or_bad(run: Any, code: int) -> None:
    assert exit_code(run) == code


def test_it_is_seen_before_anything_is_checked() -> None:
    assert bisecting(["test", "bisect=1"], {})
    assert bisecting(["test"], {"KTSTR_BISECT": "1"})
    assert not bisecting(["test", "bisect=0"], {"KTSTR_BISECT": "1"})
    assert not bisecting(["test"], {})


@pytest.fixture
def signals() -> Iterator[None]:
    """The front end takes signals over for the rest of its process, which here is that of all tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("mistake", ["kernle=6.12", "test=nosuch", "kernel=/nowhere"])
def test_a_mistake_of_the_users_stops_a_bisection_instead_of_marking_a_commit(mistake: str) -> None:
    assert main(["test", mistake, "bisect=1", "dry_run=1"]) == ABORT
