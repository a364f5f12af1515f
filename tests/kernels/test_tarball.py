from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError
from ktstr.kernels.tarball import Limits, extract
from tests.kernels.tarballs import EARLY, TREE, Member, member, packed, symlink


def written(folder: Path, raw: bytes) -> Path:
    file = folder / "linux.tar"
    file.write_bytes(raw)
    return file


@pytest.mark.parametrize(
    "compress", [bytes, lzma.compress, gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress]
)
def test_every_compression_gives_the_tree_below_the_top_folder(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    members = (*TREE, member("linux-6.12/scripts/x.sh", b"#!", mode=0o775), symlink("linux-6.12/a/link", "../Makefile"))
    extract(written(tmp_path, compress(packed(members))), tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "a/link").read_bytes() == b"VERSION = 6\n"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        *("Makefile", "a", "a/link", "scripts", "scripts/x.sh"),
    ]


def test_modes_and_times_are_those_make_needs(tmp_path: Path) -> None:
    future, program = member("l/future", b"x"), member("l/run", b"x", mode=0o6777)
    future[0].mtime = int(time.time()) + 10_000_000
    extract(written(tmp_path, packed([member("l/old", b"x", mode=0o600), future, program])), tmp_path / "out")
    old, run = (tmp_path / "out/old").stat(), (tmp_path / "out/run").stat()
    assert (old.st_mtime, old.st_mode & 0o7777) == (EARLY, 0o644)
    assert run.st_mode & 0o7777 == 0o755
    assert (tmp_path / "out/future").stat().st_mtime <= time.time()


def test_git_and_gnu_tar_write_archives_that_extract(tmp_path: Path) -> None:
    long = "d" * 90 + "/" + "f" * 120
    source = tmp_path / "linux-1" / long
    source.parent.mkdir(parents=True)
    source.write_bytes(b"long")
    subprocess.run(["tar", "-C", tmp_path, "-cJf", tmp_path / "linux.tar", "linux-1"], check=True)
    extract(tmp_path / "linux.tar", tmp_path / "gnu")
    assert (tmp_path / "gnu" / long).read_bytes() == b"long"

    git = ["git", "-C", str(tmp_path / "linux-1"), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "archive", "--prefix=linux-1/", "-o", tmp_path / "g.tar.gz", "HEAD"], check=True)
    extract(tmp_path / "g.tar.gz", tmp_path / "git")
    assert (tmp_path / "git" / long).read_bytes() == b"long"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (member("linux-6.12/../../evil", b"x"), "'..' or an overlong name"),
        (member("/linux-6.12/evil", b"x"), "an absolute"),
        (member("linux-6.12/a\nb", b"x"), "unprintable"),
        (member("other/evil", b"x"), "a second top folder beside linux-6.12"),
        (member("evil", b"x"), "a second top folder"),
        (member("linux-6.12", b"x"), "no folder"),
        (symlink("linux-6.12", "/etc"), "no folder"),
        (symlink("linux-6.12/evil", "/etc/passwd"), "a link to '/etc/passwd'"),
        (symlink("linux-6.12/evil", "../evil"), "a link to '../evil'"),
        (symlink("linux-6.12/a/evil", "../../evil"), r"a link to '../../evil'"),
        (symlink("linux-6.12/evil", "a/../.."), r"a link to 'a/../..'"),
        (member("linux-6.12/evil", kind=tarfile.LNKTYPE, link="linux-6.12/Makefile"), "a hard link"),
        (member("linux-6.12/evil", kind=tarfile.CHRTYPE), "a device or pipe"),
        (member("linux-6.12/evil", kind=tarfile.BLKTYPE), "a device or pipe"),
        (member("linux-6.12/evil", kind=tarfile.FIFOTYPE), "a device or pipe"),
        (member("linux-6.12/Makefile", b"again"), "the same name twice"),
        (member("linux-6.12/Makefile/x", b"x"), "something that is no folder in its way"),
        (member("linux-6.12/" + "n" * 256, b"x"), "overlong"),
        (member("linux-6.12/" + "d/" * 100 + "x", b"x"), "overlong"),
        (member("linux-6.12/big", b"x" * 5001), "5001 bytes, expected at most 5000"),
    ],
)
def test_a_member_that_is_no_part_of_a_tree_is_refused(tmp_path: Path, bad: Member, words: str) -> None:
    out = tmp_path / "in" / "out"
    with pytest.raises(HostError) as caught:
        extract(written(tmp_path, packed([*TREE, bad])), out, limits=Limits(file_bytes=5000))
    assert words in caught.value.message and "linux.tar" in caught.value.message
    assert "expected" in caught.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "linux.tar"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert not (out / "evil").exists() and (out / "Makefile").read_bytes() == b"VERSION = 6\n"


def test_nothing_is_written_through_a_link_of_the_archive(tmp_path: Path) -> None:
    """The link itself leads to a place in the tree, so that it is made; a file below it is not."""
    members = [*TREE, member("linux-6.12/real/", kind=tarfile.DIRTYPE), symlink("linux-6.12/link", "real")]
    with pytest.raises(HostError, match="something that is no folder in its way"):
        extract(written(tmp_path, packed([*members, member("linux-6.12/link/x", b"x")])), tmp_path / "out")
    assert list((tmp_path / "out/real").iterdir()) == []


