"""Which run directory is analysed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ktstr.stats.analysis.source import source_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for mtime, name in enumerate(("7.1-aaa", "7.1-bbb", "7.1.3-ccc", ".cells"), 100):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (mtime, mtime))
    return tmp_path


def test_the_named_folder_goes_before_the_environment_the_kernel_and_the_newest(root: Path) -> None:
    environ = {"KTSTR_SIDECAR_DIR": "/side"}
    assert source_of(Path("/named"), "7.1", root, environ) == Path("/named")
    assert source_of(None, "7.1", root, environ) == Path("/side")
    assert source_of(None, "7.1", root, {"KTSTR_SIDECAR_DIR": ""}) == root / "7.1-bbb"
    assert source_of(None, None, root, {}) == root / "7.1.3-ccc"


@pytest.mark.parametrize(("kernel", "name"), [("7.1", "7.1-bbb"), ("7.1.3", "7.1.3-ccc"), ("7", None), ("7.1.", None)])
def test_a_kernel_is_named_by_its_full_version(root: Path, kernel: str, name: str | None) -> None:
    assert source_of(None, kernel, root, {}) == (None if name is None else root / name)


def test_no_root_has_no_run(tmp_path: Path) -> None:
    assert source_of(None, None, tmp_path / "none", {}) is None
