"""The tree that takes patches: what is in it, what it leaves alone, and what a kill or a damage does to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ktstr.errors import InputError
from ktstr.host.cache import Cache
from ktstr.kernels.labels import label_of
from ktstr.kernels.origin import Origin
from ktstr.kernels.patch import Patch, read_patch
from ktstr.kernels.patched import JOURNAL, bench, is_made, patched_tree, unpatched, with_patches
from ktstr.kernels.spec import DebSourceSpec, GitSpec, KeySpec, VersionSpec

FETCHED = Origin(DebSourceSpec("6.12"), "6.12.95-1-debsrc", "6.12.95-1", "ab" * 32)


def changing(folder: Path, name: str, new: str, file: str = "kernel/a.c") -> Patch:
    path = folder / f"{name}.patch"
    path.write_text(f"--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-int old;\n+{new}\n")
    return read_patch(path)


def creating(folder: Path) -> Patch:
    path = folder / "new.patch"
    path.write_text("--- /dev/null\n+++ b/kernel/deep/new.c\n@@ -0,0 +1 @@\n+int made;\n")
    return read_patch(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tree = tmp_path / "sources/tree"
    (tree / "kernel").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (tree / f"kernel/{name}.c").write_text("int old;\n")
    (tree / "kernel/run.sh").write_text("int old;\n")
    (tree / "kernel/run.sh").chmod(0o755)
    (tree / "kernel/link.c").symlink_to("a.c")
    (tree / "out").symlink_to("../..")
    for path in tree.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return tree


def content(tree: Path) -> dict[str, str]:
    return {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*.c") if p.is_file() and not p.is_symlink()}


def written(tree: Path) -> set[str]:
    """Files that make would take for changed."""
    return {
        p.name for p in tree.rglob("*.*") if not p.is_symlink() and p.is_file() and p.stat().st_mtime > 1_700_000_001
    }


def test_the_fetched_tree_is_never_written_to(tmp_path: Path, source: Path) -> None:
    before = content(source)
    origin = with_patches(FETCHED, [changing(tmp_path, "one", "int one;"), creating(tmp_path)])
    made = patched_tree(origin, source, tmp_path / "bench")
    assert content(made) == {**before, "kernel/a.c": "int one;\n", "kernel/deep/new.c": "int made;\n"}
    assert content(source) == before and written(source) == set()
    assert (made / "kernel/link.c").is_symlink()
    assert (made / "kernel/b.c").samefile(source / "kernel/b.c")


def test_only_what_differs_from_the_last_patches_is_written(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "bench"
    one, two = changing(tmp_path, "one", "int one;"), changing(tmp_path, "two", "int two;", "kernel/b.c")
    made = patched_tree(with_patches(FETCHED, [one, creating(tmp_path)]), source, folder)
    assert written(made) == {"a.c", "new.c"}
    for path in made.rglob("*.c"):
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    assert patched_tree(with_patches(FETCHED, [one, two]), source, folder) == made
    assert written(made) == {"b.c"} and not (made / "kernel/deep/new.c").exists()
    patched_tree(FETCHED, source, folder)
    assert content(made) == content(source)
    assert written(made) == {"a.c", "b.c"}, "written anew, or make would keep what was compiled from the patch"


def test_a_files_mode_stays(tmp_path: Path, source: Path) -> None:
    made = patched_tree(with_patches(FETCHED, [changing(tmp_path, "x", "y", "kernel/run.sh")]), source, tmp_path / "b")
    assert (made / "kernel/run.sh").stat().st_mode & 0o777 == 0o755


def test_a_killed_change_is_finished_or_taken_back(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "bench"
    made = patched_tree(FETCHED, source, folder)
    (folder / JOURNAL).write_text(json.dumps({"version": 1, "files": ["kernel/a.c", "kernel/gone.c"]}))
    for name in ("a.c", "gone.c"):  # as a process leaves them that is killed between its two notes
        (made / "kernel" / name).unlink(missing_ok=True)
        (made / "kernel" / name).write_text("int half;\n")
    patched_tree(FETCHED, source, folder)
    assert content(made) == content(source)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{",
        '{"version": 2, "files": []}',
        '{"version": 1, "files": ["../../x"]}',
        '{"version": 1, "files": 3}',
        None,
    ],
)
def test_a_tree_of_unknown_state_is_made_anew_with_its_objects(tmp_path: Path, source: Path, note: str | None) -> None:
    folder = tmp_path / "bench"
    made = patched_tree(FETCHED, source, folder)
    (made / "kernel/b.c").unlink()
    (made / "kernel/b.c").write_text("int stray;\n")
    (folder / "objects").mkdir()
    (folder / JOURNAL).unlink()
    if note is not None:
        (folder / JOURNAL).write_text(note)
    assert not is_made(folder)
    patched_tree(FETCHED, source, folder)
    assert content(made) == content(source) and not (folder / "objects").exists() and is_made(folder)


@pytest.mark.parametrize("name", ["kernel/link.c", "out/evil", "kernel/a.c/x", "kernel"])
def test_a_patch_never_goes_through_links_or_files(tmp_path: Path, source: Path, name: str) -> None:
    (tmp_path / "evil").write_text("int old;\n")
    with pytest.raises(InputError, match="patch of"):
        patched_tree(with_patches(FETCHED, [changing(tmp_path, "x", "int x;", name)]), source, tmp_path / "bench")
    assert (tmp_path / "evil").read_text() == "int old;\n" and not (tmp_path / "bench").exists()


def test_key_and_identity_follow_the_patches_and_their_order(tmp_path: Path) -> None:
    one, two = changing(tmp_path, "one", "int one;"), changing(tmp_path, "two", "int two;", "kernel/b.c")
    origins = [FETCHED, *(with_patches(FETCHED, patches) for patches in ([one], [two], [one, two], [two, one]))]
    assert len({origin.identity for origin in origins}) == len({origin.stem for origin in origins}) == 5
    assert with_patches(FETCHED, [one]).stem.startswith("6.12.95-1+p") and origins[1].stem.endswith("-debsrc")
    assert all(unpatched(origin) == FETCHED for origin in origins)
    cache = Cache(tmp_path)
    assert len({bench(origin, cache) for origin in origins}) == 1


@pytest.mark.parametrize(
    ("origin", "label"),
    [
        (FETCHED, "kernel_6_12_95_1_p"),
        (Origin(VersionSpec("6.14.2"), "6.14.2-tarball", "6.14.2", "cd" * 32), "kernel_6_14_2_p"),
        (Origin(GitSpec("u", "main"), "main-git-1234567", None, "ef" * 32), "kernel_main_p"),
    ],
)
def test_a_key_tells_a_patched_kernel_from_another(tmp_path: Path, origin: Origin, label: str) -> None:
    made = with_patches(origin, [changing(tmp_path, "one", "int one;")])
    found = label_of(KeySpec(f"{made.stem}-x86_64-kc1-tc2"))
    assert found.startswith(label) and found != label_of(KeySpec(f"{origin.stem}-x86_64-kc1-tc2"))
