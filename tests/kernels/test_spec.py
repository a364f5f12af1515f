from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.kernels.spec import (
    DEFAULT,
    DebSourceSpec,
    DebSpec,
    GitSpec,
    ImageSpec,
    KeySpec,
    Kind,
    RangeSpec,
    Spec,
    StableSpec,
    TreeSpec,
    VersionSpec,
    parse,
    parse_list,
    parse_spec,
)
from ktstr.kernels.version import Version

NOWHERE = Path("/nowhere")


def test_default_is_the_suite_whose_cloud_kernel_has_sched_ext(tmp_path: Path) -> None:
    assert parse_spec("default", tmp_path) == DEFAULT == DebSpec("forky", "cloud-amd64")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("6.14", VersionSpec("6.14")),
        ("6.14.2", VersionSpec("6.14.2")),
        ("6.15-rc3", VersionSpec("6.15-rc3")),
        ("6.14.2-rc1", VersionSpec("6.14.2-rc1")),
        ("stable", StableSpec()),
        ("6.10..6.15", RangeSpec("6.10", "6.15")),
        ("6.10.5..6.10.10", RangeSpec("6.10.5", "6.10.10")),
        ("6.10-rc3..6.10", RangeSpec("6.10-rc3", "6.10")),
        ("6.10..6.10", RangeSpec("6.10", "6.10")),
        ("deb:bookworm-backports/rt-amd64", DebSpec("bookworm-backports", "rt-amd64")),
        ("debsrc:6.12", DebSourceSpec("6.12")),
        ("6.14.2-tarball-x86_64-kc1234abcd", KeySpec("6.14.2-tarball-x86_64-kc1234abcd")),
        ("6.14-rc3-tarball-x86_64", KeySpec("6.14-rc3-tarball-x86_64")),
        ("local-deadbeef-x86_64", KeySpec("local-deadbeef-x86_64")),
        ("git+https://host/r.git#main", GitSpec("https://host/r.git", "main")),
        ("git+https://x#frag#main", GitSpec("https://x#frag", "main")),
        ("git+/local/repo#v1", GitSpec("/local/repo", "v1")),
        ("git+https://h/r.git#users/x/for-next", GitSpec("https://h/r.git", "users/x/for-next")),
        (f"git+https://h/r#{'a' * 40}", GitSpec("https://h/r", "a" * 40)),
    ],
)
def test_each_form_is_read_and_prints_as_it_was_written(text: str, spec: Spec) -> None:
    assert parse_spec(text, NOWHERE) == spec
    assert str(spec) == text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("./bzImage", "/here/bzImage"),
        ("a/b", "/here/a/b"),
        ("../linux", "/linux"),
        ("/abs/vmlinux", "/abs/vmlinux"),
        (".", "/here"),
    ],
)
def test_paths_are_relative_to_where_the_user_stands(text: str, path: str) -> None:
    assert parse(text, Path("/here"), lambda _: "file") == ImageSpec(Path(path))
    assert parse(text, Path("/here"), lambda _: "folder") == TreeSpec(Path(path))


def test_a_path_where_nothing_is_waits_for_its_resolution() -> None:
    assert parse_spec("./not/there", NOWHERE) == ImageSpec(Path("/nowhere/not/there"))


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_spec("~", NOWHERE) == TreeSpec(tmp_path)
    assert parse_spec("~/x/vmlinux", NOWHERE) == ImageSpec(tmp_path / "x/vmlinux")
    assert parse_spec("~no-such-user/x", NOWHERE) == ImageSpec(NOWHERE / "~no-such-user/x")


def test_a_bare_word_that_names_a_file_or_folder_here_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(b"")
    (tmp_path / "linux").mkdir()
    assert parse_spec("bzImage", tmp_path) == ImageSpec(tmp_path / "bzImage")
    assert parse_spec("linux", tmp_path) == TreeSpec(tmp_path / "linux")


def test_a_version_goes_before_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "6.14").mkdir()
    assert parse_spec("6.14", tmp_path) == VersionSpec("6.14")
    assert parse_spec("./6.14", tmp_path) == TreeSpec(tmp_path / "6.14")


def test_a_version_is_a_series_or_one_release() -> None:
    assert VersionSpec("6.14").is_prefix
    assert not VersionSpec("6.14.2").is_prefix and not VersionSpec("6.15-rc3").is_prefix
    assert VersionSpec("6.15-rc3").parsed == Version(6, 15, None, 3)


