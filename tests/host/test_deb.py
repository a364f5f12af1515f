from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.files import full_or_denied
from ktstr.host.deb import DebPackage, unpack, verify
from tests.host.archive import Archive


def test_unpack_gives_the_packages_files_without_root(archive: Archive, tmp_path: Path) -> None:
    deb = archive.deb("a", "1", {"usr/bin/a": b"content"})
    unpack(deb, tmp_path / "out")
    assert (tmp_path / "out/usr/bin/a").read_bytes() == b"content"


def test_a_file_that_is_no_package_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.deb"
    file.write_bytes(b"not an ar archive")
    with pytest.raises(HostError, match=r"bad\.deb: cannot be unpacked"):
        unpack(file, tmp_path / "out")


def test_verify_tells_found_from_expected(tmp_path: Path) -> None:
    file = tmp_path / "a.deb"
    file.write_bytes(b"abc")
    # printf abc | sha256sum
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    verify(DebPackage("a", "1", "amd64", "forky", "pool/a.deb", 3, digest), file)
    with pytest.raises(HostError, match=f"found 3 bytes, sha256 {digest}; expected 4 bytes"):
        verify(DebPackage("a", "1", "amd64", "forky", "pool/a.deb", 4, digest), file)
    with pytest.raises(HostError, match="is missing after its download"):
        verify(DebPackage("a", "1", "amd64", "forky", "pool/a.deb", 3, digest), tmp_path / "none")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "cannot be written: Read-only"),
    ],
)
def test_a_write_error_says_full_or_denied(code: int, words: str) -> None:
    import os

    error = full_or_denied(OSError(code, os.strerror(code)), Path("/c"))
    assert words in error.message and error.fix is not None and "KTSTR_CACHE_DIR" in error.fix


def test_once_cancelled_nothing_is_unpacked(archive: Archive, tmp_path: Path) -> None:
    deb = archive.deb("a", "1", {"usr/bin/a": b"content"})
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        unpack(deb, tmp_path / "out", cancel)
    assert not (tmp_path / "out/usr").exists()
