"""Where the sources of a declared scheduler are found, and what a plan knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr import resources
from ktstr.errors import InputError
from ktstr.schedulers.source import source_folder


def test_a_folder_that_is_there_is_the_source_whatever_its_name(tmp_path: Path) -> None:
    own = tmp_path / "scx_ktstr"
    own.mkdir()
    assert source_folder(own) == own


def test_a_scheduler_that_comes_with_ktstr_needs_no_folder_in_the_users_repository(tmp_path: Path) -> None:
    assert source_folder(tmp_path / "schedulers/scx_ktstr") == resources.scheduler_source("scx_ktstr")


@pytest.mark.parametrize("name", ["scx_nosuch", "scx_ktstr/..", ""])
def test_a_source_that_is_nowhere_is_named_with_those_that_come_with_ktstr(tmp_path: Path, name: str) -> None:
    declared = tmp_path / "schedulers" / name
    with pytest.raises(InputError) as caught:
        source_folder(declared)
    assert caught.value.message.startswith(f"scheduler source {declared}: found no such folder; ")
    assert caught.value.message.endswith("expected one of scx_ktstr")
    assert caught.value.fix == "correct source: in ktstr.yaml"
