"""``./doit`` setting a checkout up for real: from the network, several at once, interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bootstrap.checkout import copy_checkout

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]
WAIT_S = 300


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_checkout((tmp_path / "src").resolve())


def _start(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["./doit", "--version"],
        cwd=checkout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WAIT_S)
    return process.returncode, out, err


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _half_made(checkout: Path) -> bool:
    return any(checkout.glob(".venv.tmp.*/lib/python3*/site-packages/yaml"))


def _venvs(checkout: Path) -> list[str]:
    return sorted(path.name for path in checkout.glob(".venv*") if path.is_dir())


def test_three_at_once_all_end_right_and_set_up_once(checkout: Path) -> None:
    ended = [_finish(process) for process in [_start(checkout) for _ in range(3)]]
    assert [(code, out[:6]) for code, out, _ in ended] == [(0, "ktstr ")] * 3
    assert "".join(err for _, _, err in ended).count("installing Python packages") == 1
    assert _venvs(checkout) == [".venv"]


def test_its_programs_work_and_a_moved_checkout_is_set_up_again(checkout: Path) -> None:
    assert _finish(_start(checkout))[0] == 0
    version = subprocess.run([checkout / ".venv/bin/doit", "--version"], capture_output=True, text=True, check=False)
    assert version.returncode == 0, version.stderr
    moved = checkout.rename(checkout.with_name("moved"))
    code, _, err = _finish(_start(moved))
    assert (code, err.count("installing Python packages")) == (0, 1)
    assert str(moved) in (moved / ".venv/bin/ktstr").read_text().splitlines()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_cleans_up_and_says_so(checkout: Path, number: signal.Signals) -> None:
    process = _start(checkout)
    _until(lambda: _half_made(checkout))
    os.killpg(process.pid, number)
    code, out, err = _finish(process)
    assert (code, out) == (128 + number, "")
    assert "fix:" not in err
    assert _venvs(checkout) == []


@pytest.mark.parametrize("all_of_it", [True, False])
def test_after_a_killed_set_up_the_next_run_succeeds(checkout: Path, all_of_it: bool) -> None:
    process = _start(checkout)
    _until(lambda: _half_made(checkout))
    if all_of_it:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()  # the installer it started lives on
    process.wait()
    assert len(_venvs(checkout)) == 1
    assert _finish(_start(checkout))[:2] == (0, "ktstr 0.1.0\n")
    assert _venvs(checkout) == [".venv"]


def test_a_changed_pyproject_needs_no_network(checkout: Path) -> None:
    assert _finish(_start(checkout))[0] == 0
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("\n# edited\n")
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "./doit", "--version"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stdout) == (0, "ktstr 0.1.0\n"), done.stderr
