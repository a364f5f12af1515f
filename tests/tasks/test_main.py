"""The front end's own decisions: arguments, exit codes, errors without tracebacks."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.results.ledger import ABORT
from ktstr.tasks.main import Arguments, bisecting, main, split_arguments

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("pandas", "drgn", "scipy", "rich", "requests", "pygit2", "jsonschema", "doit", "yaml", "msgspec")


def test_words_and_variables_are_told_apart() -> None:
    assert split_arguments(["test", "kernel=a=b", "kernel=c"]) == Arguments(("test",), {"kernel": ["a=b", "c"]})


def test_an_option_is_refused() -> None:
    with pytest.raises(InputError, match="expected name=value"):
        split_arguments(["test", "--kernel"])


def test_errors_are_one_message_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["test"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "ktstr init" in said.err
    assert "Traceback" not in said.err


def test_variables_without_a_task_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel=6.12"]) == 2
    assert "doit test kernel=6.12" in capsys.readouterr().err


def test_list_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ktstr.tasks.main import main; main(['list']);"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("HEAVY []")


def test_a_bisection_is_seen_before_anything_is_checked() -> None:
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
