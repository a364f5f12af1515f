"""``doit cleanup``: what a killed run left goes, what a live one has stays, and nothing else is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.commands.projects import ROOT, CommandProject, command_project
from tests.host.test_leftovers import DAYS_AGO, DEAD, HOUR_AGO, holding

SCHEMA = json.loads((ROOT / "schemas/cleanup.schema.json").read_text())


@pytest.fixture
def project(tmp_path: Path) -> CommandProject:
    return command_project(tmp_path / "project")


def environment(project: CommandProject) -> dict[str, str]:
    """Everything that it looks at is the test's own."""
    named = {"KTSTR_CACHE_DIR": "cache", "KTSTR_LOCK_DIR": "locks", "TMPDIR": "tmp"}
    folders = {name: project.path.parent / folder for name, folder in named.items()}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}


def litter(project: CommandProject) -> dict[str, Path]:
    """One of each kind that a killed run leaves, by what it is; all of dead owners."""
    here, cells = project.path.parent, project.runs / ".cells"
    left = {
        "run": cells / ".run-0123456789abcdef.00",
        "replaced": cells / ".old-0123456789abcdef.00",
        "tree": project.runs / ".trees" / "abc1234",
        "lab": here / "tmp" / "ktstr-lab-00",
        "build": here / "cache" / "vmm" / ".vmm-00",
        "token": here / "cache" / "cluster" / "tokens" / ".token-0123456789abcdef",
        "entry": here / "cache" / "machines" / f".tmp-key-{DEAD}",
        "unstored": project.runs / ".unstored" / "kernels" / f".tmp-local-1-{DEAD}-old",
    }
    for path in left.values():
        path.mkdir(parents=True)
        (path / "file").write_text("x" * 10_000)
    for name in ("run", "lab", "build", "token"):
        lease = left[name].with_name(left[name].name + ".lease")
        lease.write_text(json.dumps({"boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}))
        left[f"lease of {name}"] = lease
    for name, path in {
        "sidecar": project.runs / "7.2-abc" / "icount-s0" / f"a.ktstr.json.tmp.{DEAD}.x",
        "state": project.runs / ".state" / f"failed.json.tmp.{DEAD}.x",
        "image": here / "cache" / "images" / "k" / f"image.cpio.tmp.{DEAD}.x",
        "arriving": here / "cache" / "cluster" / "pieces" / f"{'0' * 64}.tmp.{DEAD}.x",
        "pins": project.path / f"ktstr.lock.tmp.{DEAD}.x",
        "cpu": here / "locks" / "ktstr-cpu-0.lock",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        left[name] = path
        if path.suffix != ".lock":
            os.utime(path, (HOUR_AGO, HOUR_AGO))
    left["piece"] = here / "cache" / "cluster" / "pieces" / ("1" * 64)
    left["piece"].touch()
    left["result"] = here / "cache" / "cluster" / "finished" / "0123456789abcdef.00"
    left["result"].mkdir(parents=True)
    left["dask"] = here / "cache" / "cluster" / "dask" / "space" / "worker-0"
    left["dask"].mkdir(parents=True)
    left["lease of dask"] = left["dask"].with_name("worker-0.dirlock")
    left["lease of dask"].touch()
    for name in ("piece", "result", "lease of dask"):
        os.utime(left[name], (DAYS_AGO, DAYS_AGO))
    return left


def kept(project: CommandProject) -> list[Path]:
    """What is no litter."""
    here = project.path.parent
    paths = [
        here / "tmp" / "ktstr-notes", here / "tmp" / "other.lock", project.runs / ".cells" / "0123456789abcdef",
        project.runs / "7.2-abc" / "a.ktstr.json", here / "cache" / "machines" / "key",
        here / "cache" / "cluster" / "pieces" / ("2" * 64), here / "cache" / "cluster" / "finished" / "1" / "file",
        here / "cache" / "cluster" / "dask" / "space" / "worker-1.dirlock",
    ]  # fmt: skip
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_everything_of_dead_runs_goes_and_nothing_else(project: CommandProject) -> None:
    environ, left, rest = environment(project), litter(project), kept(project)
    shown = project.doit("cleanup", "dry_run=1", "json=1", **environ)
    assert shown.returncode == 0, shown.stderr
    assert all(path.exists() for path in left.values())
    done = project.doit("cleanup", "json=1", **environ)
    assert done.returncode == 0, done.stderr
    for text in (shown.stdout, done.stdout):
        Draft202012Validator(SCHEMA).validate(json.loads(text))
    removed, would = (json.loads(text)["removed"] for text in (done.stdout, shown.stdout))
    named = [path for name, path in left.items() if not name.startswith("lease of ")]
    mine = [row for row in removed if row["kind"] not in ("process", "lock file")]
    assert {row["name"] for row in mine} == {str(path) for path in named if path.suffix != ".lock"}
    assert [row for row in would if row["kind"] not in ("process", "lock file")] == mine
    assert {name for name, path in left.items() if path.exists()} == set()
    assert [path for path in rest if not path.exists()] == []
    again = project.doit("cleanup", **environ).stdout.splitlines()
    assert again[-1].startswith("removed 0, 0.0 MB; ")


def test_what_a_live_process_has_is_skipped_by_name(project: CommandProject) -> None:
    environ = environment(project)
    kinds = project.path.parent / "cache" / "vmm"
    kinds.mkdir()
    with holding("scratch", kinds) as process:
        (folder,) = (path for path in kinds.iterdir() if path.is_dir())
        done = project.doit("cleanup", **environ)
        assert f"skipping {folder} (in use by pid {process.pid})\n" in done.stdout
        assert folder.is_dir() and done.returncode == 0
    done = project.doit("cleanup", **environ)
    assert f"removed folder {folder}\n" in done.stdout and not folder.exists()
