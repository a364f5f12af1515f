"""RAM as a file and back, and its digest."""

from __future__ import annotations

import hashlib
import io
import os
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.vm.snapshot_ram import CHUNK, Damaged, RamDigest, digest_of, pack, runs, unpack
from tests.vm.parked import PAGE, PIECE, content, pages, piece

ZEROS = bytes(PAGE)


def expected(pieces: list[dict[int, bytes]]) -> str:
    """The digest, by its definition."""
    whole = hashlib.sha256()
    for number, found in enumerate(pieces):
        for page, data in sorted(found.items()):
            if data != ZEROS:
                whole.update(struct.pack("<IQ", number, page * PAGE) + data)
    return whole.hexdigest()


def test_the_digest_is_of_pages_with_data_and_where_they_are() -> None:
    first, second = pages(1), pages(2)
    assert digest_of((piece(first), piece(second))).hexdigest() == expected([first, second])
    assert digest_of((piece(second), piece(first))).hexdigest() != expected([first, second])
    assert digest_of((piece(first),)).data_bytes == 300 * PAGE


def test_pages_of_zeros_count_as_holes() -> None:
    written = {5: b"x" * PAGE, 6: ZEROS, 7: b"y" * PAGE, 400: ZEROS}
    fd = piece(written)
    assert os.fstat(fd).st_blocks * 512 >= 4 * PAGE
    assert [(run.offset, len(run.data)) for run in runs(fd)] == [(5 * PAGE, PAGE), (7 * PAGE, PAGE)]
    assert digest_of((fd,)).hexdigest() == digest_of((piece({5: b"x" * PAGE, 7: b"y" * PAGE}),)).hexdigest()


@pytest.mark.parametrize("size", [0, PAGE - 1, PAGE + 1])
def test_a_piece_is_whole_pages(size: int) -> None:
    with pytest.raises(ValueError, match="expected whole pages"):
        digest_of((piece({}, size),))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.integers(0, 299), st.sampled_from([ZEROS, b"a" * PAGE, bytes(PAGE - 1) + b"z"])))
def test_any_piece_comes_back_with_its_holes_sealed(
    tmp_path_factory: pytest.TempPathFactory, found: dict[int, bytes]
) -> None:
    path = tmp_path_factory.mktemp("ram") / "ram-0.zst"
    size = 300 * PAGE
    fd = piece(found, size)
    packed = RamDigest()
    pack(fd, 3, path, packed)
    unpacked = RamDigest()
    with path.open("rb") as file:
        back = unpack(file, 3, size, unpacked, packed.data_bytes)
    try:
        assert content(back) == content(fd)
        assert unpacked.hexdigest() == packed.hexdigest()
        data = sum(page != ZEROS for page in found.values()) * PAGE
        assert packed.data_bytes == data == os.fstat(back).st_blocks * 512
        with pytest.raises(PermissionError):
            os.pwrite(back, b"x", 0)
    finally:
        os.close(back)
        os.close(fd)


def packed(*records: tuple[int, int, bytes], end: int = PIECE) -> io.BytesIO:
    raw = b"".join(struct.pack("<QI", offset, length) + data for offset, length, data in records)
    return io.BytesIO(zstandard.compress(raw + struct.pack("<QI", end, 0)))


X = b"x" * PAGE


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (packed((PAGE, PAGE, X), (PAGE, PAGE, X)), "expected pages from 0x2000"),
        (packed((PIECE, PAGE, X)), "expected pages from 0x0 to 0x400000"),
        (packed((PIECE - PAGE, 2 * PAGE, X + X)), "expected pages from 0x0 to 0x400000"),
        (packed((1 << 63, PAGE, X)), "expected pages"),
        (packed((7, PAGE, X)), "expected pages"),
        (packed((0, 7, b"x" * 7)), "expected pages"),
        (packed((0, CHUNK + PAGE, bytes(CHUNK + PAGE))), "expected pages"),
        (packed((0, 1 << 31, b"")), "expected pages"),
        (packed(end=PIECE - PAGE), "expected pages"),
        (packed(*((page * PAGE, PAGE, X) for page in range(101))), "more data than the 409600 bytes"),
        (io.BytesIO(zstandard.compress(struct.pack("<QI", 0, PAGE) + X)), "ends too early"),
        (io.BytesIO(zstandard.compress(X)[:9]), "ends too early"),
        (io.BytesIO(b""), "ends too early"),
        (io.BytesIO(b"no frame at all"), "cannot be unpacked"),
    ],
)
def test_nothing_a_file_says_is_believed(file: io.BytesIO, words: str) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(Damaged, match=words):
        unpack(file, 0, PIECE, RamDigest(), 100 * PAGE)
    assert set(Path("/proc/self/fd").iterdir()) == before, "no descriptor is left open"


def test_a_frame_that_wants_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compressobj().compress(bytes(200 << 20))
    with pytest.raises(Damaged, match="cannot be unpacked"):
        unpack(io.BytesIO(bomb), 0, PIECE, RamDigest(), PIECE)


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "ram-0.zst"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        pack(piece({}), 0, path, RamDigest())
    assert path.read_bytes() == b"mine"
