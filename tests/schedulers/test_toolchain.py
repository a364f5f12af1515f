from __future__ import annotations

import os
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.schedulers.toolchain import clang_version, find_clang, find_toolchain
from ktstr.tools.pinned import BpfTools


def _program(folder: Path, name: str, says: str = "", status: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_clang_19_is_taken_before_a_newer_one(tmp_path: Path) -> None:
    for name in ("clang", "clang-19", "clang-21", "clang-9"):
        _program(tmp_path, name)
    assert find_clang(str(tmp_path)) == str(tmp_path / "clang-19")


def test_without_clang_19_the_newest_number_is_taken_by_value_not_by_text(tmp_path: Path) -> None:
    for name in ("clang", "clang-9", "clang-17", "clang-20", "clang-cpp-22", "clang-format-23"):
        _program(tmp_path, name)
    assert find_clang(str(tmp_path)) == str(tmp_path / "clang-20")


def test_numbered_clangs_that_are_too_old_give_way_to_plain_clang(tmp_path: Path) -> None:
    for name in ("clang", "clang-14"):
        _program(tmp_path, name)
    assert find_clang(str(tmp_path)) == str(tmp_path / "clang")


def test_a_clang_that_may_not_be_executed_does_not_count(tmp_path: Path) -> None:
    _program(tmp_path, "clang-19").chmod(0o644)
    with pytest.raises(HostError, match="clang is not installed"):
        find_clang(str(tmp_path))


def test_the_first_folder_on_the_path_wins(tmp_path: Path) -> None:
    first = _program(tmp_path / "a", "clang-19")
    _program(tmp_path / "b", "clang-19")
    assert find_clang(f"{tmp_path / 'a'}:{tmp_path / 'b'}") == str(first)


def test_missing_clang_names_the_package_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        find_clang(str(tmp_path))
    assert caught.value.exit_code == 3
    assert caught.value.fix == "apt-get install --no-install-recommends clang-19"


@pytest.mark.parametrize("says", ["Debian clang version 14.0.6", "something else", ""])
def test_an_old_or_unknown_clang_is_refused(tmp_path: Path, says: str) -> None:
    with pytest.raises(HostError, match="expected clang 16 or later"):
        clang_version(str(_program(tmp_path, "clang", says)))


def test_a_clang_that_fails_is_reported_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="--version failed") as caught:
        clang_version(str(_program(tmp_path, "clang", status=1)))
    assert caught.value.fix is not None


def test_missing_c_compiler_is_a_host_error(tools: BpfTools, tmp_path: Path) -> None:
    _program(tmp_path, "clang-19", "clang version 19.1.7")
    with pytest.raises(HostError, match="no C compiler") as caught:
        find_toolchain(tools, {"PATH": str(tmp_path)})
    assert caught.value.fix == "apt-get install gcc libc6-dev"


def test_versions_name_both_compilers_and_the_bpf_tools(tools: BpfTools) -> None:
    versions = dict(find_toolchain(tools, os.environ).versions)
    assert sorted(versions) == ["bpf", "cc", "clang"]
    assert "clang version" in versions["clang"]
    assert tools.digest in versions["bpf"]
