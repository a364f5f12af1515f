"""A repository with a scheduler whose commits are compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema

from tests.e2e.conftest import DODO, ROOT, UserProject
from tests.repositories import git

BPF = Path("schedulers/scx_ktstr/scx_ktstr.bpf.c")
# What is compared, and a change that makes wakeups wait longer.
YAML = """\
kernels: {default: "deb:forky/cloud-amd64"}
schedulers: {scx_ktstr: {source: schedulers/scx_ktstr}}
presets: {pair: 1n1l2c1t}
tests:
  bursts:
    duration: 300ms
    cgroups:
      - {name: bursts, work: Bursty, workers: 3, burst: 3ms, sleep: 5ms}
      - {name: noise, workers: 2}
    perf_delta: [worst_p99_wake_latency_us, iteration_rate]
  quiet: {duration: 100ms, cgroups: [{name: one, workers: 1}]}
matrices:
  all: {tests: [bursts, quiet], presets: [pair], schedulers: [scx_ktstr]}
"""
LONGER = ("#define SLICE_NS	(10 * MSEC)", "#define SLICE_NS	(30 * MSEC)")


def repository(folder: Path, yaml: str, lock: str) -> UserProject:
    """A project with our fixture's sources in one commit, tagged ``first``."""
    shutil.copytree(ROOT / "schedulers/scx_ktstr", folder / BPF.parent)
    (folder / "dodo.py").write_text(DODO)
    (folder / "ktstr.yaml").write_text(yaml)
    (folder / "ktstr.lock").write_text(lock)
    (folder / ".gitignore").write_text("target\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "tag", "first")
    return UserProject(folder)


def from_first(project: UserProject) -> None:
    """The working tree as the first commit has it, on a branch that may be moved."""
    git(project.path, "checkout", "-q", "--force", "-B", "change", "first")


def edit(project: UserProject, old: str, new: str) -> None:
    """Replace one place of the scheduler's BPF half."""
    path = project.path / BPF
    text = path.read_text()
    assert text.count(old) == 1, (text.count(old), old)
    path.write_text(text.replace(old, new))


def change(project: UserProject, old: str, new: str) -> None:
    """A commit on top of the first that differs from it in one place."""
    from_first(project)
    edit(project, old, new)
    git(project.path, "commit", "-qam", "change")


def delta(project: UserProject, *args: str, codes: tuple[int, ...] = (0,), **extra: str) -> dict[str, Any]:
    """``doit perf_delta base=first ... json=1``: the object, which its schema describes."""
    done = project.doit("perf_delta", "base=first", "json=1", *args, **extra)
    assert done.returncode in codes, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(found, json.loads((ROOT / "schemas/perf_delta.schema.json").read_text()))
    assert found["failed"] == (done.returncode == 1)
    return found


def words(found: dict[str, Any], test: str) -> dict[str, str]:
    """The verdict on each metric of a test's whole runs."""
    return {one["metric"]: one["verdict"] for one in found["findings"] if (one["test"], one["phase"]) == (test, None)}
