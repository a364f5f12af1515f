"""Cells on a cluster are the cells that they are here, and whatever is killed costs what was running and nothing else.

The workers are hosts of their own (``tests.cluster.hosts``): another name, another address, a cache of their own.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktstr.host.cache import cache_root
from tests.cluster.hosts import Bed, assert_same_guests, bed, wait_for
from tests.e2e.askers import asker, cells_of
from tests.e2e.conftest import ROOT, UserProject, make_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MATRIX = (ROOT / "ktstr.yaml").read_text(encoding="utf-8").replace("source: schedulers/", f"source: {ROOT}/schedulers/")
SHORT = """\
kernels: {default: "deb:forky/cloud-amd64"}
presets: {one: 1n1l1c1t}
tests:
  brief: {duration: 300ms, cgroups: [{name: left, workers: 1}, {name: right, workers: 1}]}
  other: {duration: 300ms, cgroups: [{name: all, workers: 3}]}
matrices: {all: {tests: [brief, other], presets: [one], seeds: ["1..6"]}}
"""
GONE_S = 10.0  # within which no guest may be left of who asked for it


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, lock: str) -> Iterator[Bed]:
    with bed(tmp_path_factory.mktemp("bed"), cache_root(os.environ)) as made:
        yield made


def verdicts(report: dict[str, object]) -> dict[str, str]:
    cells = report["cells"]
    assert isinstance(cells, list)
    return {cell["name"]: cell["verdict"] for cell in cells}


def measured_at(project: UserProject) -> dict[str, str]:
    """When each stored cell was measured, by the beginning of its inputs' digest."""
    found = {}
    for path in cells_of(project).glob("[0-9a-f]*/record.json"):
        found[path.parent.name] = json.loads(path.read_bytes())["record"]["measured_at"]
    return found


@pytest.mark.parametrize(
    ("yaml", "count"),
    [
        pytest.param(SHORT.replace("1..6", "1..3"), 6, id="short"),
        pytest.param(MATRIX, 11, id="default", marks=pytest.mark.slow),
    ],
)
def test_a_cluster_gives_what_this_host_gives_byte_for_byte(
    tmp_path: Path, hosts: Bed, lock: str, yaml: str, count: int
) -> None:
    """Six short cells, or the default matrix."""
    here = make_project(tmp_path, lock)
    here.write(yaml)
    code, report = here.test()
    expected = verdicts(report)
    assert code == 0 and len(expected) == count, report

    (tmp_path / "local").mkdir()
    local = make_project(tmp_path / "local", lock)
    local.write(yaml)
    code, report = local.test("cluster=local")
    assert (code, verdicts(report)) == (0, expected)
    assert_same_guests(cells_of(here), cells_of(local))

    remote = asker(tmp_path / "remote", hosts, lock, yaml)
    done = remote.doit("test", "json=1", f"cluster={hosts.address}")
    assert done.returncode == 0, done.stderr + hosts.logs()
    report = json.loads(done.stdout)
    assert verdicts(report) == expected and {cell["ran"] for cell in report["cells"]} == {True}
    assert_same_guests(cells_of(here), cells_of(remote))
    ended = re.findall(r" on (host\d)$", done.stderr, re.MULTILINE)
    assert len(ended) == len(expected) and len(set(ended)) > 1, done.stderr
    again = remote.doit("test", "json=1", f"cluster={hosts.address}", "rerun=1")
    sent = re.findall(r"worker (host\d): is sent kernels/(\S+), ([\d.]+) MB", done.stderr + again.stderr)
    assert len(sent) == len({worker for worker, *_ in sent}), "an unchanged kernel is sent to each worker once"
    assert all(float(size) > 50 for *_, size in sent)


def started(project: UserProject, hosts: Bed) -> subprocess.Popen[str]:
    """A run of 12 short cells, of which the first has ended; nothing of earlier runs is kept by the workers."""
    for host in hosts.hosts:
        shutil.rmtree(host.cache / "cluster/finished", ignore_errors=True)
    process = project.start("test", f"cluster={hosts.address}", "rerun=1")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[1/"):
            return process
    raise AssertionError(process.wait())


def emulators(hosts: Bed) -> list[int]:
    return [one.pid for host in hosts.hosts for one in host.emulators()]


def kept_by_workers(hosts: Bed) -> set[str]:
    """The inputs of results that nobody has fetched."""
    folders = [path for host in hosts.hosts for path in (host.cache / "cluster/finished").glob("[0-9a-f]*")]
    return {path.name[:16] for path in folders}


def finished_before(project: UserProject, hosts: Bed) -> set[str]:
    return measured_at(project).keys() | kept_by_workers(hosts)


def assert_redone(project: UserProject, hosts: Bed, finished: set[str], before: str) -> None:
    """The next run ends well, and measured nothing of what had been."""
    done = project.doit("test", "json=1", f"cluster={hosts.address}")
    assert done.returncode == 0, done.stderr + hosts.logs()
    report = json.loads(done.stdout)
    assert set(verdicts(report).values()) == {"pass"} and len(report["cells"]) == 12
    times = measured_at(project)
    assert {name for name in finished if times[name] > before} == set()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def kill_asker(project: UserProject, hosts: Bed, delay_s: float) -> None:
    process = started(project, hosts)
    time.sleep(delay_s)
    process.kill()
    process.wait()
    wait_for("the guests to end", lambda: not emulators(hosts), GONE_S)
    time.sleep(0.5)  # what had just ended is put away
    assert_redone(project, hosts, finished_before(project, hosts), now())


def kill_worker(project: UserProject, hosts: Bed, delay_s: float) -> None:
    process = started(project, hosts)
    time.sleep(delay_s)
    busy = max(hosts.hosts, key=lambda host: len(host.emulators()))
    finished, before = finished_before(project, hosts), now()
    lost = {one.pid for one in busy.emulators()}
    busy.worker().send_signal(signal.SIGKILL)
    wait_for("its guests to end", lambda: not lost & {one.pid for one in busy.emulators()}, GONE_S)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err + hosts.logs()
    times = measured_at(project)
    assert len(times) == 12 and {name for name in finished if times[name] > before} == set()
    wait_for("the worker to come back", lambda: busy.worker())


def kill_scheduler(project: UserProject, hosts: Bed, delay_s: float) -> None:
    process = started(project, hosts)
    time.sleep(delay_s)
    assert hosts.scheduler is not None
    hosts.scheduler.kill()
    hosts.scheduler.wait()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3 and "was lost" in out + err, out + err
    wait_for("the guests to end", lambda: not emulators(hosts), GONE_S)
    hosts.stop()
    hosts.start_scheduler()
    for host in hosts.hosts:
        hosts.start_worker(host)
    assert_redone(project, hosts, finished_before(project, hosts), now())


KILLS = {"asker": kill_asker, "worker": kill_worker, "scheduler": kill_scheduler}


@pytest.mark.parametrize("victim", ["asker", "worker"])
def test_what_is_killed_costs_what_was_running_and_nothing_else(
    tmp_path: Path, hosts: Bed, lock: str, victim: str
) -> None:
    KILLS[victim](asker(tmp_path, hosts, lock, SHORT), hosts, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "times"), [("worker", 10), ("asker", 3), ("scheduler", 3)])
def test_whatever_the_moment(tmp_path: Path, hosts: Bed, lock: str, victim: str, times: int) -> None:
    moments = random.Random(f"{victim} 1")
    for index in range(times):
        project = asker(tmp_path / str(index), hosts, lock, SHORT)
        KILLS[victim](project, hosts, moments.uniform(0, 3))
        shutil.rmtree(project.path)
