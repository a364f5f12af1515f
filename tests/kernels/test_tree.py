from __future__ import annotations

import hashlib
import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest

from ktstr.errors import HostError, InputError
from ktstr.kernels.spec import TreeSpec
from ktstr.kernels.tree import check_tree, inspect_tree, tree_origin
from tests.kernels.repositories import FILES, commit_files, make_repository


def write(folder: Path, name: str, text: str = "x\n") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A committed tree."""
    commit_files(make_repository(tmp_path / "linux"))
    return tmp_path / "linux"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The same files without git."""
    for name, text in FILES.items():
        write(tmp_path / "plain", name, text)
    return tmp_path / "plain"


def head(tree: Path) -> str:
    return subprocess.run(
        ["git", "-C", tree, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_clean_tree_is_its_commit(tree: Path) -> None:
    state, commit = inspect_tree(tree), head(tree)
    assert (state.path, state.commit, state.dirty, state.config, state.in_place) == (tree, commit, False, None, False)
    assert state.identity == hashlib.sha256(f"git {commit}".encode()).hexdigest()
    origin = tree_origin(TreeSpec(tree))
    assert (origin.stem, origin.version, origin.pin, origin.tree) == (f"local-{commit[:7]}", None, None, state)
    assert origin.identity == state.identity


def test_a_clone_elsewhere_has_the_same_identity(tree: Path, tmp_path: Path) -> None:
    pygit2.clone_repository(str(tree), str(tmp_path / "clone"))
    assert inspect_tree(tmp_path / "clone").identity == inspect_tree(tree).identity


def test_a_worktree_is_a_tree_of_its_own(tree: Path, tmp_path: Path) -> None:
    pygit2.Repository(str(tree)).add_worktree("w", str(tmp_path / "w"))
    assert (tmp_path / "w/.git").is_file()
    write(tmp_path / "w", "Makefile", "other\n")
    assert (inspect_tree(tmp_path / "w").dirty, inspect_tree(tree).dirty) == (True, False)
    assert inspect_tree(tmp_path / "w").commit == head(tree)


DIRTY: dict[str, Callable[[Path], object]] = {
    "changed": lambda tree: write(tree, "kernel/sched/core.c", "int z;\n"),
    "deleted": lambda tree: (tree / "kernel/sched/core.c").unlink(),
    "made a program": lambda tree: (tree / "Makefile").chmod(0o755),
    "staged": lambda tree: (write(tree, "new.txt"), subprocess.run(["git", "-C", tree, "add", "new.txt"], check=True)),
    "new source": lambda tree: write(tree, "kernel/sched/mine.c"),
    "new makefile": lambda tree: write(tree, "drivers/mine/Makefile"),
    "new Kconfig": lambda tree: write(tree, "mine/Kconfig.debug"),
    "new linker script": lambda tree: write(tree, "arch/x86/mine.lds.S"),
}


@pytest.mark.parametrize("how", DIRTY)
def test_whatever_can_change_the_build_makes_it_dirty(tree: Path, how: str) -> None:
    clean = inspect_tree(tree)
    DIRTY[how](tree)
    state = inspect_tree(tree)
    assert state.dirty and state.commit == clean.commit and state.identity != clean.identity
    assert inspect_tree(tree).identity == state.identity
    assert tree_origin(TreeSpec(tree)).stem == f"local-unknown-{zlib.crc32(str(tree).encode()):08x}"


def test_the_identity_of_a_dirty_tree_follows_what_its_files_hold(tree: Path) -> None:
    seen = set()
    for text in ("int a;\n", "int b;\n"):
        write(tree, "kernel/sched/core.c", text)
        seen.add(inspect_tree(tree).identity)
    (tree / "kernel/sched/core.c").chmod(0o755)
    seen.add(inspect_tree(tree).identity)
    (tree / "kernel/sched/core.c").unlink()
    seen.add(inspect_tree(tree).identity)
    (tree / "kernel/sched/core.c").symlink_to("../../Makefile")
    seen.add(inspect_tree(tree).identity)
    assert len(seen) == 5


def test_what_cannot_change_the_build_leaves_it_clean(tree: Path) -> None:
    clean = inspect_tree(tree)
    for name in ("notes.txt", "kernel/sched/core.o", ".config", ".hidden.c", "0001-mine.patch"):
        write(tree, name)
    os.utime(tree / "Makefile", (1, 1))
    state = inspect_tree(tree)
    assert (state.dirty, state.identity) == (False, clean.identity)


def test_submodules_are_ignored(tmp_path: Path) -> None:
    commit_files(make_repository(tmp_path / "linux"), submodule="sub")
    (tmp_path / "linux/sub").mkdir()
    assert not inspect_tree(tmp_path / "linux").dirty
    write(tmp_path / "linux", "sub/x.c")
    assert not inspect_tree(tmp_path / "linux").dirty


def test_a_repository_around_the_tree_does_not_count(tmp_path: Path, plain: Path) -> None:
    make_repository(tmp_path)
    assert inspect_tree(plain).commit is None


def test_a_tree_without_git_is_dirty_and_known_by_its_files(plain: Path) -> None:
    first = inspect_tree(plain)
    assert (first.commit, first.dirty) == (None, True)
    assert inspect_tree(plain).identity == first.identity
    os.utime(plain / "kernel/sched/core.c", (1, 1))
    second = inspect_tree(plain)
    seen = {first.identity, second.identity}
    for name in ("kernel/sched/more.h", "arch/x86/kernel/vmlinux.lds.S", "scripts/modules-check.sh", "rust/mine.rs"):
        write(plain, name)
        seen.add(inspect_tree(plain).identity)
    assert len(seen) == 6
    assert tree_origin(TreeSpec(plain)).stem == f"local-unknown-{zlib.crc32(str(plain).encode()):08x}"


def test_what_a_build_writes_does_not_change_a_tree_without_git(plain: Path) -> None:
    before = inspect_tree(plain).identity
    for name in (
        *(".config", "vmlinux", "vmlinux.o", "System.map", "kernel/sched/core.o", "kernel/sched/.core.o.cmd"),
        *("modules.order", "kernel/sched/built-in.a", "include/config/auto.conf", "include/generated/autoconf.h"),
        *("arch/x86/include/generated/asm/x.h", "scripts/mod/modpost", "scripts/mod/.modpost.cmd"),
        *("lib/crc32table.h", "lib/.crc32table.h.cmd", "scripts/kconfig/lexer.lex.c", "arch/x86/boot/bzImage"),
    ):
        write(plain, name)
    after = inspect_tree(plain)
    assert (after.identity, after.in_place) == (before, True)


@pytest.mark.parametrize("name", [".config", "include/config/auto.conf", "arch/x86/include/generated/a.h"])
def test_a_build_in_the_tree_is_told(tree: Path, name: str) -> None:
    assert not inspect_tree(tree).in_place
    write(tree, name, "CONFIG_SMP=y\n")
    state = inspect_tree(tree)
    assert state.in_place and state.config == ("CONFIG_SMP=y\n" if name == ".config" else None)


def test_a_link_to_a_tree_is_the_tree(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    assert inspect_tree(tmp_path / "link") == inspect_tree(tree)


def test_what_is_no_kernel_tree_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"not a kernel source tree: found no Makefile and no Kconfig"):
        check_tree(tmp_path / "empty")
    write(tmp_path / "empty", "Makefile")
    with pytest.raises(InputError, match=r"not a kernel source tree: found no Kconfig in it"):
        inspect_tree(tmp_path / "empty")
    with pytest.raises(InputError, match=r"found nothing, expected the folder"):
        inspect_tree(tmp_path / "none")
    with pytest.raises(InputError, match=r"found a file, expected the folder"):
        inspect_tree(tmp_path / "empty/Makefile")


def test_a_bare_repository_is_told_how_to_build_from_it(tmp_path: Path) -> None:
    make_repository(tmp_path / "linux.git", bare=True)
    with pytest.raises(InputError, match="not a kernel source tree") as caught:
        inspect_tree(tmp_path / "linux.git")
    assert caught.value.fix == f"kernel=git+{tmp_path}/linux.git#BRANCH builds from a bare repository"


def test_a_repository_without_a_commit_is_told_so(plain: Path) -> None:
    make_repository(plain)
    with pytest.raises(InputError, match="its git HEAD has no commit yet"):
        inspect_tree(plain)


@pytest.mark.parametrize("wreck", ["objects", "HEAD", "index"])
def test_a_damaged_repository_is_the_environments_fault(tree: Path, wreck: str) -> None:
    if wreck == "index":
        (tree / ".git/index").write_bytes(b"DIRC and no more")
    elif wreck == "HEAD":
        (tree / ".git/HEAD").write_text("junk")
    else:
        for file in (tree / ".git/objects").rglob("*"):
            if file.is_file():
                file.unlink()
    with pytest.raises(HostError, match="its git repository cannot be"):
        inspect_tree(tree)


def test_a_config_of_megabytes_is_refused(tree: Path) -> None:
    write(tree, ".config", "#" * ((4 << 20) + 1))
    with pytest.raises(InputError, match=r"\.config: found more than"):
        inspect_tree(tree)