def test_two_links_that_only_together_lead_out_are_refused(tmp_path: Path) -> None:
    """``up`` is the tree's top by its real place, so that ``up/..`` is outside, though by its letters it is d1/d2."""
    chain = [symlink("linux-6.12/d1/d2/up", "../.."), symlink("linux-6.12/out", "d1/d2/up/..")]
    with pytest.raises(HostError, match=r"a link to 'd1/d2/up/\.\.'"):
        extract(written(tmp_path, packed([*TREE, *chain])), tmp_path / "out")


def test_bombs_are_stopped_at_the_limits(tmp_path: Path) -> None:
    zeros = packed([*TREE, *(member(f"linux-6.12/{i}", bytes(1 << 20)) for i in range(8))])
    with pytest.raises(HostError, match="found more bytes in all than the 4194304"):
        extract(written(tmp_path, lzma.compress(zeros)), tmp_path / "a", limits=Limits(total_bytes=4 << 20))
    many = packed([*TREE, *(member(f"linux-6.12/{i}") for i in range(20))])
    with pytest.raises(HostError, match="found more than 20 members"):
        extract(written(tmp_path, many), tmp_path / "b", limits=Limits(members=20))


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_name_of_megabytes_is_not_kept_in_memory(tmp_path: Path, format: int) -> None:
    bomb = packed([*TREE, member("linux-6.12/" + "n" * (64 << 20))], format)
    with pytest.raises(HostError, match="of headers between two members"):
        extract(written(tmp_path, gzip.compress(bomb, 1)), tmp_path / "out")


def test_an_xz_that_wants_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    raw = bytearray(lzma.compress(packed(TREE), check=lzma.CHECK_NONE))
    # The .xz format, 5.3.1: the LZMA2 filter 21 with one byte of properties; 40 is a dictionary of 4 GiB - 1.
    at = raw.index(b"\x21\x01", 12)
    raw[at + 2] = 40
    header = 12
    size = (raw[header] + 1) * 4
    raw[header + size - 4 : header + size] = zlib.crc32(raw[header : header + size - 4]).to_bytes(4, "little")
    with pytest.raises(HostError, match=r"[Mm]emory"):
        extract(written(tmp_path, bytes(raw)), tmp_path / "out")


@pytest.mark.parametrize(
    "compress", [bytes, lzma.compress, gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress]
)
def test_a_cut_archive_is_refused_wherever_it_is_cut(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(packed([*TREE, member("linux-6.12/data", os.urandom(20_000))]))
    for cut in (len(whole) // 4, len(whole) // 2, len(whole) - 10_000):
        with pytest.raises(HostError, match="not a source archive to use"):
            extract(written(tmp_path, whole[:cut]), tmp_path / f"out{cut}")


def test_a_flipped_bit_is_found_by_the_compressions_own_check(tmp_path: Path) -> None:
    raw = bytearray(lzma.compress(packed([*TREE, member("linux-6.12/data", os.urandom(20_000))])))
    raw[-40] ^= 1
    with pytest.raises(HostError, match="not a source archive to use"):
        extract(written(tmp_path, bytes(raw)), tmp_path / "out")


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"<html>404</html>", "a web page"), (b"\x7fELF junk", "bytes 7f454c46206a756e"), (b"", "expected a tar archive")],
)
def test_what_is_no_archive_is_named(tmp_path: Path, raw: bytes, words: str) -> None:
    with pytest.raises(HostError, match=words):
        extract(written(tmp_path, raw), tmp_path / "out")


def test_an_archive_without_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="not a source archive"):
        extract(written(tmp_path, gzip.compress(packed([]))), tmp_path / "out")


def test_a_disk_that_is_full_stays_an_os_error_for_the_cache_to_tell(tmp_path: Path) -> None:
    extract(written(tmp_path, packed(TREE)), tmp_path / "out")
    with pytest.raises(OSError):
        extract(tmp_path / "linux.tar", tmp_path / "linux.tar" / "below-a-file")


def test_progress_ends_at_the_size_of_the_archive(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    file = written(tmp_path, lzma.compress(packed([*TREE, member("linux-6.12/data", os.urandom(3 << 20))])))
    extract(file, tmp_path / "out", on_bytes=lambda done, total: told.append((done, total)))
    size = file.stat().st_size
    assert told[-1] == (size, size) and len(told) >= 4
    assert [done for done, _ in told[1:]] == sorted(done for done, _ in told[1:])


def test_a_cancelled_extraction_stops_in_the_middle(tmp_path: Path) -> None:
    many = [member(f"linux-6.12/{number}", os.urandom(1 << 20)) for number in range(8)]
    file, cancel = written(tmp_path, packed([*TREE, *many])), Cancel()

    def tell(done: int, total: int | None) -> None:
        if done > 3 << 20:
            cancel.set()

    with pytest.raises(Cancelled):
        extract(file, tmp_path / "out", on_bytes=tell, cancel=cancel)
    assert 0 < len(list((tmp_path / "out").iterdir())) < 8
