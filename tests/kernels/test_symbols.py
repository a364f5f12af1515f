"""Symbols as they are kept beside a kernel: what is packed is what is unpacked, and what is damaged is made again."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import HostError
from ktstr.kernels import symbols
from ktstr.kernels.entry import KernelEntry
from ktstr.kernels.symbols import BadSymbols, Symbols

DIGEST, OTHER = "ab" * 32, "cd" * 32
SOME = Symbols(array("Q", [0x10, 0x20, 0x20, 0x50]), ["Afirst", "tsecond", "Talias", "bfirst"])


def entry(folder: Path) -> KernelEntry:
    return KernelEntry(
        "key", "id", "6.1", folder / "vmlinux", folder / "metadata.json", DIGEST, None, True, 250, None, {}
    )


def test_a_symbol_is_found_by_name_and_by_address() -> None:
    assert (SOME.address("first"), SOME.address("alias"), SOME.address("none")) == (0x10, 0x20, None)
    found = {address: SOME.index_at(address) for address in (0xF, 0x10, 0x1F, 0x20, 0x4F, 1 << 63)}
    assert found == {0xF: None, 0x10: 0, 0x1F: 0, 0x20: 2, 0x4F: 2, 1 << 63: 3}
    assert [SOME.size(index) for index in range(4)] == [0x10, 0x30, 0x30, 0]
    assert [(SOME.letter(index), SOME.name(index)) for index in (0, 2)] == [("A", "first"), ("T", "alias")]


@given(st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.text("abc_.", min_size=1)), max_size=50))
def test_what_is_packed_is_unpacked(rows: list[tuple[int, str]]) -> None:
    rows.sort()
    made = Symbols(array("Q", [address for address, _ in rows]), ["t" + name for _, name in rows])
    found = symbols.unpack(symbols.pack(made, DIGEST), DIGEST)
    assert list(found.addresses) == list(made.addresses)
    assert [found.name(index) for index in range(len(found))] == [name for _, name in rows]


def test_symbols_of_another_kernel_are_refused() -> None:
    with pytest.raises(BadSymbols, match="is of another vmlinux"):
        symbols.unpack(symbols.pack(SOME, OTHER), DIGEST)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"garbage",
        symbols.pack(SOME, DIGEST)[:-3],
        zstandard.ZstdCompressor().compress(b"short"),
        zstandard.ZstdCompressor().compress(b"x" * 500),
    ],
)
def test_what_is_damaged_is_refused(packed: bytes) -> None:
    with pytest.raises(BadSymbols):
        symbols.unpack(packed, DIGEST)


@given(st.data())
def test_a_byte_that_changed_is_noticed(data: st.DataObject) -> None:
    packed = bytearray(symbols.pack(SOME, DIGEST))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = symbols.unpack(bytes(packed), DIGEST)
    except BadSymbols:
        return
    assert list(found.addresses) == list(SOME.addresses)  # a bit that zstandard does not use


def test_symbols_are_kept_beside_the_kernel_and_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def decode(path: Path) -> Symbols:
        decoded.append(path)
        return SOME

    monkeypatch.setattr(symbols, "decode", decode)
    for _ in range(3):
        assert symbols.symbols_of(entry(tmp_path)).address("alias") == 0x20
    assert decoded == [tmp_path / "vmlinux"]
    (tmp_path / symbols.FILE).write_bytes(b"damaged")
    assert symbols.symbols_of(entry(tmp_path)).address("alias") == 0x20
    assert len(decoded) == 2
    assert [path.name for path in tmp_path.iterdir()] == [symbols.FILE]


def test_a_cache_that_cannot_be_written_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "decode", lambda path: SOME)
    monkeypatch.setattr(symbols, "write_atomic", _refuse)
    assert len(symbols.symbols_of(entry(tmp_path))) == 4
    assert list(tmp_path.iterdir()) == []


def _refuse(path: Path, data: bytes) -> None:
    raise HostError(f"{path}: the disk is full")


def test_a_kernel_without_symbols_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(Path(os.path.realpath("/bin/true")).read_bytes())
    with pytest.raises(HostError, match="has no symbols that can be read: found no kallsyms of a known form"):
        symbols.decode(path)