def test_a_list_keeps_its_order_and_passes_over_what_is_empty() -> None:
    found = parse_list(" 6.14,, 6.12..6.14 ,stable,", NOWHERE)
    assert found == (VersionSpec("6.14"), RangeSpec("6.12", "6.14"), StableSpec())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defalt", "nearest is default"),
        ("stabel", "nearest is stable"),
        ("", "found no form of kernel and no cache key"),
        ("linux", "found no form of kernel and no cache key"),
        ("v6.14", r"write 6\.14$"),
        ("linux-6.14.2", r"write 6\.14\.2$"),
        ("6.14.2.3", r"write 6\.14\.2$"),
        ("v6.15-rc3", r"write 6\.15-rc3$"),
        ("6", r"half a version\n  fix: write a series, such as 6\.14"),
        ("6.15..6.12", r"inverted kernel range\n  fix: write it as 6\.12\.\.6\.15$"),
        ("6.10..6.10-rc3", r"write it as 6\.10-rc3\.\.6\.10$"),
        ("6.10..foo", "not a parseable version: 'foo'"),
        ("6.10..", "not a parseable version: ''"),
        ("foo..bar", "found no form"),
        ("deb:forky", r"expected deb:SUITE/FLAVOUR, such as deb:forky/cloud-amd64"),
        ("deb:/amd64", "expected deb:SUITE/FLAVOUR"),
        ("deb:forky/", "expected deb:SUITE/FLAVOUR"),
        ("deb:../../etc/x", "expected deb:SUITE/FLAVOUR"),
        ("debsrc:", "expected debsrc:VERSION"),
        ("debsrc:6.12.3", "expected debsrc:VERSION"),
        ("debsrc:../x", "expected debsrc:VERSION"),
        ("git+https://host/linux", r"expected git\+URL#REF"),
        ("git+https://host/linux#", r"expected git\+URL#REF"),
        ("git+#main", r"expected git\+URL#REF"),
        ("a\0b/c", "control character"),
        ("6.14\n", "control character"),
        ("./\ud800", "control character"),
        ("x/" * 4096, "too long a text"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_spec(text, NOWHERE)


_NUMBER = st.integers(0, 9999)
_VERSION = st.builds(Version, _NUMBER, _NUMBER, st.none() | _NUMBER, st.none() | _NUMBER)
_PLAIN = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)
_SPECS: st.SearchStrategy[Spec] = st.one_of(
    st.builds(
        DebSpec,
        st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
        st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
    ),
    st.builds(lambda major, minor: DebSourceSpec(f"{major}.{minor}"), _NUMBER, _NUMBER),
    st.builds(lambda version: VersionSpec(str(version)), _VERSION),
    st.just(StableSpec()),
    st.lists(_VERSION, min_size=2, max_size=2).map(
        lambda two: RangeSpec(*map(str, sorted(two, key=lambda version: version.order)))
    ),
    st.builds(GitSpec, _PLAIN, _PLAIN.filter(lambda ref: "#" not in ref)),
    st.from_regex(r"[a-z0-9][a-z0-9.+~=@]{0,20}-[a-z0-9]{1,8}[0-9]", fullmatch=True)
    .filter(lambda key: ".." not in key and not key.startswith("linux-") and "-rc" not in key)
    .map(KeySpec),
    _PLAIN.map(lambda name: ImageSpec(Path("/r") / name.replace("/", "_").replace("..", "_"))),
)


@given(_SPECS)
def test_a_spec_survives_printing_and_reading(spec: Spec) -> None:
    def kind_of(path: Path) -> Kind | None:
        return "file" if path.is_relative_to("/r") else None

    assert parse(str(spec), NOWHERE, kind_of) == spec


@given(_VERSION, _VERSION)
def test_a_reversed_range_is_shown_the_right_way_round(one: Version, other: Version) -> None:
    low, high = sorted((one, other), key=lambda version: version.order)
    if low.order < high.order:
        with pytest.raises(InputError) as caught:
            parse_spec(f"{high}..{low}", NOWHERE)
        assert caught.value.fix == f"write it as {low}..{high}"


@given(st.text() | st.text(alphabet="0123456789.-rc#+/:~gitdeb", max_size=30))
def test_any_text_is_a_spec_or_an_input_error(text: str) -> None:
    try:
        parse_spec(text, NOWHERE)
    except InputError as err:
        assert str(err)
