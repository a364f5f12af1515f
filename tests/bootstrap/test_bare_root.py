"""``./doit`` on bare Debian machines: two commands do all the set-up, or exit 3 says what helps."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bootstrap.bare import BareRoot, bare_root, own, packages

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(3600)]
ALL = "python3 python3-venv python3-dev ca-certificates gcc libc6-dev clang-19 make flex bison bc libelf-dev dwarves"
WAIT_S = 600


@pytest.fixture
def root(tmp_path: Path) -> Iterator[BareRoot]:
    """A bare Debian 12, removed afterwards: it is large."""
    yield bare_root(tmp_path / "root", "bookworm")
    shutil.rmtree(tmp_path / "root")


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_root_sets_everything_up(tmp_path: Path, release: str) -> None:
    root = bare_root(tmp_path / "root", release)
    first = root.run("./doit", "--version")
    assert (first.returncode, first.stdout[:6]) == (0, "ktstr "), first.stderr
    assert f"installing distribution packages: {ALL}\n" in first.stderr
    again = root.run("./doit", "--version", network=False)
    assert (again.returncode, again.stderr) == (0, "")
    shutil.rmtree(root.path)


def test_a_plain_user_is_told_exactly_what_to_have_installed(root: BareRoot) -> None:
    own(root, "user")
    done = root.run("./doit", "test", user="user")
    assert (done.returncode, done.stdout) == (3, "")
    fix = "fix: as root: "
    command = done.stderr[done.stderr.index(fix) + len(fix) :].strip()
    assert command == f"apt-get update && apt-get install -y --no-install-recommends {ALL}"
    assert root.run("sh", "-c", command).returncode == 0
    after = root.run("./doit", "--version", user="user")
    assert (after.returncode, after.stdout[:6]) == (0, "ktstr "), after.stderr


def test_without_network_the_command_that_helps_is_named(root: BareRoot) -> None:
    bare = root.run("./doit", "test", network=False)
    assert bare.returncode == 3
    assert f"fix: with the network up, as root: apt-get update && apt-get install -y --no-install-recommends {ALL}" in (
        bare.stderr
    )
    packages(root, "install --no-install-recommends", ALL.split())
    equipped = root.run("./doit", "test", network=False)
    assert equipped.returncode == 3
    assert "fix: with the network up" in equipped.stderr
    assert not list(root.checkout.glob(".venv*/"))
    assert root.run("./doit", "--version").returncode == 0


def test_without_python3_venv_it_is_installed_or_named(root: BareRoot) -> None:
    packages(root, "install --no-install-recommends", [name for name in ALL.split() if name != "python3-venv"])
    own(root, "user")
    named = root.run("./doit", "test", user="user")
    assert named.returncode == 3
    assert named.stderr.rstrip().endswith("apt-get install -y --no-install-recommends python3-venv")
    own(root, "root")
    installed = root.run("./doit", "--version")
    assert (installed.returncode, installed.stdout[:6]) == (0, "ktstr "), installed.stderr


def test_power_cuts_at_every_stage_are_survived(root: BareRoot) -> None:
    stages: tuple[Callable[[], object], ...] = (
        lambda: list((root.path / "var/cache/apt/archives/partial").glob("*.deb")),
        lambda: (root.path / "usr/bin/python3").exists(),
        lambda: list((root.path / "usr/bin").glob("clang-19")),
        lambda: list(root.checkout.glob(".venv.tmp.*/bin/pip")),
        lambda: list(root.checkout.glob(".venv.tmp.*/lib/python3*/site-packages/yaml")),
    )
    for stage in stages:
        running = root.start("./doit", "--version")
        _until(stage)
        running.kill()
        running.wait()
    done = root.run("./doit", "--version")
    assert (done.returncode, done.stdout[:6]) == (0, "ktstr "), done.stderr
    assert [path.name for path in root.checkout.glob(".venv*/")] == [".venv"]
    assert root.run("dpkg", "--audit").stdout == ""


@pytest.mark.e2e
def test_doit_test_boots_kernels_and_judges_two_schedulers(root: BareRoot) -> None:
    done = root.run("./doit", "test", "json=1", timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [cell["name"].split("/") for cell in json.loads(done.stdout)["cells"]]
    schedulers = [name[3] for name in cells]
    assert len(cells) >= 8
    assert len({name[1] for name in cells}) >= 4
    assert 2 * schedulers.count("scx_ktstr") >= len(cells)
    again = root.run("./doit", "test", "json=1", network=False)
    assert again.returncode == 0, again.stderr
    assert not any(cell["ran"] for cell in json.loads(again.stdout)["cells"])


@pytest.mark.e2e
def test_a_kernel_is_built_from_the_distributions_sources_once(root: BareRoot) -> None:
    words = ("./doit", "test", "kernel=debsrc:6.12", "test=cgroup_steady", "preset=tiny-2llc", "json=1")
    done = root.run(*words, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {cell["name"].split("/")[3] for cell in cells} == {"eevdf", "scx_ktstr"}
    assert {cell["verdict"] for cell in cells} == {"pass"}
    again = root.run(*words, network=False)
    assert again.returncode == 0, again.stderr
    assert "kernel:" not in again.stderr and "source:" not in again.stderr
    assert not any(cell["ran"] for cell in json.loads(again.stdout)["cells"])
