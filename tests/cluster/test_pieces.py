from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ktstr.cluster.manifest import PIECE, Piece
from ktstr.cluster.pieces import MAX_PACKED, digest_of, open_file, pack, unpack
from ktstr.errors import HostError


def piece_of(data: bytes) -> Piece:
    return Piece(digest_of(data), "vmlinux", 3, len(data))


REFUSED = "piece 3 of vmlinux: what arrived is not what its digest says"


@given(st.binary(max_size=2000))
def test_a_piece_comes_out_as_it_was_packed_and_is_never_much_larger(data: bytes) -> None:
    packed = pack(data)
    assert unpack(packed, piece_of(data)) == data
    assert len(packed) <= len(data) + 1


def test_the_largest_piece_fits_whether_it_compresses_or_not() -> None:
    for data in (bytes(PIECE), random.Random(2).randbytes(PIECE)):
        packed = pack(data)
        assert len(packed) <= MAX_PACKED
        assert unpack(packed, piece_of(data)) == data
    assert len(pack(bytes(PIECE))) < 1000


def test_a_bomb_is_refused_before_it_has_unfolded() -> None:
    gigabyte = zstandard.ZstdCompressor(level=3).compressobj()
    bomb = b"".join([gigabyte.compress(bytes(16 << 20)) for _ in range(64)]) + gigabyte.flush()
    sized = zstandard.ZstdCompressor().compress(bytes(256 << 20))  # says its size: a decompressor would believe it
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        for data in (bomb, sized):
            with pytest.raises(HostError, match=REFUSED):
                unpack(b"\1" + data, piece_of(bytes(PIECE)))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_that_wants_a_window_larger_than_any_piece_is_refused() -> None:
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compressobj()  # of no declared size: the window is not shrunk to it
    data = wide.compress(b"x") + wide.flush()
    assert zstandard.get_frame_parameters(data).window_size == 1 << 27
    with pytest.raises(HostError, match=REFUSED):
        unpack(b"\1" + data, piece_of(b"x"))


@pytest.mark.parametrize(
    "packed",
    [b"", b"\0", b"\1", b"\2text", b"text", b"\0texs", b"\0text!", b"\0tex", b"\1text",
     b"\1" + zstandard.compress(b"text")[:-2], b"\1" + zstandard.compress(b"texttext"), b"\0" + bytes(PIECE + 1)],
)  # fmt: skip
def test_what_is_not_the_piece_is_refused_by_name(packed: bytes) -> None:
    with pytest.raises(HostError, match=REFUSED):
        unpack(packed, piece_of(b"text"))


def test_a_file_is_opened_only_where_no_link_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "entry/real").mkdir(parents=True)
    (tmp_path / "entry/real/file").write_text("x")
    (tmp_path / "secret").write_text("y")
    (tmp_path / "entry/link").symlink_to("../secret")
    (tmp_path / "entry/folder").symlink_to("real")
    os.mkfifo(tmp_path / "entry/fifo")
    with open_file(tmp_path / "entry", "real/file") as file:
        assert file.read() == b"x"
    for path in ("link", "folder/file", "fifo", "real", "none", "real/file/x"):
        with pytest.raises(OSError):
            open_file(tmp_path / "entry", path)
