"""``doit test`` with ``shard=``, as far as it comes without a kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ktstr import options as given
from ktstr.commands.test import COMMAND
from ktstr.errors import InputError
from ktstr.results.ledger import Ledger
from ktstr.results.shards import part_path, sidecar_path
from tests.commands.test_merge import Merging
from tests.results.parts import make_project, three


def test_what_a_shard_left_is_gone_when_planning_fails(tmp_path: Path) -> None:
    path = make_project(tmp_path / "project")
    first = three(path, tmp_path / "parts")[0]
    merging = Merging(path, [replace(first, root=path / "target/ktstr")], Ledger())
    merging.shards[0].write()
    root, part = path / "target/ktstr", first.part
    left = (part_path(root, part), root / sidecar_path(part, part.cells[0]))
    (path / "ktstr.yaml").write_text("kernels: 5\n")
    assert COMMAND.plan is not None
    for dry_run in (True, False):
        testing = given.Testing(shard=given.Shard(1, 3), dry_run=dry_run)
        with pytest.raises(InputError):
            COMMAND.plan(merging.invocation, given.TestOptions(testing=testing))
        assert [one.exists() for one in left] == [dry_run, dry_run]
