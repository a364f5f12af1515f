from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.kernels.labels import check_collisions, label_of, path_hash, plain
from ktstr.kernels.spec import (
    DebSourceSpec,
    DebSpec,
    GitSpec,
    ImageSpec,
    KeySpec,
    Spec,
    StableSpec,
    TreeSpec,
    VersionSpec,
)


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        (VersionSpec("6.14.2"), "kernel_6_14_2"),
        (VersionSpec("6.15-rc3"), "kernel_6_15_rc3"),
        (StableSpec(), "kernel_stable"),
        (DebSpec("forky", "cloud-amd64"), "kernel_deb_forky_cloud_amd64"),
        (DebSourceSpec("6.12"), "kernel_debsrc_6_12"),
        (GitSpec("https://host/tj/sched_ext.git", "for-next"), "kernel_git_tj_sched_ext_for_next"),
        (GitSpec("https://host/a/b/tj/linux/", "feature/x"), "kernel_git_tj_linux_feature_x"),
        (GitSpec("https://host:8443/linux.git", "v6.14"), "kernel_git_linux_v6_14"),
        (GitSpec("git@host:tj/linux.git", "main"), "kernel_git_tj_linux_main"),
        (GitSpec("/src/linux", "v1"), "kernel_git_src_linux_v1"),
        (KeySpec("6.14.2-tarball-x86_64-kc1234abcd"), "kernel_6_14_2"),
        (KeySpec("for-next-git-abc1234-x86_64"), "kernel_for_next"),
        (KeySpec("local-deadbeef-x86_64"), "kernel_local_deadbe"),
        (KeySpec("local-unknown-x86_64-kc0"), "kernel_local_unknown"),
        (KeySpec("image-0123456789ab"), "kernel_image_0123456789ab"),
    ],
)
def test_labels_are_those_of_the_table(spec: Spec, label: str) -> None:
    assert label_of(spec) == label


@pytest.mark.parametrize("kind", [ImageSpec, TreeSpec])
def test_a_path_is_told_apart_by_a_hash_of_where_it_really_is(tmp_path: Path, kind: type[ImageSpec]) -> None:
    (tmp_path / "linux").mkdir()
    (tmp_path / "link").symlink_to("linux")
    hash6 = f"{zlib.crc32(str(tmp_path.resolve() / 'linux').encode()):08x}"[:6]
    assert label_of(kind(tmp_path / "linux")) == f"kernel_path_linux_{hash6}"
    assert label_of(kind(tmp_path / "link")) == f"kernel_path_link_{hash6}"


def test_the_hash_is_the_leading_digits_with_their_zeros() -> None:
    path = next(Path(f"/none/{n}") for n in range(10_000) if zlib.crc32(f"/none/{n}".encode()) < 1 << 28)
    assert path_hash(path) == f"{zlib.crc32(str(path).encode()):08x}"[:6]
    assert path_hash(path)[0] == "0"


def test_a_path_of_any_bytes_or_a_loop_of_links_has_a_label(tmp_path: Path) -> None:
    raw = Path("/none/linux-\udcff")  # as Python has a name with the byte 0xff
    assert label_of(ImageSpec(raw)) == f"kernel_path_linux_{zlib.crc32(b'/none/linux-' + bytes([255])):08x}"[:24]
    (tmp_path / "loop").symlink_to("loop")
    assert label_of(ImageSpec(tmp_path / "loop")).startswith("kernel_path_loop_")


@given(st.text())
def test_labels_hold_single_underscores_between_letters_and_digits(text: str) -> None:
    found = plain(text)
    assert not found.startswith("_") and not found.endswith("_") and "__" not in found
    assert all(char in "abcdefghijklmnopqrstuvwxyz0123456789_" for char in found)


def test_two_specs_of_one_label_are_refused_naming_both() -> None:
    pairs = [(label_of(spec), str(spec)) for spec in (GitSpec("/a/b", "x-y"), GitSpec("/a/b", "x_y"))]
    with pytest.raises(InputError, match=r"git\+/a/b#x-y and git\+/a/b#x_y both sanitize to kernel_git_a_b_x_y"):
        check_collisions(pairs)


def test_one_spec_twice_is_no_collision() -> None:
    check_collisions([("kernel_6_14", "6.14"), ("kernel_6_14", "6.14"), ("kernel_6_15", "6.15")])
