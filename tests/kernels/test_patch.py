"""Patches: what is read of a unified diff, where its hunks go, and what is refused. GNU diff is asked too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.kernels.patch import Patch, apply, read_patch

OLD = b"one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n"
DIFF = """\
From: somebody
Subject: [PATCH] five becomes cinq

---
 kernel/a.c | 2 +-

diff --git a/kernel/a.c b/kernel/a.c
index 123..456 100644
--- a/kernel/a.c\t2025-01-01 00:00:00
+++ b/kernel/a.c
@@ -3,5 +3,5 @@ static int three(void)
 three
 four
-five
+cinq
 six
 seven
--
2.43
"""
HUNK = "--- a/{name}\n+++ b/{name}\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"


def patch_of(folder: Path, text: str | bytes) -> Patch:
    path = folder / "some.patch"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_patch(path)


def applied(patch: Patch, **files: bytes) -> dict[str, bytes | None]:
    held = {name.replace("__", "/") + ".c": content for name, content in files.items()}
    return apply([patch], held.get, "6.12-debsrc")


def refused(folder: Path, text: str, **files: bytes) -> str:
    with pytest.raises(InputError) as raised:
        applied(patch_of(folder, text), **files)
    return str(raised.value).replace(f"{folder}/", "")


def test_a_mailed_patch_changes_the_line_it_means(tmp_path: Path) -> None:
    made = applied(patch_of(tmp_path, DIFF), kernel__a=OLD)
    assert made == {"kernel/a.c": OLD.replace(b"five", b"cinq")}


def test_a_patch_is_known_by_its_bytes(tmp_path: Path) -> None:
    one, two = patch_of(tmp_path, DIFF), patch_of(tmp_path, DIFF + "\n")
    assert one.digest != two.digest and one.changes == two.changes


@pytest.mark.parametrize("before", [b"", b"zero\n" * 40])
def test_lines_that_moved_are_found_where_they_stand(tmp_path: Path, before: bytes) -> None:
    text = before + OLD[4:] if not before else before + OLD
    made = applied(patch_of(tmp_path, DIFF), kernel__a=text)
    assert made["kernel/a.c"] == text.replace(b"five", b"cinq")


def test_later_hunks_move_with_the_first_and_never_go_back(tmp_path: Path) -> None:
    twice = "--- a/k.c\n+++ b/k.c\n@@ -1,2 +1,3 @@\n one\n+eins\n two\n@@ -7,2 +8,2 @@\n seven\n-eight\n+acht\n"
    moved = b"x\n" * 9 + OLD
    assert applied(patch_of(tmp_path, twice), k=moved)["k.c"] == moved.replace(b"one\n", b"one\neins\n").replace(
        b"eight", b"acht"
    )
    back = twice.replace("@@ -7,2 +8,2 @@\n seven\n-eight\n+acht\n", "@@ -7,2 +8,1 @@\n one\n-two\n")
    assert "hunk 2 of k.c (@@ -7,2 +8,1 @@) does not fit" in refused(tmp_path, back, k=OLD)


def test_a_hunk_that_does_not_fit_says_which_line_differs(tmp_path: Path) -> None:
    said = refused(tmp_path, DIFF, kernel__a=OLD.replace(b"six", b"sechs"))
    assert said == (
        "patch some.patch:11: hunk 1 of kernel/a.c (@@ -3,5 +3,5 @@) does not fit 6.12-debsrc: line 6: found 'sechs',"
        " expected 'six'\n  fix: make the patch anew, against these sources"
    )


def test_no_fuzz_one_line_of_context_that_differs_is_enough(tmp_path: Path) -> None:
    for word in (b"three", b"four", b"five", b"six", b"seven"):
        assert "does not fit" in refused(tmp_path, DIFF, kernel__a=OLD.replace(word, word + b" "))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"x\n" + OLD + OLD, "found its lines at 2 places (lines 4, 12), expected one"),
        (OLD.replace(b"five", b"cinq"), "found the lines that it makes there already"),
        (b"", "line 1: found the end of the file, expected 'three'"),
        (OLD[: OLD.index(b"seven")], "line 7: found the end of the file, expected 'seven'"),
    ],
)
def test_what_is_ambiguous_done_already_or_too_short_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    assert said in refused(tmp_path, DIFF, kernel__a=text)


def test_of_two_places_the_expected_one_counts(tmp_path: Path) -> None:
    assert applied(patch_of(tmp_path, DIFF), kernel__a=OLD + OLD)["kernel/a.c"] == OLD.replace(b"five", b"cinq") + OLD


def test_files_are_made_and_removed(tmp_path: Path) -> None:
    text = (
        "--- /dev/null\n+++ b/new.c\n@@ -0,0 +1,2 @@\n+int x;\n+int y;\n"
        "--- a/old.c\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-int z;\n"
    )
    assert applied(patch_of(tmp_path, text), old=b"int z;\n") == {"new.c": b"int x;\nint y;\n", "old.c": None}
    assert "found such a file in 6.12-debsrc, expected none" in refused(tmp_path, text, new=b"", old=b"int z;\n")
    assert "found no such file in 6.12-debsrc" in refused(tmp_path, text)
    assert "found lines in 6.12-debsrc that the patch does not remove" in refused(
        tmp_path, text, old=b"int z;\nint q;\n"
    )


def test_later_patches_see_what_earlier_ones_made(tmp_path: Path) -> None:
    one = patch_of(tmp_path, HUNK.format(name="k.c"))
    (tmp_path / "b").mkdir()
    two = patch_of(tmp_path / "b", HUNK.format(name="k.c").replace("zwei", "deux").replace("-two", "-zwei"))
    assert apply([one, two], {"k.c": OLD}.get, "s") == {"k.c": OLD.replace(b"two", b"deux")}
    with pytest.raises(InputError, match="does not fit"):
        apply([two, one], {"k.c": OLD}.get, "s")


def test_an_end_without_a_newline_is_kept_or_made(tmp_path: Path) -> None:
    text = (
        "--- a/k.c\n+++ b/k.c\n@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+eins\n\\ No newline at end of file\n"
    )
    assert applied(patch_of(tmp_path, text), k=b"one") == {"k.c": b"eins"}
    assert "does not fit" in refused(tmp_path, text, k=b"one\n")
    ends = text.replace("+eins\n\\ No newline at end of file\n", "+eins\n")
    assert applied(patch_of(tmp_path, ends), k=b"one") == {"k.c": b"eins\n"}


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "a/../x", "a/kernel/../../x", "a//x", "a/./x", "x", "a/", "~/x", '"a/x"', "a/\x1bx",
     f"a/{'x' * 300}", "../a/x", "a/.."],
)  # fmt: skip
def test_names_that_lead_out_of_the_tree_are_refused(tmp_path: Path, name: str) -> None:
    text = HUNK.replace("a/{name}", "{name}").replace("b/{name}", "{name}").format(name=name)
    with pytest.raises(InputError, match=r"some.patch:1: found .* expected a path inside the tree"):
        patch_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no change in it, expected a unified diff"),
        ("a mail without a patch\n", "found no change in it"),
        ("@@ -1 +1 @@\n-a\n+b\n", "some.patch:1: found '@@ -1 +1 @@' of no file"),
        ("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "found a file 'x' that becomes 'y', expected the same name twice"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "found /dev/null twice"),
        ("--- a/x\n+++ b/x\n", "some.patch:3: found 'the end', expected @@"),
        ("--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n-b\n", "some.patch:6: found the end of the patch within a hunk"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n?c\n", "some.patch:6: found '?c', expected a line of a hunk"),
        ("--- a/x\n+++ b/x\n@@ -1,1 +1,2 @@\n-a\n-b\n+c\n+d\n", "some.patch:3: found 2 lines that become 2"),
        ("--- a/x\n+++ b/x\n@@ -1,1 +1,1 @@\n a\n", "some.patch:3: found a hunk that changes nothing"),
        ("--- /dev/null\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "found lines on both sides"),
        ("diff --git a/x b/y\nrename from x\nrename to y\n", "some.patch:2: found 'rename from x'"),
        ("diff --git a/x b/x\nold mode 100644\nnew mode 100755\n", "some.patch:2: found 'old mode 100644'"),
        ("diff --git a/x b/x\nnew file mode 120000\n", "some.patch:2: found 'new file mode 120000'"),
        ("GIT binary patch\nliteral 5\n", "some.patch:1: found 'GIT binary patch'"),
        ("Binary files a/x and b/x differ\n", "some.patch:1: found 'Binary files a/x and b/x differ'"),
    ],
)
def test_what_is_no_patch_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        patch_of(tmp_path, text)
    assert said in str(raised.value)


def test_a_patch_that_is_not_there_or_too_large_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.patch"):
        read_patch(tmp_path / "none.patch")
    with pytest.raises(InputError, match="found more than"):
        patch_of(tmp_path, b"x" * (5 << 20))


LINES = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"  d\n", b"-- \n", b"+++ e\n", b"f\r\n"]), max_size=30
)


@given(LINES, LINES, st.booleans())
def test_what_gnu_diff_says_makes_the_one_file_the_other(
    tmp_path_factory: pytest.TempPathFactory, old: list[bytes], new: list[bytes], cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("diff")
    before, after = b"".join(old), b"".join(new)[: -1 if cut else None]
    (folder / "a").write_bytes(before)
    (folder / "b").write_bytes(after)
    said = subprocess.run(
        ["diff", "-u", "--label", "a/k.c", "--label", "b/k.c", "a", "b"], cwd=folder, capture_output=True, check=False
    ).stdout
    if said:
        assert apply([patch_of(folder, said)], {"k.c": before}.get, "s") == {"k.c": after}
