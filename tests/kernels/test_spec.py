from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.kernels.spec import DEFAULT, DebSpec, ImageSpec, parse_spec


def test_default_is_the_suite_whose_cloud_kernel_has_sched_ext(tmp_path: Path) -> None:
    assert parse_spec("default", tmp_path) == DEFAULT == DebSpec("forky", "cloud-amd64")


def test_deb_names_suite_and_flavour(tmp_path: Path) -> None:
    assert parse_spec("deb:bookworm-backports/rt-amd64", tmp_path) == DebSpec("bookworm-backports", "rt-amd64")


@given(
    suite=st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
    flavour=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True),
)
def test_a_deb_spec_survives_printing_and_reading(suite: str, flavour: str) -> None:
    spec = DebSpec(suite, flavour)
    assert parse_spec(str(spec), Path("/")) == spec


@pytest.mark.parametrize(
    ("text", "path"), [("./bzImage", "/here/bzImage"), ("a/b", "/here/a/b"), ("/abs/vmlinux", "/abs/vmlinux")]
)
def test_paths_are_relative_to_where_the_user_stands(text: str, path: str) -> None:
    assert parse_spec(text, Path("/here")) == ImageSpec(Path(path))


def test_a_bare_word_that_names_a_file_here_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "bzImage").write_bytes(b"")
    assert parse_spec("bzImage", tmp_path) == ImageSpec(tmp_path / "bzImage")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defalt", "nearest is default"),
        ("6.14", "found no form of kernel known here"),
        ("", "found no form"),
        ("deb:forky", r"expected deb:SUITE/FLAVOUR, such as deb:forky/cloud-amd64"),
        ("deb:/amd64", "expected deb:SUITE/FLAVOUR"),
        ("deb:forky/", "expected deb:SUITE/FLAVOUR"),
        ("deb:../../etc/x", "expected deb:SUITE/FLAVOUR"),
        ("git+https://host/linux#main", "found no form"),
        ("a\0b/c", "control character"),
        ("x/" * 4096, "too long a text"),
    ],
)
def test_anything_else_is_refused_with_the_accepted_forms(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_spec(text, Path("/nowhere"))


@given(st.text())
def test_any_text_is_a_spec_or_an_input_error(text: str) -> None:
    try:
        parse_spec(text, Path("/nowhere"))
    except InputError as err:
        assert str(err)
