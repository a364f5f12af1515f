"""Which kernels need a newer pahole than the machine's, and what building them with ours makes of the key."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ktstr.host.apt import Apt
from ktstr.host.cache import Cache, cache_root
from ktstr.kernels.kconfig import load_kconfig
from ktstr.kernels.origin import Origin, TreeState
from ktstr.kernels.pahole import needs_newer, parse_pahole
from ktstr.kernels.recipe import Recipe
from ktstr.kernels.spec import DebSourceSpec, GitSpec, TreeSpec
from ktstr.kernels.toolchain import find_toolchain
from ktstr.pins.lock import read_lock
from ktstr.tools.bundle import Bundle, ensure
from ktstr.tools.pinned import PAHOLE

OLD, NEW = "v1.24", "v1.26"
PIN = read_lock(Path(__file__).parents[2] / "ktstr.lock").tools["pahole"]


def released(version: str | None) -> Origin:
    return Origin(DebSourceSpec("7.2"), "stem", version, "a" * 64)


def tree(folder: Path, makefile: str | None) -> Origin:
    folder.mkdir()
    if makefile is not None:
        (folder / "Makefile").write_text(makefile)
    state = TreeState(folder, None, True, "b" * 64, None, False)
    return Origin(TreeSpec(folder), "local", None, state.identity, tree=state)


@pytest.mark.parametrize(
    ("version", "needed"), [("7.2.12-1", True), ("7.0", True), ("10.1", True), ("6.19.3", False), ("6.12.95-1", False)]
)
def test_from_7_on_a_pahole_without_kfunc_tags_is_too_old(version: str, needed: bool) -> None:
    assert needs_newer(released(version), OLD) is needed
    assert not needs_newer(released(version), NEW)
    assert not needs_newer(released(version), "v2.0")


def test_a_trees_makefile_says_how_new_it_is(tmp_path: Path) -> None:
    head = "# SPDX-License-Identifier: GPL-2.0\nVERSION = {}\nPATCHLEVEL = 1\n"
    assert needs_newer(tree(tmp_path / "new", head.format(7)), OLD)
    assert not needs_newer(tree(tmp_path / "old", head.format(6)), OLD)


def test_sources_whose_version_is_not_known_yet_count_as_new(tmp_path: Path) -> None:
    git = Origin(GitSpec("https://example.org/linux.git", "for-next"), "stem", None, "a" * 64)
    assert needs_newer(git, OLD) and not needs_newer(git, NEW)
    assert needs_newer(tree(tmp_path / "odd", "all:\n"), OLD)
    assert needs_newer(tree(tmp_path / "gone", None), OLD)


def test_versions_are_numbers() -> None:
    assert (parse_pahole("v1.9"), parse_pahole("v1.30")) == ((1, 9), (1, 30))
    assert parse_pahole("pahole") is None


def test_our_pahole_is_in_the_kernels_key_and_first_on_its_path(tmp_path: Path) -> None:
    machine = find_toolchain(os.environ)
    ours = machine.with_pahole(Bundle("pahole", tmp_path, "1.30", "c" * 64))
    assert ours.pahole == "v1.30, ktstr's own cccccccccccc"
    assert ours.path.split(os.pathsep) == [f"{tmp_path}/commands", *machine.path.split(os.pathsep)]
    kconfig = load_kconfig(["minimal"], tmp_path)
    recipes = [Recipe(released("7.2.12-1"), kconfig, tools) for tools in (machine, ours)]
    assert len({recipe.key for recipe in recipes}) == len({recipe.identity for recipe in recipes}) == 2
    newer = dataclasses.replace(
        ours, versions=machine.with_pahole(Bundle("pahole", tmp_path, "1.31", "d" * 64)).versions
    )
    assert newer.digest != ours.digest


@pytest.mark.network
def test_make_finds_the_pinned_pahole_and_it_writes_the_tags_of_kfuncs(tmp_path: Path) -> None:
    """As scripts/pahole-version.sh asks for its version, and scripts/Makefile.btf for its features."""
    cache = Cache(cache_root(os.environ))
    bundle = ensure(PAHOLE, PIN, cache, Apt(cache.apt))
    environ = {"PATH": find_toolchain(os.environ).with_pahole(bundle).path}
    ask = "pahole --version && pahole --supported_btf_features"
    told = subprocess.run(["sh", "-c", ask], env=environ, capture_output=True, text=True, check=True).stdout
    version, _, features = told.partition("\n")
    assert version == f"v{PIN.version}"
    assert "decl_tag_kfuncs" in features.strip().split(",")
    assert shutil.which("pahole", path=environ["PATH"]) == str(bundle.commands / "pahole")
