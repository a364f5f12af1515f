"""What makes two kernels the same: sources, configuration and compiler, not where they lie or what they are called."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pygit2
import pytest

from ktstr.errors import InputError
from ktstr.kernels.kconfig import load_kconfig
from ktstr.kernels.recipe import Recipe, choose_kconfig, config_digest
from ktstr.kernels.spec import TreeSpec
from ktstr.kernels.toolchain import KernelToolchain, find_toolchain
from ktstr.kernels.tree import tree_origin
from tests.kernels.repositories import commit_files
from tests.kernels.toy_tree import configure, toy_tree

CONFIG = "#\n# Linux/x86 6.12\n#\nCONFIG_SMP=y\nCONFIG_HZ=250\n# CONFIG_PSI is not set\n"


@pytest.fixture(scope="module")
def toolchain() -> KernelToolchain:
    return find_toolchain(os.environ)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    toy_tree(tmp_path / "linux", tmp_path / "vmlinux")
    return tmp_path / "linux"


def recipe(tree: Path, toolchain: KernelToolchain, words: Sequence[str] = ()) -> Recipe:
    origin = tree_origin(TreeSpec(tree))
    return Recipe(origin, choose_kconfig(origin, words, tree.parent), toolchain)


def test_the_key_says_commit_configuration_and_toolchain(tree: Path, toolchain: KernelToolchain) -> None:
    made = recipe(tree, toolchain)
    commit = str(pygit2.Repository(str(tree)).head.target)
    kconfig = load_kconfig(["minimal"], tree)
    assert made.key == f"local-{commit[:7]}-x86_64-kc{kconfig.digest[:8]}-tc{toolchain.digest[:8]}"
    assert made.stored and re.fullmatch(r"[0-9a-f]{64}", made.identity)


def test_one_commit_in_two_clones_is_one_kernel(tree: Path, toolchain: KernelToolchain) -> None:
    pygit2.clone_repository(str(tree), str(tree.parent / "another/place"))
    one, two = recipe(tree, toolchain), recipe(tree.parent / "another/place", toolchain)
    assert (one.key, one.identity) == (two.key, two.identity)


def test_another_commit_kconfig_or_compiler_is_another_kernel_and_back_is_the_old_one(
    tree: Path, toolchain: KernelToolchain
) -> None:
    newer = dataclasses.replace(toolchain, versions={**toolchain.versions, "cc": "gcc 99.1"})
    first = recipe(tree, toolchain)
    others = [recipe(tree, toolchain, words) for words in (["hz1000"], ["full"], ["rt"])] + [recipe(tree, newer)]
    commit_files(pygit2.Repository(str(tree)), {"kernel/part0.c": "int other;\n"})
    others.append(recipe(tree, toolchain))
    assert len({made.key for made in (first, *others)}) == len({made.identity for made in (first, *others)}) == 6
    pygit2.Repository(str(tree)).reset(first.origin.tree.commit, pygit2.enums.ResetMode.HARD)  # type: ignore[union-attr,arg-type]
    again = recipe(tree, toolchain, ["minimal"])
    assert (again.key, again.identity) == (first.key, first.identity)


def test_a_fragment_counts_by_what_it_asks_for(tree: Path, toolchain: KernelToolchain) -> None:
    keys = []
    for text in ("CONFIG_A=y\n", "# why\nCONFIG_A=y\n", "CONFIG_A=n\n"):
        (tree.parent / "my.config").write_text(text)
        keys.append(recipe(tree, toolchain, ["./my.config"]).key)
    assert keys[0] == keys[1] != keys[2]


def test_an_edited_tree_is_not_stored_and_each_edit_is_another_kernel(tree: Path, toolchain: KernelToolchain) -> None:
    clean = recipe(tree, toolchain)
    edits = []
    for text in ("int one;\n", "int two;\n", "int one;\n"):
        (tree / "kernel/part0.c").write_text(text)
        edits.append(recipe(tree, toolchain))
    assert [made.stored for made in (clean, *edits)] == [True, False, False, False]
    assert edits[0].identity == edits[2].identity != edits[1].identity
    assert clean.identity not in {made.identity for made in edits}


def test_a_trees_own_configuration_is_used_and_part_of_the_key(tree: Path, toolchain: KernelToolchain) -> None:
    configure(tree, CONFIG)
    own = recipe(tree, toolchain)
    assert own.kconfig.base == "tree" and f"-cfg{config_digest(CONFIG)[:8]}-kc" in own.key
    configure(tree, CONFIG.replace("250", "300"))
    other = recipe(tree, toolchain)
    assert other.key != own.key and other.identity != own.identity
    assert other.stored, "a .config makes no tree dirty"


def test_order_comments_and_versions_of_tools_are_no_part_of_what_a_configuration_says() -> None:
    lines = CONFIG.splitlines(keepends=True)
    assert config_digest("".join(reversed(lines))) == config_digest(CONFIG)
    versions = 'CONFIG_CC_VERSION_TEXT="gcc 13"\nCONFIG_GCC_VERSION=130200\nCONFIG_PAHOLE_VERSION=124\n'
    assert config_digest(versions + CONFIG) == config_digest(CONFIG)
    assert config_digest(CONFIG.replace("# CONFIG_PSI is not set", "CONFIG_PSI=y")) != config_digest(CONFIG)
    assert config_digest(CONFIG.replace("# CONFIG_PSI is not set\n", "")) != config_digest(CONFIG)


@pytest.mark.parametrize(
    ("built", "words", "said", "fix"),
    [
        ([], ["tree"], "found no .config in it", "make a .config"),
        ([".config"], ["tree", "debug"], "fragments for a tree's own .config", "merge_config.sh"),
        ([".config"], ["debug"], "an earlier build inside the tree", "mrproper; or kconfig=tree"),
        (["include/config/auto.conf"], [], "an earlier build inside the tree", "mrproper"),
    ],
)
def test_what_cannot_be_configured_so_says_what_to_do(
    tree: Path, toolchain: KernelToolchain, built: list[str], words: list[str], said: str, fix: str
) -> None:
    for name in built:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(CONFIG)
    with pytest.raises(InputError) as caught:
        recipe(tree, toolchain, words)
    assert said in caught.value.message and fix in (caught.value.fix or "")
