from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ktstr.cluster.artifacts import describe, offer_token, read_piece
from ktstr.cluster.manifest import Manifest, decode, encode
from ktstr.cluster.pieces import is_piece, unpack
from ktstr.errors import HostError, InputError
from ktstr.host import leftovers
from ktstr.host.cache import Cache
from tests.cluster.entries import BIG, CONTENT, MIB, PIECES, store


@pytest.fixture
def asker(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "asker")
    store(cache)
    return cache


def test_an_entry_is_described_file_by_file(asker: Cache) -> None:
    manifest = describe(asker, "tools", "k")
    assert (manifest.kind, manifest.key, manifest.root) == ("tools", "k", str(asker.root))
    assert [(file.path, file.size, len(file.digests)) for file in manifest.files] == [
        ("empty", 0, 0), ("tool.json", 2, 1), ("usr/bin/run", 10_000, 1), (BIG, 9 * MIB, 3)]  # fmt: skip
    assert manifest.files[2].mode == 0o755
    # printf '{}' | sha256sum
    assert manifest.files[1].digests == ("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",)
    assert decode(encode(manifest)) == manifest


def test_pieces_are_read_as_the_manifest_names_them(asker: Cache) -> None:
    manifest = describe(asker, "tools", "k")
    assert len(manifest.pieces) == PIECES
    for piece in manifest.pieces.values():
        data = unpack(read_piece(asker, "tools", "k", piece.path, piece.index), piece)
        assert is_piece(data, piece)
        assert data == CONTENT[piece.path][piece.offset : piece.offset + piece.size]


def test_what_is_being_made_in_an_entry_does_not_travel(asker: Cache) -> None:
    before = describe(asker, "tools", "k")
    folder = asker.entry("tools", "k")
    (folder / "symbols.zst.tmp.12.abcd").write_text("half")
    (folder / ".vmm-0123456789abcdef").mkdir()
    (folder / ".vmm-0123456789abcdef/one.o").write_text("half")
    (folder / ".vmm-0123456789abcdef.lease").write_text("{}")
    assert describe(asker, "tools", "k") == before


@pytest.mark.parametrize("key", ["gone", "hollow"])
def test_an_entry_that_is_gone_is_a_host_error(asker: Cache, key: str) -> None:
    (asker.root / "tools/hollow").mkdir()
    with pytest.raises(HostError, match=f"tools/{key}"):
        describe(asker, "tools", key)


def test_an_entry_with_what_does_not_travel_is_refused_by_name(asker: Cache) -> None:
    odd = asker.entry("tools", "k") / "usr/odd"
    odd.symlink_to("bin/run")
    with pytest.raises(HostError, match="usr/odd: cannot be sent to a worker: is no regular file"):
        describe(asker, "tools", "k")
    odd.unlink()
    os.mkfifo(odd)
    with pytest.raises(HostError, match="usr/odd: cannot be sent to a worker: is no regular file"):
        describe(asker, "tools", "k")
    odd.unlink()
    (asker.entry("tools", "k") / os.fsdecode(b"\xff")).touch()
    with pytest.raises(HostError, match="tools/k: cannot be sent to a worker"):
        describe(asker, "tools", "k")


@pytest.mark.parametrize(
    ("kind", "key", "path", "index"),
    [("tools", "k", "../../secret", 0), ("tools", "k", "/etc/passwd", 0), ("tools", "..", "secret", 0),
     ("apt", "k", "tool.json", 0), ("tools", "k", "tool.json", -1), ("tools", "k", "a\0", 0),
     ("tools", "k", BIG, 16_384), ("tools", "k", BIG, 2**70)],
)  # fmt: skip
def test_a_worker_cannot_ask_for_anything_but_pieces(asker: Cache, kind: str, key: str, path: str, index: int) -> None:
    (asker.root / "secret").write_text("secret")
    with pytest.raises(InputError):
        read_piece(asker, kind, key, path, index)  # type: ignore[arg-type]


def test_a_worker_cannot_ask_for_what_a_link_leads_to(asker: Cache, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (asker.entry("tools", "k") / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(HostError, match="link: cannot be sent"):
        read_piece(asker, "tools", "k", "link", 0)


@pytest.mark.parametrize(("path", "index"), [("none", 0), ("tool.json", 1), ("empty", 0), (BIG, 16_383)])
def test_a_piece_that_is_not_there_any_more_is_a_host_error(asker: Cache, path: str, index: int) -> None:
    with pytest.raises(HostError, match="run the command again"):
        read_piece(asker, "tools", "k", path, index)


def test_nobody_replaces_an_entry_while_a_piece_of_it_is_read(asker: Cache) -> None:
    read = threading.Event()
    manifests: list[Manifest] = []

    def look() -> None:
        read.set()
        manifests.append(describe(asker, "tools", "k"))

    with asker.writing("tools", "k"):
        reader = threading.Thread(target=look)
        reader.start()
        read.wait()
        time.sleep(0.2)
        assert not manifests
    reader.join()
    assert len(manifests) == 1


def test_a_token_is_there_for_the_length_of_the_block_and_for_its_owner_alone(asker: Cache) -> None:
    with offer_token(asker) as token, offer_token(asker) as other:
        assert Path(token.path).read_text() == token.text
        assert Path(token.path).parent.stat().st_mode & 0o077 == 0
        assert len({token.text, other.text, token.path, other.path}) == 4
        in_use = leftovers.clean(leftovers.leased_folders(asker.root / "cluster/tokens", "."), dry_run=False).in_use
        assert len(in_use) == 2
    assert list((asker.root / "cluster/tokens").iterdir()) == []


def test_a_token_that_cannot_be_written_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"), offer_token(Cache(tmp_path / "file")):
        pytest.fail("the block must not run")
