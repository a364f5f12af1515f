"""The tools that build kernels, found in a PATH of the test's own making."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ktstr.errors import HostError
from ktstr.kernels.toolchain import find_toolchain

TOOLS = ("make", "flex", "bison", "bc", "pahole", "python3", "objcopy", "gcc", "ld", "as", "sh")


def path_with(folder: Path, *left_out: str, **scripts: str) -> dict[str, str]:
    """An environment whose PATH has the machine's own tools, but some, and these scripts."""
    folder.mkdir(exist_ok=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        if tool not in left_out and tool not in scripts and found:
            (folder / tool).symlink_to(found)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_what_this_machine_has_is_found_and_told(tmp_path: Path) -> None:
    found = find_toolchain(path_with(tmp_path / "bin"))
    assert "gcc" in found.cc and found.pahole.startswith("v1.")
    assert found.make_args == ()


def test_everything_missing_is_told_at_once_with_one_command(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        find_toolchain(path_with(tmp_path / "bin", "flex", "bison", "pahole"))
    assert caught.value.message == "kernels cannot be built here: found no flex, bison, pahole"
    assert caught.value.fix == "apt-get install flex bison dwarves"


def test_a_pahole_that_cannot_write_btf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"pahole is 'v1.15', expected at least v1.16"):
        find_toolchain(path_with(tmp_path / "bin", pahole="echo v1.15"))


def test_missing_headers_are_found_missing(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"found no gelf.h") as caught:
        find_toolchain(path_with(tmp_path / "bin", gcc='case "$1" in --version) echo gcc;; *) exit 1;; esac'))
    assert caught.value.fix == "apt-get install libelf-dev"


def test_another_compiler_is_another_identity_and_ccache_is_not(tmp_path: Path) -> None:
    plain = find_toolchain(path_with(tmp_path / "a"))
    cached = find_toolchain(path_with(tmp_path / "b", ccache="exit 0"))
    assert cached.make_args == ("CC=ccache gcc",)
    assert cached.digest == plain.digest
    other = find_toolchain(path_with(tmp_path / "c", **{"gcc-99": f'exec {shutil.which("gcc")} "$@" # 99'}), "gcc-99")
    assert other.make_args == ("CC=gcc-99",)
    newer = find_toolchain(path_with(tmp_path / "d", pahole="echo v1.99"))
    assert newer.digest != plain.digest


def test_llvm_takes_clang_and_its_linker(tmp_path: Path) -> None:
    scripts = {"clang-19": f'exec {shutil.which("gcc")} "$@"', "ld.lld-19": "echo LLD 19", "llvm-ar-19": "exit 0"}
    found = find_toolchain(path_with(tmp_path / "bin", **scripts), None, "-19")
    assert (found.make_args, found.versions["ld"]) == (("LLVM=-19",), "LLD 19")
    cached = find_toolchain(path_with(tmp_path / "cached", ccache="exit 0", **scripts), None, "-19")
    assert cached.make_args == ("LLVM=-19", "CC=ccache clang-19")
    with pytest.raises(HostError) as caught:
        find_toolchain(path_with(tmp_path / "none"), None, "1")
    assert caught.value.fix == "apt-get install clang lld llvm"
