from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from ktstr.vm.channel import FrameParser
from ktstr.vm.protocol import lib
from tests.vm.frames import frame

PAYLOADS = st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=200)), max_size=8)


def parse(data: bytes) -> tuple[list[tuple[int, bytes]], str | None]:
    parser = FrameParser()
    frames = [(f.type, f.payload) for f in parser.feed(data)]
    error = parser.finish()
    return frames, None if error is None else error.kind


def encode(messages: list[tuple[int, bytes]]) -> bytes:
    return b"".join(frame(type_, seq, payload) for seq, (type_, payload) in enumerate(messages))


@given(PAYLOADS)
def test_frames_of_an_independent_encoder_are_read_back(messages: list[tuple[int, bytes]]) -> None:
    assert parse(encode(messages)) == (messages, None)


@given(PAYLOADS, st.integers(1, 50))
def test_pieces_of_any_size_give_the_same_frames(messages: list[tuple[int, bytes]], size: int) -> None:
    data = encode(messages)
    parser = FrameParser()
    frames = [f for at in range(0, len(data), size) for f in parser.feed(data[at : at + size])]
    assert [(f.type, f.payload) for f in frames] == messages
    assert parser.finish() is None


@given(st.binary(max_size=400))
def test_random_bytes_never_raise(data: bytes) -> None:
    frames, error = parse(data)
    assert frames == []
    assert (error is None) == (data == b"")


@given(PAYLOADS.filter(bool), st.data())
def test_one_flipped_bit_is_noticed_and_what_came_before_is_kept(
    messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    whole = bytearray(encode(messages))
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << at % 8
    frames, error = parse(bytes(whole))
    assert error in ("garbage", "truncated")
    assert frames == messages[: len(frames)]
    before = sum(20 + len(payload) for _, payload in messages[: len(frames)])
    assert before <= at // 8 < before + 20 + len(messages[len(frames)][1])


@given(PAYLOADS.filter(bool), st.data())
def test_a_cut_stream_is_truncated_or_ends_between_frames(
    messages: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    whole = encode(messages)
    cut = data.draw(st.integers(0, len(whole)))
    frames, error = parse(whole[:cut])
    kept = sum(20 + len(payload) for _, payload in frames)
    assert frames == messages[: len(frames)]
    assert error == (None if kept == cut else "truncated")


def test_the_reason_names_what_and_where() -> None:
    good = frame(1, 0, b"abc")
    for bad, reason in (
        (frame(1, 2, b""), "frame number 2, expected 1, at 23"),
        (b"x" + frame(1, 1, b"")[1:], "frame with magic 0x46525478, expected 0x4652544b, at 23"),
        (struct.pack("<4sHHIII", b"KTRF", 1, 0, 1, 65537, 0), "frame of 65537 bytes, expected at most 65536, at 23"),
        (struct.pack("<4sHHIII", b"KTRF", 1, 9, 1, 0, 0), "frame of type 1 with a reserved field set at 23"),
        (frame(1, 1, b"abc")[:-1], "truncated frame of 22 bytes at 23"),
    ):
        parser = FrameParser()
        assert [f.payload for f in parser.feed(good + bad)] == [b"abc"]
        assert str(parser.finish()) == reason


def test_nothing_comes_after_an_error() -> None:
    parser = FrameParser()
    assert parser.feed(b"not a frame, and long enough for a header") == []
    assert parser.feed(frame(1, 0, b"")) == []
    assert parser.error is not None and parser.error.kind == "garbage"


def test_an_announced_payload_that_never_comes_is_truncated() -> None:
    parser = FrameParser()
    assert parser.feed(struct.pack("<4sHHIII", b"KTRF", 1, 0, 0, 65536, 0)) == []
    error = parser.finish()
    assert error is not None and error.kind == "truncated" and error.offset == 0


def test_more_than_the_channel_may_hold_is_a_flood() -> None:
    parser = FrameParser()
    size = 20 + lib.KTSTR_MAX_PAYLOAD
    seq = 0
    payload = bytes(lib.KTSTR_MAX_PAYLOAD)
    while parser.error is None and seq < 3000:
        frames = parser.feed(frame(1, seq, payload))
        seq += 1
    assert parser.error is not None and parser.error.kind == "flood"
    assert frames == []
    assert seq == lib.KTSTR_MAX_CHANNEL_BYTES // size + 1
