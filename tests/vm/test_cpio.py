from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.vm.cpio import BLOCK, Entry, archive, char_device, directory, regular

HEADER = 110
Unpacked = dict[str, tuple[int, int, int, bytes, tuple[int, int]]]


def unpack(data: bytes) -> Unpacked:
    """A reader of its own, as the kernel's: name -> (mode, inode, links, data, device)."""
    found: Unpacked = {}
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        inode, mode, uid, gid, links, mtime, size, _, _, major, minor, name_size, check = fields
        assert (uid, gid, mtime, check) == (0, 0, 0, 0)
        at += HEADER
        name = data[at : at + name_size]
        assert name.endswith(b"\0")
        at += name_size
        at += -at % 4
        body = data[at : at + size]
        assert len(body) == size
        at += size
        at += -at % 4
        path = name[:-1].decode()
        if path == "TRAILER!!!":
            continue
        above = path.rpartition("/")[0]
        assert not above or stat.S_ISDIR(found[above][0]), f"{path} comes before its folder"
        found[path] = (mode, inode, links, body, (major, minor))
    return found


def test_an_entry_is_laid_out_as_the_format_says() -> None:
    head = "070701" + "00000001" + "000081a4" + "0" * 16 + "00000001" + "0" * 8 + "00000003" + "0" * 32
    expected = (head + "00000002" + "00000000").encode() + b"f\0" + b"abc\0"
    assert archive([regular("f", b"abc")])[: len(expected)] == expected
    assert len(expected) == 116


def test_entries_are_sorted_and_parents_made() -> None:
    found = unpack(archive([regular("b/c/d", b"x"), regular("b-", b"y"), directory("b", 0o700)]))
    assert list(found) == ["b", "b/c", "b/c/d", "b-"]
    assert found["b"][0] == stat.S_IFDIR | 0o700
    assert found["b/c"][0] == stat.S_IFDIR | 0o755
    assert [entry[1] for entry in found.values()] == [1, 2, 3, 4]
    assert [entry[2] for entry in found.values()] == [2, 2, 1, 1]


def test_the_order_of_the_entries_does_not_matter() -> None:
    entries = [regular("a", b"1"), directory("d"), char_device("d/null", 1, 3)]
    assert archive(entries) == archive(entries[::-1])


def test_a_device_keeps_what_it_is() -> None:
    found = unpack(archive([char_device("dev/console", 5, 1)]))
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, 2, 1, b"", (5, 1))


def test_archives_follow_one_another_at_whole_blocks() -> None:
    first, second = archive([regular("a", b"1")]), archive([regular("b", b"22")])
    assert len(first) % BLOCK == len(second) % BLOCK == 0
    assert {name: entry[3] for name, entry in unpack(first + second).items()} == {"a": b"1", "b": b"22"}


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\0b", "TRAILER!!!", "x" * 5000])
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        archive([regular(path, b"")])


def test_a_path_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a: is in the archive twice"):
        archive([regular("a", b""), directory("a")])


def test_something_below_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="a: is no folder"):
        archive([regular("a", b""), regular("a/b", b"")])


names = st.text("abc-.é", min_size=1, max_size=6).filter(lambda s: s not in (".", ".."))
files = st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=40), max_size=8)


@given(files)
def test_every_file_comes_back(content: dict[str, bytes]) -> None:
    folders = {path.rsplit("/", i)[0] for path in content for i in range(1, path.count("/") + 1)}
    kept = {path: data for path, data in content.items() if path not in folders}
    found = unpack(archive([regular(path, data) for path, data in kept.items()]))
    assert {path: entry[3] for path, entry in found.items() if stat.S_ISREG(entry[0])} == kept


@given(st.lists(st.tuples(names, st.binary(max_size=9)), max_size=5))
def test_the_same_entries_give_the_same_bytes(content: list[tuple[str, bytes]]) -> None:
    entries = [Entry(path, stat.S_IFREG | 0o644, data) for path, data in dict(content).items()]
    assert archive(entries) == archive(reversed(entries))
