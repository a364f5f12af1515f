"""A project beside a toy kernel tree, with a cache of its own that has everything but built kernels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pygit2

from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.listing import read_cache
from tests.e2e.conftest import UserProject
from tests.kernels.toy_tree import toy_tree

YAML = """
kernels: {default: "deb:forky/cloud-amd64"}
tests:
  one: {duration: 100ms, cgroups: [{name: a, workers: 1}], checks: {max_gap_ms: 1000}}
presets: {one: 1n1l1c1t}
matrices:
  all: {tests: one, presets: one}
"""


@dataclass(frozen=True)
class Lab:
    """A project, a tree beside it, and a cache of their own that has all but built kernels."""

    project: UserProject
    tree: Path
    repository: pygit2.Repository
    cache: Path

    def doit(self, *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return self.project.doit(*args, KTSTR_CACHE_DIR=str(self.cache), **extra)

    def test(self, *args: str) -> tuple[int, dict[str, Any]]:
        done = self.doit("test", "json=1", *args)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def local(self) -> list[str]:
        """Keys of the trees' kernels in the cache."""
        rows = read_cache(Cache(self.cache))
        return [row.key for row in rows if row.entry and row.entry.facts["source"]["type"] == "local"]

    def edit(self, text: str = "int part0_changed;\n") -> None:
        (self.tree / "kernel/part0.c").write_text(text)


def _link(source: Path, target: Path) -> None:
    """A copy of a cache's folder that costs nothing."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)


def make_lab(project: UserProject, tmp_path: Path) -> Lab:
    """The project with ``YAML``; tools and the distribution's kernel are linked from the session's cache."""
    shared = cache_root(os.environ)
    rows = [row for row in read_cache(Cache(shared)) if row.entry and row.key.startswith("deb-forky")]
    entry = rows[0].entry
    assert entry is not None
    cache = tmp_path / "cache"
    for kind in ("tools", "agents", "images"):
        _link(shared / kind, cache / kind)
    _link(rows[0].path, cache / "kernels" / rows[0].key)
    project.write(YAML)
    repository = toy_tree(tmp_path / "linux", entry.vmlinux)
    return Lab(project, tmp_path / "linux", repository, cache)
