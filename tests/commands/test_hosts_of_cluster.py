"""``doit doctor``, ``locks`` and ``cleanup`` of a cluster: a worker as it has to be, one with another ktstr, one that
has none; what each is and has is told, and who does not answer is named."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ktstr import resources
from ktstr.cancel import Cancel
from ktstr.cluster import link
from ktstr.cluster.facts import ktstr_version
from ktstr.cluster.visit import visiting
from ktstr.commands.declare.command import Report
from ktstr.errors import EXIT_ENVIRONMENT, HostError, InputError
from ktstr.host.cache import cache_root
from ktstr.host.flock import locked
from ktstr.host.leftovers import SENT, SENT_KEPT_S
from ktstr.vm import probe_kvm
from tests.cluster.dask_processes import DaskProcesses, another_ktstr, dask_processes, without_ktstr
from tests.commands.invocations import run_report
from tests.host.test_leftovers import DAYS_AGO


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workers' own, but for the VMM and what its probe guest found: both take seconds."""
    folder, ours = tmp_path_factory.mktemp("worker-cache"), cache_root(os.environ)
    probe_kvm.judge(os.environ)
    (folder / "vmm").symlink_to(ours / "vmm")
    if (ours / probe_kvm.REMEMBERED).is_file():
        shutil.copy(ours / probe_kvm.REMEMBERED, folder)
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[DaskProcesses]:
    folder = tmp_path_factory.mktemp("dask")
    for name in ("locks", "tmp"):
        (folder / name).mkdir()
    environ = {"KTSTR_CACHE_DIR": str(cache), "KTSTR_LOCK_DIR": str(folder / "locks"), "TMPDIR": str(folder / "tmp")}
    with dask_processes(folder) as processes:
        processes.start_scheduler()
        processes.start_worker("fit", environ)
        processes.start_worker("none", environ, without_ktstr(folder))
        processes.start_worker("other", environ, another_ktstr(folder))
        processes.await_workers()
        yield processes


def asked(cluster: DaskProcesses, project: Path, words: str) -> Report:
    return run_report(project, f"{words} cluster={cluster.address}", {"KTSTR_CACHE_DIR": str(project / "cache")})


def workers(report: Report, schema: str) -> dict[str, Any]:
    """What the JSON has of each, by name."""
    value = json.loads(report.text)
    jsonschema.Draft202012Validator(json.loads(resources.schema(schema).read_text())).validate(value)
    return {worker["name"]: worker for worker in value["workers"]}


def test_doctor_shows_the_scheduler_and_each_worker_with_its_faults(cluster: DaskProcesses, tmp_path: Path) -> None:
    report = asked(cluster, tmp_path, "doctor json=1")
    found, value = workers(report, "doctor"), json.loads(report.text)
    assert report.code == EXIT_ENVIRONMENT and value["ok"] is False
    assert value["cluster"]["address"] == cluster.address
    assert value["cluster"]["ktstr"] == value["cluster"]["asker"]["ktstr"] == ktstr_version()
    assert value["cluster"]["dask"] == value["cluster"]["asker"]["dask"] != ""
    assert {name: worker["ok"] for name, worker in found.items()} == {"fit": True, "none": False, "other": False}
    assert found["fit"]["facts"]["host"] == os.uname().nodename
    assert found["fit"]["facts"]["cpus"] == len(os.sched_getaffinity(0))
    assert found["none"]["facts"] is None
    faults = {name: [one for one in worker["findings"] if one["ok"] is False] for name, worker in found.items()}
    assert faults["fit"] == []
    ((none,), (other,)) = faults["none"], faults["other"]
    assert none["detail"] == "left out: it has no ktstr" and "pip install" in none["fix"]
    assert other["name"] == "ktstr" and ktstr_version() in other["detail"] and other["fix"]


def test_doctor_has_a_heading_for_each_worker_and_fixes_below_findings(cluster: DaskProcesses, tmp_path: Path) -> None:
    text = asked(cluster, tmp_path, "doctor").text
    lines = text.splitlines()
    headings = [line for line in lines if line.startswith("worker ")]
    assert [line.split(" (")[0] for line in headings] == ["worker fit", "worker none", "worker other"]
    assert headings[0] == f"worker fit ({os.uname().nodename})" and headings[1].startswith("worker none (127.0.0.1:")
    assert f"ok   scheduler    {cluster.address}\n" in text
    assert "-    workers      1 of 3 can run cells\n" in text
    none = lines.index("FAIL ktstr        left out: it has no ktstr")
    assert lines[none + 1].strip().startswith("fix: pip install")
    assert [line for line in lines if len(line) > 80 and " " in line[18:]] == []


