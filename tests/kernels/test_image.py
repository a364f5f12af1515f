from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.errors import InputError
from ktstr.kernels.image import BadImage, decompress, extract_vmlinux, has_sched_ext, load_image, option, read_image
from tests.kernels.images import BANNER, BTF, COMPRESSORS, CONFIG, bzimage, vmlinux


@pytest.mark.parametrize("name", sorted(COMPRESSORS))
def test_every_compression_the_kernel_offers_but_lzo_gives_the_vmlinux_back(name: str) -> None:
    inner = vmlinux() + bytes(9_000_000)  # more than one block of lz4's legacy frame
    assert extract_vmlinux(bzimage(COMPRESSORS[name](inner))) == inner


def test_a_vmlinux_says_its_release_btf_and_config() -> None:
    found = read_image(vmlinux(config=CONFIG))
    assert (found.release, found.btf, found.config) == ("6.99.1-test", BTF, CONFIG)


def test_what_a_kernel_does_not_carry_is_none() -> None:
    found = read_image(bzimage(COMPRESSORS["zstd"](vmlinux(btf=None))))
    assert (found.btf, found.config) == (None, None)


def test_sched_ext_is_read_from_the_config_first_and_else_from_the_btf() -> None:
    off = CONFIG.replace("CONFIG_SCHED_CLASS_EXT=y", "# CONFIG_SCHED_CLASS_EXT is not set")
    assert has_sched_ext(CONFIG, None)
    assert not has_sched_ext(off, BTF)
    assert has_sched_ext(None, BTF)
    assert not has_sched_ext(None, BTF[:24])
    assert not has_sched_ext(None, None)


def test_option_gives_values_and_none_for_what_is_not_set() -> None:
    assert (option(CONFIG, "HZ"), option(CONFIG, "PSI"), option(CONFIG, "H")) == ("250", None, None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "first bytes are none"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "first bytes are 72 6f 6f 74"),
        (bzimage(b"\x1f\x8bxx")[:0x210], "inside the setup header"),
        (bzimage(COMPRESSORS["xz"](vmlinux()))[:1300], r"beyond its 1300 bytes \(truncated\?\)"),
        (bzimage(COMPRESSORS["xz"](vmlinux()), version=0x204), "boot protocol 2.04, expected 2.08"),
        (bzimage(COMPRESSORS["xz"](vmlinux()), flags=0), "a 32-bit kernel"),
        (bzimage(COMPRESSORS["xz"](vmlinux()), length=0xFFFF_FFFF), "lies beyond its"),
        (bzimage(b"LZO\0" * 8), "payload begins with 4c 5a 4f 00, no compression known here"),
        (bzimage(COMPRESSORS["zstd"](vmlinux())[:-8] + bytes(8)), "damaged"),
        (bzimage(COMPRESSORS["gzip"](b"no elf at all") + b""), "first bytes are 6e 6f 20 65"),
        (vmlinux(banner=b"a program\0"), "without a Linux version banner"),
        (vmlinux(note=b""), "no PVH entry note.*CONFIG_PVH=y"),
        (vmlinux(kind=1), "an object or a module"),
        (vmlinux(btf=b"\x9f\xeb"), "expected 9f eb"),
        (vmlinux()[:-10], "section header table lies at"),
    ],
)
def test_what_is_no_usable_kernel_is_refused_with_its_reason(data: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        read_image(data)


def test_a_size_that_disagrees_with_the_trailer_is_damage() -> None:
    payload = COMPRESSORS["zstd"](vmlinux())[:-4] + struct.pack("<I", 7)
    with pytest.raises(BadImage, match="its trailer says 7"):
        extract_vmlinux(bzimage(payload))


@pytest.mark.parametrize("name", sorted(COMPRESSORS))
def test_a_bomb_stops_at_the_cap(name: str) -> None:
    with pytest.raises(BadImage, match="unpacks to more than 1000 bytes"):
        decompress(COMPRESSORS[name](bytes(1_000_000)), cap=1000)


def test_a_32_bit_vmlinux_says_so() -> None:
    raw = bytearray(vmlinux())
    raw[4] = 1
    with pytest.raises(BadImage, match="32-bit ELF"):
        read_image(bytes(raw))


def test_a_file_that_is_no_kernel_is_the_users_mistake(tmp_path: Path) -> None:
    text = tmp_path / "passwd"
    text.write_text("root:x:0:0\n")
    with pytest.raises(
        InputError, match=r"passwd: is no kernel: first bytes are 72 6f 6f 74, expected bzImage or ELF vmlinux"
    ):
        load_image(text)
    with pytest.raises(InputError, match="no regular file"):
        load_image(tmp_path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_image(tmp_path / "none")


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(sorted(COMPRESSORS)))
def test_any_damage_is_read_or_refused_never_a_crash(data: st.DataObject, name: str) -> None:
    raw = bytearray(bzimage(COMPRESSORS[name](vmlinux(config=CONFIG))))
    for at in data.draw(st.lists(st.one_of(st.integers(0x1F0, 0x268), st.integers(0, len(raw) - 1)), max_size=8)):
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with contextlib.suppress(BadImage):
        assert read_image(bytes(raw[: len(raw) - cut // 8])).release


@settings(max_examples=300)
@given(data=st.data())
def test_any_damaged_vmlinux_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(vmlinux(config=CONFIG))
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=8)):
        raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadImage):
        read_image(bytes(raw))


def test_gzip_with_bytes_after_it_is_still_the_kernel() -> None:
    inner = vmlinux()
    assert decompress(gzip.compress(inner) + b"tail") == inner
    assert BANNER in inner
