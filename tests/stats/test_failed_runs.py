"""The cells of run directories that did not pass: by their newest sidecars, and as a replay needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ktstr.record.failed import FailedReason
from ktstr.record.sidecar import Reason
from ktstr.stats.failed_runs import failed_in
from ktstr.stats.scan import scan_root, scan_run
from tests.results.cells import sidecar
from tests.stats.pools import put

NAME = "steady/tiny/default/scx_ktstr/icount-s7"


def whole(**changes: Any) -> Any:
    failed = {
        "passed": False,
        "kernel_label": "default",
        "reasons": (Reason("fail", "Stuck", "x", None, None, None, None),),
    }
    return sidecar(**{**failed, **changes})


def test_what_failed_or_was_inconclusive_is_found_and_what_passed_or_was_skipped_is_not(tmp_path: Path) -> None:
    put(tmp_path, "7.2-a/icount-s7/a", whole(inputs={"kernel": "0" * 16}, release=True))
    put(tmp_path, "7.2-a/icount-s8/a", whole(seed=8, inconclusive=True))
    put(tmp_path, "7.2-a/icount-s9/a", whole(seed=9, passed=True))
    put(tmp_path, "7.2-a/b", whole(seed=10, skipped=True))
    put(tmp_path, "7.2-a/c", b"{")
    found = failed_in(scan_root(tmp_path), named=False)
    assert {name: cell.verdict for name, cell in found.cells.items()} == {
        NAME: "fail", NAME.replace("s7", "s8"): "inconclusive"
    }  # fmt: skip
    cell = found.cells[NAME]
    assert (cell.kernel, cell.reasons, cell.asked) == ("default", (FailedReason("Stuck", "x"),), {"release": "1"})
    assert cell.inputs == {"kernel": "0" * 16}
    assert [Path(path).name for path in found.unreadable] == ["c.ktstr.json"]


@pytest.mark.parametrize(("last", "names"), [(True, set()), (False, {NAME})])
def test_of_several_runs_of_a_cell_the_newest_decides(tmp_path: Path, last: bool, names: set[str]) -> None:
    put(tmp_path, "7.2-a/a", whole(timestamp="2026-01-02T00:00:00.000+00:00", passed=last))
    put(tmp_path, "7.2-b/a", whole(timestamp="2026-01-01T00:00:00.000+00:00", passed=not last))
    assert set(failed_in(scan_root(tmp_path), named=False).cells) == names


def test_runs_of_two_commits_are_nobodys_failures_unless_they_are_named(tmp_path: Path) -> None:
    put(tmp_path, "perf-base-7.2-a/a", whole())
    assert failed_in(scan_root(tmp_path), named=False).cells == {}
    assert set(failed_in(scan_run(tmp_path / "perf-base-7.2-a"), named=True).cells) == {NAME}