def test_a_scheduler_that_is_not_there_is_an_error_with_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 0.3)
    with pytest.raises(HostError, match=r"tcp://127.0.0.1:1: cannot be reached") as error:
        run_report(tmp_path, "doctor cluster=tcp://127.0.0.1:1")
    assert error.value.fix is not None
    with pytest.raises(HostError, match="found no certificate for it on this host") as error:
        run_report(tmp_path, "doctor cluster=tls://127.0.0.1:1")
    assert error.value.fix is not None and "tls.ca-file" in error.value.fix
    with pytest.raises(InputError, match="expected local, none or the address"):
        run_report(tmp_path, "doctor cluster=here")


def test_only_the_variable_changes_which_hosts_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "ktstr.yaml").write_text("cluster: tcp://127.0.0.1:1\n")
    environ = {"KTSTR_CACHE_DIR": str(tmp_path / "cache"), "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1"}
    for words in ("locks json=1", "locks json=1 cluster=none"):
        value = json.loads(run_report(tmp_path, words, environ).text)
        jsonschema.validate(value, json.loads(resources.schema("locks").read_text()))
        assert set(value) == {"llcs", "cpus", "cache", "run_dirs"}


def test_locks_of_each_worker_say_who_holds_them(cluster: DaskProcesses, cache: Path, tmp_path: Path) -> None:
    (cache / ".locks").mkdir(exist_ok=True)
    with locked(cache / ".locks" / "images-mine.lock"):
        report = asked(cluster, tmp_path, "locks json=1")
        text = asked(cluster, tmp_path, "locks")
    found = workers(report, "locks")
    (mine,) = (row for row in found["fit"]["cache"] if row["cache_key"] == "images-mine")
    assert [holder["pid"] for holder in mine["holders"]] == [os.getpid()]
    assert found["none"] == {"name": "none", "host": found["none"]["host"], "error": "it has no ktstr"}
    assert report.code == text.code == EXIT_ENVIRONMENT
    assert f"worker fit ({os.uname().nodename})\n  LLCs:\n" in text.text
    assert f"\n    images-mine  pid={os.getpid()} " in text.text
    assert "\n  FAIL it has no ktstr\n" in text.text


def test_locks_are_watched_on_a_cluster_too(
    cluster: DaskProcesses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cancel = Cancel()
    timer = threading.Timer(2.0, cancel.set)
    timer.start()
    run_report(tmp_path, f"locks json=1 watch=200ms cluster={cluster.address}", {}, cancel)
    timer.join()
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(looks) >= 2
    assert all({worker["name"] for worker in look["workers"]} == {"fit", "none", "other"} for look in looks)


def litter(cache: Path) -> dict[str, Path]:
    """What killed workers leave in a cache, by its kind, and a result that is young."""
    left = {
        "unfetched result": cache / "cluster" / "finished" / "0123456789abcdef.00",
        "folder": cache / "cluster" / "cells" / ".run-0123456789abcdef.00",
        "unfinished entry": cache / SENT / "kernels" / ".tmp-local-4194305",
        "unused entry": cache / SENT / "images" / "old",
        "young": cache / "cluster" / "finished" / "fedcba9876543210.00",
    }
    for path in left.values():
        path.mkdir(parents=True)
        (path / "file").write_text("x" * 10_000)
    lease = left["folder"].with_name(left["folder"].name + ".lease")
    lease.write_text(json.dumps({"boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}))
    os.utime(left["unfetched result"], (DAYS_AGO, DAYS_AGO))
    unused = time.time() - SENT_KEPT_S - 60
    os.utime(left["unused entry"], (unused, unused))
    return left


def test_cleanup_removes_on_workers_what_killed_ones_left(cluster: DaskProcesses, cache: Path, tmp_path: Path) -> None:
    left = litter(cache)
    shown = asked(cluster, tmp_path, "cleanup dry_run=1")
    assert f"  would remove folder {left['folder']}\n" in shown.text and "  FAIL it has no ktstr\n" in shown.text
    assert all(path.exists() for path in left.values()) and shown.code == EXIT_ENVIRONMENT
    found = workers(asked(cluster, tmp_path, "cleanup json=1"), "cleanup")
    removed = {row["name"]: row["kind"] for name in ("fit", "other") for row in found[name]["removed"]}
    young = left.pop("young")
    assert {kind: removed.get(str(path)) for kind, path in left.items()} == {kind: kind for kind in left}
    assert [path for path in left.values() if path.exists()] == [] and young.exists()
    assert found["none"]["error"] == "it has no ktstr" and found["fit"]["dry_run"] is False


def test_who_does_not_answer_in_time_holds_up_nobody(cluster: DaskProcesses) -> None:
    with visiting(cluster.address, {}, Cancel()) as connection:
        addresses = [worker.address for worker in connection.roster.known()]
        slow = connection.link.ask(addresses, 0.2, asyncio.sleep, 5)
        assert [type(answer) for answer in slow.values()] == [TimeoutError] * 3
        pids = set(connection.link.ask(addresses, 10, os.getpid).values())
    assert pids == {process.pid for process in cluster.workers.values()}
