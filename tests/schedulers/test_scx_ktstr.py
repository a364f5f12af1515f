"""The loader's own manners, on this host. What the scheduler does is tested in guests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.schedulers.build import SchedulerBinary

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
OPTIONS = re.findall(r'\{ "(--[a-z-]+)"', (ROOT / "schedulers/scx_ktstr/options.h").read_text(encoding="utf-8"))


def _run(path: Path, *args: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=20, check=False, user=user)


def test_help_names_every_option_on_standard_output(scx_ktstr: SchedulerBinary) -> None:
    done = _run(scx_ktstr.path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in OPTIONS:
        assert f"  {option}" in done.stdout


def test_readme_tells_of_every_option() -> None:
    told = (ROOT / "schedulers/scx_ktstr/README.md").read_text(encoding="utf-8")
    assert [option for option in OPTIONS if f"`{option}" not in told and option != "--help"] == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--nosuch"], "nosuch"),
        (["--stall-after"], "requires an argument"),
        (["word"], "unexpected argument 'word'"),
        (["--stall-after", "1", "word"], "unexpected argument 'word'"),
        (["--stall-after", "-1"], "--stall-after: found '-1', expected a whole number from 0 to 1000000000"),
        (["--stall-after=1.5"], "--stall-after: found '1.5'"),
        (["--stall-after="], "--stall-after: found ''"),
        (["--stall-after", " 1"], "--stall-after: found ' 1'"),
        (["--stall-after", "99999999999999999999"], "found '99999999999999999999'"),
        (["--timeout-ms", "0"], "--timeout-ms: found '0', expected a whole number from 1 to 30000"),
        (["--timeout-ms", "30001"], "found '30001'"),
        (["--slice-us", "999"], "--slice-us: found '999', expected a whole number from 1000 to 40000"),
        (["--slice-us", "40001"], "found '40001'"),
        (["--starve", ""], "--starve: found '', expected a cgroup's own name"),
        (["--starve", "a/b"], "--starve: found 'a/b'"),
        (["--ignore-cpuset", "x" * 64], "expected a cgroup's own name, at most 63 bytes"),
        (["--flood-local=1"], "doesn't allow an argument"),
        (["--verify-loop", "1000001"], "found '1000001'"),
    ],
)
def test_wrong_arguments_are_a_usage_error(scx_ktstr: SchedulerBinary, args: list[str], says: str) -> None:
    done = _run(scx_ktstr.path, *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


@pytest.fixture
def open_copy(scx_ktstr: SchedulerBinary) -> Iterator[Path]:
    """The loader where any user may execute it, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(shutil.copy(scx_ktstr.path, folder))


@pytest.mark.parametrize("args", [[], ["--stall-after", "0", "--timeout-ms=30000"]])
def test_where_it_cannot_load_it_says_why_and_exits_1(open_copy: Path, args: list[str]) -> None:
    # Never as root: on a kernel with sched_ext that would replace this host's scheduler.
    done = _run(open_copy, *args, user=NOBODY if os.getuid() == 0 else None)
    assert done.returncode == 1
    if Path("/sys/kernel/sched_ext").exists():
        assert "scx_ktstr: cannot load: " in done.stderr
    else:
        assert "scx_ktstr: this kernel has no sched_ext: /sys/kernel/sched_ext is missing" in done.stderr
