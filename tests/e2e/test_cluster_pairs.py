"""Two commits compared over a cluster; and workers whose cache is damaged or full.

One cluster of two hosts with one CPU each, one repository of two commits.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktstr.cluster.manifest import PIECE
from ktstr.host.cache import cache_root
from ktstr.host.leftovers import SENT as SENT_ENTRIES
from tests.cluster.hosts import Bed, assert_same_guests, bed, run
from tests.e2e.askers import HubProject, cells_of, have_probed
from tests.e2e.commits import LONGER, YAML, change, delta, repository
from tests.e2e.conftest import UserProject

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUNS = 4
BOTH = frozenset({"host1", "host2"})
SENT = re.compile(r"worker (host\d): is sent kernels/\S+, ([\d.]+) MB")
ENDED = re.compile(r"^\[\d+/\d+\] (\w+) +(\S+) in .* on (host\d)$", re.MULTILINE)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("bed")
    have_probed(folder, 2)
    cpus = sorted(os.sched_getaffinity(0))
    with bed(folder, cache_root(os.environ), 2) as made:
        for index, host in enumerate(made.hosts):
            host.cpu = cpus[index % len(cpus)]
            made.restart_worker(host)
        yield made


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, lock: str) -> UserProject:
    project = repository(tmp_path_factory.mktemp("here"), YAML, lock)
    change(project, *LONGER)
    return project


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, here: UserProject, hosts: Bed) -> HubProject:
    """The same repository, before anything was run in it."""
    folder = tmp_path_factory.mktemp("there")
    shutil.copytree(here.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("target"))
    return HubProject(folder, hosts.hub.enter)


@pytest.mark.slow
def test_both_sides_of_a_pair_run_on_one_worker_in_turns(here: UserProject, there: HubProject, hosts: Bed) -> None:
    given = (f"noise_adjust={RUNS}", "kernel=default")
    done = there.doit("perf_delta", "base=first", "json=1", *given, f"cluster={hosts.address}")
    assert done.returncode == 1, done.stderr + hosts.logs()
    ended = [(worker, *name.split("/", 1)) for _, name, worker in ENDED.findall(done.stderr)]
    assert len(ended) == 2 * RUNS, done.stderr
    assert len({(worker, cell) for worker, _, cell in ended}) == RUNS, done.stderr
    for host in hosts.hosts:
        sides = [side for worker, side, _ in ended if worker == host.name]
        leads = [abs(2 * sides[:count].count("base") - count) for count in range(len(sides) + 1)]
        assert len(sides) >= 2 and max(leads) <= 2 and leads[-1] == 0, done.stderr
    assert json.loads(done.stdout) == delta(here, *given, codes=(1,))
    assert_same_guests(cells_of(there), cells_of(here))


def test_of_a_damaged_kernel_only_the_damaged_pieces_are_sent(there: HubProject, hosts: Bed) -> None:
    damaged = hosts.hosts[0]
    if not (damaged.cache / SENT_ENTRIES / "kernels").is_dir():
        run_quiet(there, hosts)
    [kernel] = (damaged.cache / SENT_ENTRIES / "kernels").glob("*/vmlinux")
    key = kernel.parent.name.rpartition("-")[0]
    hosts.end_worker(damaged)
    flip(kernel, 0, PIECE + 1, PIECE + 2)
    hosts.restart_worker(damaged)
    said = run_quiet(there, hosts)
    told = f"worker host1: its kernels/{key} is not what was sent (vmlinux): replaced"
    assert told in said, said
    assert SENT.findall(said) == [("host1", f"{2 * PIECE / 1e6:.1f}")], said
    assert "is sent" not in SENT.sub("", said)
    original = cache_root(os.environ) / "kernels" / key / "vmlinux"
    assert kernel.read_bytes() == original.read_bytes()


def test_a_worker_whose_disk_is_full_is_left_out_and_others_go_on(
    there: HubProject, hosts: Bed, tmp_path: Path
) -> None:
    full = hosts.hosts[1]
    hosts.end_worker(full)
    shutil.copytree(full.cache / "vmm", tmp_path / "vmm", symlinks=True)  # as of ``have_probed``
    run(*full.space.enter, "mount", "-t", "tmpfs", "-o", "size=16m", "none", full.cache)
    run(*full.space.enter, "cp", "-a", tmp_path / "vmm", full.cache)
    try:
        hosts.restart_worker(full)
        said = run_quiet(there, hosts, workers=frozenset({"host1"}))
        told = f"worker host2 is left out: it has 0.0 GiB left for its cache {full.cache}, expected 1"
        assert told in said, said
    finally:
        hosts.end_worker(full)
        run(*full.space.enter, "umount", full.cache)
        hosts.start_worker(full)


def run_quiet(project: HubProject, hosts: Bed, workers: frozenset[str] = BOTH) -> str:
    """Four cells anew, which pass; ``workers``: those that ran them. Gives what was said of it."""
    words = ("test=quiet", "seeds=1..4", "rerun=1", f"cluster={hosts.address}")
    done = project.doit("test", *words)
    assert done.returncode == 0, done.stdout + done.stderr + hosts.logs()
    ended = ENDED.findall(done.stderr)
    assert [verdict for verdict, *_ in ended] == ["pass"] * 4, done.stderr
    assert {worker for *_, worker in ended} == workers, done.stderr
    return done.stderr


def flip(path: Path, *offsets: int) -> None:
    """Change the bytes of a file that are there."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 0xFF]))
