"""The front end's own decisions: arguments, exit codes, errors without tracebacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ktstr.cells.tokens import TokenPool
from ktstr.config.project import Project
from ktstr.errors import HostError, InputError
from ktstr.progress import Progress
from ktstr.results.view import Epoch
from ktstr.tasks.main import exit_code, main, split_arguments
from ktstr.tasks.session import Outcome, Session

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("pandas", "drgn", "scipy", "rich", "requests", "pygit2", "jsonschema")


def session(**fields: object) -> Session:
    made = Session(
        Project(ROOT, ROOT, ROOT / "target"),
        ("test",),
        {},
        {},
        Progress(sys.stderr),
        TokenPool(1, 1),
        Epoch("t", 0),
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def outcome(code: int) -> dict[str, Outcome]:
    return {"x": Outcome("x", "fail", (), True, 1.0, exit_code=code)}


def test_words_and_variables_are_told_apart() -> None:
    assert split_arguments(["test", "kernel=a=b", "kernel=c"]) == (["test"], {"kernel": ["a=b", "c"]})


def test_an_option_is_refused() -> None:
    with pytest.raises(InputError, match="expected name=value"):
        split_arguments(["test", "--kernel"])


@pytest.mark.parametrize(
    ("codes", "failures", "expected"),
    [
        ([], {}, 0),
        ([1], {}, 1),
        ([1, 3], {}, 3),
        ([1], {"kernel:x": HostError("gone")}, 3),
        ([1, 3], {"agent": InputError("bad")}, 2),
    ],
)
def test_worst_code_wins_2_before_3_before_1(codes: list[int], failures: dict[str, object], expected: int) -> None:
    assert exit_code(session(exit_codes=codes, failures=failures)) == expected


def test_a_cells_own_code_counts() -> None:
    assert exit_code(session(outcomes=outcome(3))) == 3


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_interruption_wins_over_everything(number: int, code: int) -> None:
    assert exit_code(session(signal=number, exit_codes=[2])) == code


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
