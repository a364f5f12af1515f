from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.lab.stream import following


def test_all_that_is_appended_arrives_in_order(tmp_path: Path) -> None:
    path = tmp_path / "out"
    got: list[bytes] = []
    path.write_bytes(b"one ")
    with following(path, got.append), path.open("ab") as file:
        for word in (b"two ", b"three ", b"x" * 200_000):
            file.write(word)
            file.flush()
    assert b"".join(got) == b"one two three " + b"x" * 200_000


def test_what_the_sink_raises_reaches_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"something")

    def broken(_: bytes) -> None:
        raise BrokenPipeError("the reader is gone")

    with pytest.raises(BrokenPipeError, match="the reader is gone"), following(path, broken):
        pass
