"""kill -9 while a kernel is fetched, built and stored, at random moments. Costs 7 short builds and a boot: 20 s.

The slow one builds a real kernel: 10 minutes on two cores.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.host.cache import Cache
from ktstr.kernels.cleaning import choose, perform
from ktstr.kernels.listing import leftovers, read_cache
from tests.e2e.conftest import UserProject
from tests.e2e.kernel_lab import Lab, make_lab
from tests.kernels.repositories import commit_files

pytestmark = pytest.mark.e2e
KILLS = 5
SEED = 20261121


@pytest.fixture
def lab(project: UserProject, tmp_path: Path) -> Lab:
    """A toy tree whose clones can be built too."""
    lab = make_lab(project, tmp_path)
    commit_files(lab.repository, {"vmlinux.tracked": (lab.tree / "vmlinux.path").read_text()})
    return lab


def build(lab: Lab) -> subprocess.Popen[str]:
    """The whole way of a new commit: clone, configure, compile, strip, store."""
    return subprocess.Popen(
        lab.project.command("kernel_build", f"git={lab.tree}", "ref=main", "lock_update=all", "json=1"),
        cwd=lab.project.path,
        env=lab.project.environment(KTSTR_CACHE_DIR=str(lab.cache)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def moments(seconds: float) -> Iterator[float]:
    """Seeded moments over the whole of a build and a bit behind it."""
    chance = random.Random(SEED)
    for _ in range(KILLS):
        yield chance.uniform(0.2, seconds * 1.05)


def check_valid_entries(lab: Lab) -> None:
    """What is listed as valid has exactly the bytes that its metadata says."""
    for row in read_cache(Cache(lab.cache)):
        if row.entry is not None:
            told = row.entry.facts
            for name, file in (("vmlinux", "vmlinux"), ("btf", "vmlinux.btf"), ("config", "config")):
                if told[name] is not None:
                    data = (row.path / file).read_bytes()
                    assert hashlib.sha256(data).hexdigest() == told[name]["sha256"], row.path / file


def check_cleaning(lab: Lab) -> None:
    """``corrupt_only`` names what is damaged or left behind, and nothing that is whole."""
    cache = Cache(lab.cache)
    rows, beside = read_cache(cache), leftovers(cache)
    named = {victim.path for victim in choose(rows, beside, keep=None, corrupt_only=True)}
    whole = {row.path for row in rows if row.entry is not None}
    temporary = {path for kind in ("kernels", "sources", "builds") for path in (lab.cache / kind).glob(".*")}
    assert not named & whole
    assert named == {row.path for row in rows if row.entry is None} | temporary


def test_a_killed_build_leaves_a_cache_whose_valid_entries_are_whole(lab: Lab) -> None:
    began = time.monotonic()
    first = build(lab)
    out, said = first.communicate(timeout=120)
    assert first.returncode == 0, said
    seconds = time.monotonic() - began
    killed = 0
    for number, moment in enumerate(moments(seconds)):
        commit_files(lab.repository, {"kernel/part0.c": f"int part0_{number};\n"})
        run = build(lab)
        try:
            run.wait(moment)
        except subprocess.TimeoutExpired:
            run.kill()
            killed += 1
        run.communicate()
        check_valid_entries(lab)
        check_cleaning(lab)
    assert killed >= KILLS // 2, f"only {killed} of {KILLS} runs were still going when they were killed"

    last = build(lab)
    out, said = last.communicate(timeout=120)
    assert last.returncode == 0, said
    (row,) = json.loads(out)["built"]
    done = lab.doit("kernel_clean", "corrupt_only=1", "force=1")
    assert done.returncode == 0, done.stderr
    assert all(row.entry is not None for row in read_cache(Cache(lab.cache)))
    assert not [left for left in leftovers(Cache(lab.cache)) if left.temporary]
    code, report = lab.test(f"kernel={row['key']}")
    assert (code, report["cells"][0]["verdict"]) == (0, "pass")


def test_cleaning_while_a_kernel_is_built_takes_nothing_from_under_it(lab: Lab) -> None:
    cache = Cache(lab.cache)
    run = build(lab)
    deadline = time.monotonic() + 60
    while not list(lab.cache.glob("builds/*/.config")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    cleaned = perform(cache, choose((), leftovers(cache), keep=None, corrupt_only=False))
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert {victim.kind for victim, _ in cleaned.kept} == {"sources", "builds"}
    assert all(f"pid={run.pid}" in who for _, who in cleaned.kept)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(3600)
def test_a_real_kernel_killed_while_fetched_and_while_built_is_finished_by_the_next_run(lab: Lab) -> None:
    chance = random.Random(SEED)
    for begun, delay in ((lab.cache, chance.uniform(2, 30)), (lab.cache / "logs", chance.uniform(20, 120))):
        run = subprocess.Popen(
            lab.project.command("kernel_build", "version=debsrc:6.12"),
            cwd=lab.project.path,
            env=lab.project.environment(KTSTR_CACHE_DIR=str(lab.cache)),
        )
        while not begun.is_dir():
            assert run.poll() is None
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(delay)
        run.kill()
        run.wait()
        check_valid_entries(lab)
        check_cleaning(lab)
    done = lab.doit("kernel_build", "version=debsrc:6.12", "json=1", timeout="3000")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["built"]
    assert lab.doit("kernel_clean", "corrupt_only=1", "force=1").returncode == 0
    check_valid_entries(lab)
    code, report = lab.test(f"kernel={row['key']}")
    assert (code, report["cells"][0]["verdict"]) == (0, "pass")
