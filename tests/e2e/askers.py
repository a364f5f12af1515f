"""Projects of who asks a cluster whose workers are hosts of their own (``tests.cluster.hosts``)."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ktstr.host.cache import cache_root
from tests.cluster.hosts import Bed
from tests.e2e.conftest import UserProject, make_project


@dataclass(frozen=True)
class HubProject(UserProject):
    """A project whose commands run where the scheduler is."""

    enter: tuple[str, ...] = ()

    def command(self, *args: str) -> list[str]:
        return [*self.enter, *super().command(*args)]


def asker(folder: Path, hosts: Bed, lock: str, yaml: str) -> HubProject:
    """A new project at ``folder``, which may be there."""
    folder.mkdir(exist_ok=True)
    project = HubProject(make_project(folder, lock).path, hosts.hub.enter)
    project.write(yaml)
    return project


def cells_of(project: UserProject) -> Path:
    """Where its results are stored."""
    return project.path / "target/ktstr/.cells"


def have_probed(folder: Path, count: int) -> None:
    """The hosts of a bed that is to be in ``folder`` have what tells whether KVM works there: 5 s of compiling that no
    test of clusters is about."""
    made = cache_root(os.environ) / "vmm"
    for index in range(1, count + 1):
        if made.is_dir():
            shutil.copytree(made, folder / f"host{index}.cache" / "vmm", symlinks=True)
