from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.cluster.manifest import MAX_ENTRY, MAX_FILES, PIECE, EntryFile, Manifest, decode, encode
from ktstr.errors import InputError

A, B = (hashlib.sha256(text).hexdigest() for text in (b"a", b"b"))
FILES = (EntryFile("a", 0o644, 1, (A,)), EntryFile("b/c", 0o755, PIECE + 1, (A, B)), EntryFile("d", 0o600, 0, ()))
MANIFEST = Manifest("tools", "k-1.0~x", "/home/me/.cache/ktstr", FILES)
PLAIN: dict[str, Any] = msgspec.to_builtins(MANIFEST)


def bytes_of(**changes: object) -> bytes:
    return msgspec.msgpack.encode({**PLAIN, **changes})


def file(**changes: object) -> dict[str, object]:
    return {"path": "a", "mode": 0o644, "size": 1, "digests": [A], **changes}


def test_a_manifest_comes_back_as_it_was() -> None:
    assert decode(encode(MANIFEST)) == MANIFEST


def test_the_digest_is_of_the_content_and_not_of_where_it_is() -> None:
    elsewhere = msgspec.structs.replace(MANIFEST, root="/other")
    assert elsewhere.digest == MANIFEST.digest
    others = [msgspec.structs.replace(MANIFEST, **change) for change in
              ({"key": "l"}, {"kind": "vmm"}, {"files": FILES[:2]},
               {"files": (EntryFile("a", 0o744, 1, (A,)), *FILES[1:])})]  # fmt: skip
    assert len({MANIFEST.digest, *(other.digest for other in others)}) == 5


def test_pieces_are_of_four_mebibytes_but_for_the_last_and_each_is_named_once() -> None:
    first, second = MANIFEST.pieces.values()
    assert (first.path, first.index, first.offset, first.size) == ("a", 0, 0, 1)
    assert (second.path, second.index, second.offset, second.size) == ("b/c", 1, 4 << 20, 1)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "a/../../b", "./a", "a/.", "a//b", "a/", "a\0b", "x" * 256, "y/" * 3000 + "z",
     "a.tmp.12.ab", ".vmm-0123456789abcdef/x", ".token-0123456789abcdef.lease"],
)  # fmt: skip
def test_a_path_that_leaves_the_entry_or_is_none_of_its_own_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="no path of a file in an entry"):
        decode(bytes_of(files=[file(path=path)]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "machines"}, "Invalid enum value 'machines'"),
        ({"key": "../k"}, "no cache key"),
        ({"root": "relative"}, "no absolute path"),
        ({"root": "/a\0b"}, "no absolute path"),
        ({"more": 1}, "unknown field"),
        ({"files": []}, "found 0 files"),
        ({"files": [file(path=f"{n:05}") for n in range(MAX_FILES + 1)]}, "found 10001 files"),
        ({"files": [file(), file()]}, "twice or out of order"),
        ({"files": [file(path="b"), file()]}, "twice or out of order"),
        ({"files": [file(), file(path="a/b")]}, "a is both a file and a folder"),
        ({"files": [file(), file(path="a.b"), file(path="a/b/c")]}, "a is both a file and a folder"),
        ({"files": [file(mode=0o4755)]}, "found mode 0o4755"),
        ({"files": [file(mode=-1)]}, "found mode -0o1"),
        ({"files": [file(mode=0o200)]}, "found mode 0o200"),
        ({"files": [file(size=-1)]}, "found -1 bytes"),
        ({"files": [file(size=MAX_ENTRY + 1)]}, "expected 0 to"),
        ({"files": [file(size=2**63)]}, "expected 0 to"),
        ({"files": [file(size=PIECE + 1)]}, "found 1 pieces of 4194305 bytes"),
        ({"files": [file(size=0)]}, "found 1 pieces of 0 bytes"),
        ({"files": [file(digests=[A.upper()])]}, "no SHA-256"),
        ({"files": [file(digests=[A + "\n"])]}, "no SHA-256"),
        ({"files": [file(digests=["../" + A[3:]])]}, "no SHA-256"),
        ({"files": [{**file(), "link": "x"}]}, "unknown field"),
    ],
)
def test_what_no_entry_has_is_refused_by_name(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode(bytes_of(**changes))


def test_more_bytes_than_an_entry_may_have_are_refused_however_many_files_they_are_in() -> None:
    many = [A] * (MAX_ENTRY // PIECE)
    with pytest.raises(InputError, match="in all files"):
        decode(bytes_of(files=[file(size=MAX_ENTRY, digests=many), file(path="b")]))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, bytes(16 << 20), bytes(1 + (16 << 20)),
     encode(MANIFEST)[:-1], encode(MANIFEST) + b"\0", b"\x81\xa3key\xa1\xff"],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="manifest: "):
        decode(data)


@given(st.data())
def test_a_spoiled_manifest_is_refused_or_is_a_clean_one(data: st.DataObject) -> None:
    spoiled = bytearray(encode(MANIFEST))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = decode(bytes(spoiled))
    except InputError:
        return
    assert decode(encode(found)) == found
    assert all(part not in ("", ".", "..") for one in found.files for part in one.path.split("/"))


_ANY = st.recursive(st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(), st.lists, max_leaves=5)


@given(st.dictionaries(st.sampled_from(["path", "mode", "size", "digests"]), _ANY | st.lists(st.just(A))), st.data())
def test_fields_of_any_value_are_refused_or_make_a_clean_one(field: dict[str, object], data: st.DataObject) -> None:
    outer = data.draw(st.dictionaries(st.sampled_from(["kind", "key", "root"]), _ANY))
    try:
        found = decode(bytes_of(**outer, files=[file(**field)]))
    except InputError:
        return
    assert decode(encode(found)) == found
