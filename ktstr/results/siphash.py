"""SipHash-c-d (Aumasson and Bernstein, 2012): the 64-bit hash that names sidecars (SipHash-1-3, zero key), and the
128-bit one that puts names in the place of others (SipHash-2-4)."""

from __future__ import annotations

_MASK = (1 << 64) - 1
State = tuple[int, int, int, int]


def _rotl(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (64 - bits))) & _MASK


def _round(state: State) -> State:
    v0, v1, v2, v3 = state
    v0 = (v0 + v1) & _MASK
    v1 = _rotl(v1, 13) ^ v0
    v0 = _rotl(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotl(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotl(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotl(v1, 17) ^ v2
    v2 = _rotl(v2, 32)
    return v0, v1, v2, v3


def _rounds(state: State, count: int) -> State:
    for _ in range(count):
        state = _round(state)
    return state


def _absorbed(data: bytes, key: bytes, c: int, tweak: int) -> State:
    """The state after all words of ``data`` and the last one, which has its length."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state: State = (
        k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ tweak, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573,
    )  # fmt: skip
    whole = len(data) - len(data) % 8
    last = data[whole:] + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, whole + 8, 8):
        word = int.from_bytes(data[at : at + 8] if at < whole else last, "little")
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _rounds((v0, v1, v2, v3 ^ word), c)
        state = (v0 ^ word, v1, v2, v3)
    return state


def _folded(state: State) -> int:
    v0, v1, v2, v3 = state
    return v0 ^ v1 ^ v2 ^ v3


def siphash(data: bytes, key: bytes = bytes(16), c: int = 1, d: int = 3) -> int:
    """Hash ``data`` under a 16-byte ``key`` with ``c`` rounds per word and ``d`` at the end."""
    v0, v1, v2, v3 = _absorbed(data, key, c, 0)
    return _folded(_rounds((v0, v1, v2 ^ 0xFF, v3), d))


def siphash128(data: bytes, key: bytes, c: int = 2, d: int = 4) -> int:
    """The 128-bit form, which its authors added in 2013; the first eight bytes of their output are the low half."""
    v0, v1, v2, v3 = _absorbed(data, key, c, 0xEE)
    v0, v1, v2, v3 = first = _rounds((v0, v1, v2 ^ 0xEE, v3), d)
    return _folded(first) | _folded(_rounds((v0, v1 ^ 0xDD, v2, v3), d)) << 64
