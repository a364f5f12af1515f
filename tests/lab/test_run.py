"""Labs are really started here: each takes some seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError
from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.lab.environ import passed_on
from ktstr.lab.run import LabResult, run_in_lab
from ktstr.pins.lock import read_lock

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.e2e


def lab(
    command: Sequence[str],
    here: Path,
    *,
    timeout_s: float = 120,
    cancel: Cancel | None = None,
    sink: Callable[[bytes], None] = lambda _: None,
) -> LabResult:
    """A command in a lab, in the folder ``here``, of which ``here/out`` takes writes."""
    cache = Cache(cache_root(os.environ))
    return run_in_lab(
        command,
        checkout=here,
        cache=cache,
        apt=Apt(cache.apt),
        lock=read_lock(ROOT / "ktstr.lock"),
        environ=passed_on({**os.environ, "KTSTR_WORD": "passed on", "SECRET": "stays out"}),
        timeout_s=timeout_s,
        writable=here / "out",
        sink=sink,
        cancel=cancel,
    )


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


SCRIPT = """
pwd; cat given; echo error > /dev/stderr; echo "$KTSTR_WORD/$SECRET/$KTSTR_LAB"
echo changed > given; echo kept > out/kept
mkdir made
(sleep 1000 &) ; head -c 300000 /dev/zero | tr '\\0' x
kill -TERM $$
"""


def test_a_command_sees_the_host_and_writes_to_the_shared_folder_only(here: Path) -> None:
    (here / "given").write_text("from the host\n")
    streamed: list[bytes] = []
    found = lab(("sh", "-c", SCRIPT), here, sink=streamed.append)
    lines = [str(here), "from the host", "error", "passed on//1"]
    assert found.output == "\n".join([*lines, "x" * 300_000]).encode()
    assert (found.status, found.lost) == (128 + 15, None)
    assert b"".join(streamed) == found.output
    assert (here / "given").read_text() == "from the host\n"
    assert (here / "out/kept").read_text() == "kept\n"
    assert not (here / "made").exists()


@pytest.mark.parametrize(
    ("key", "lost"), [("c", "its own kernel panicked: sysrq triggered crash"), ("b", "its machine was reset")]
)
def test_a_lab_that_goes_down_is_reported_and_tried_again(here: Path, key: str, lost: str) -> None:
    streamed: list[bytes] = []
    script = f"test -e out/again && exit 7; touch out/again; echo {key} > /proc/sysrq-trigger"
    found = lab(("sh", "-c", script), here, sink=streamed.append)
    assert (found.status, found.lost) == (7, lost)
    assert f"lab: {lost}; attempt 1 of 3" in b"".join(streamed).decode()


def test_a_program_that_is_not_there_ends_as_in_a_shell(here: Path) -> None:
    found = lab(("no-such-program",), here)
    assert (found.status, found.output) == (127, b"lab: no-such-program: No such file or directory\n")


def test_a_lab_that_takes_too_long_is_ended(here: Path) -> None:
    with pytest.raises(HostError, match="still running after 1 s"):
        lab(("true",), here, timeout_s=1)


def test_a_cancelled_lab_is_ended(here: Path) -> None:
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        lab(("true",), here, cancel=cancel)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing is no folder"):
        lab(("true",), tmp_path / "missing")


def test_a_lab_in_the_lab_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KTSTR_LAB", "1")
    with pytest.raises(InputError, match="this is the lab already"):
        lab(("true",), here)
