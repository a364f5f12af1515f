"""What a plan may take of the host: no more than a container's limits leave."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ktstr.cancel import Cancel
from ktstr.commands.declare.command import Invocation
from ktstr.commands.declare.plans import request_of
from ktstr.host import limits
from ktstr.host.limits import Usable
from ktstr.options import GraphOptions, Running
from ktstr.tasks import invoke


@pytest.mark.parametrize(("jobs", "cpus"), [(None, 3), (2, 2)])
def test_cells_and_builds_share_what_the_cgroup_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int | None, cpus: int
) -> None:
    monkeypatch.setattr(limits, "usable", lambda: Usable(3, 4000))
    monkeypatch.setattr(invoke, "usable", lambda: Usable(3, 4000))
    project = SimpleNamespace(config=tmp_path / "ktstr.yaml")
    asked = SimpleNamespace(project=project, environ={}, progress=None, cancel=Cancel(), words=())
    request = request_of(cast(Invocation, asked), GraphOptions(running=Running(jobs=jobs)))
    assert request.tokens.total == (cpus, 3000)
    planned: Any = SimpleNamespace(turns=(1, 2), plan=SimpleNamespace(request=request))
    assert invoke._jobs(planned) == cpus
