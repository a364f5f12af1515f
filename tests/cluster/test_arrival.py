from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from ktstr.cluster.arrival import Arrivals, Lacking
from ktstr.cluster.artifacts import Token, describe, offer_token
from ktstr.cluster.manifest import EntryFile, Manifest
from ktstr.cluster.pieces import pack
from ktstr.errors import HostError, InputError
from ktstr.files import disk_bytes
from ktstr.host.cache import Cache
from ktstr.host.cache_classes import CacheClass, read_classes
from tests.cluster.entries import BIG, CONTENT, MIB, PIECES, content, kept, send, store

DAY_S = 86_400


@pytest.fixture
def asker(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "asker")
    store(cache)
    return cache


@pytest.fixture
def worker(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "worker")


@pytest.fixture
def manifest(asker: Cache) -> Manifest:
    return describe(asker, "tools", "k")


def arrive(asker: Cache, worker: Cache, manifest: Manifest) -> Path:
    """All that is lacking is sent, and the entry made of it."""
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
    return arrivals.finish(manifest)


def test_an_entry_arrives_as_it_was_and_is_not_sent_again(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    lacking = arrivals.lacking(manifest)
    assert (lacking.found, len(lacking.pieces), sum(piece.size for piece in lacking.pieces)) == (
        "absent", PIECES, 9 * MIB + 10_002)  # fmt: skip
    send(asker, arrivals, manifest, lacking.pieces)
    folder = arrivals.finish(manifest)
    assert folder == worker.root / "tools/k"
    assert content(folder) == CONTENT
    assert os.access(folder / "usr/bin/run", os.X_OK) and not os.access(folder / BIG, os.X_OK)
    assert kept(worker) == []
    assert arrivals.lacking(manifest) == Arrivals(worker).lacking(manifest) == Lacking("whole")
    assert msgspec.structs.replace(describe(worker, "tools", "k"), root=manifest.root) == manifest


def test_after_an_interruption_only_the_rest_is_sent(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    first = Arrivals(worker)
    before = first.lacking(manifest).pieces
    send(asker, first, manifest, before[:2])
    with pytest.raises(HostError, match="did not arrive"):
        first.finish(manifest)
    assert not (worker.root / "tools/k").exists()
    again = Arrivals(worker)  # another process
    after = again.lacking(manifest)
    assert after.pieces == before[2:]
    send(asker, again, manifest, after.pieces)
    assert content(again.finish(manifest)) == CONTENT


def test_of_a_damaged_file_only_what_is_damaged_is_sent(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    folder = arrive(asker, worker, manifest)
    with (folder / BIG).open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"damage")
    arrivals = Arrivals(worker)
    lacking = arrivals.lacking(manifest)
    assert (lacking.found, lacking.differing) == ("different", (BIG,))
    assert [(piece.path, piece.index) for piece in lacking.pieces] == [(BIG, 1)]
    send(asker, arrivals, manifest, lacking.pieces)
    assert content(arrivals.finish(manifest)) == CONTENT


def test_files_that_are_missing_cut_short_or_links_are_named(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    folder = arrive(asker, worker, manifest)
    (folder / "empty").unlink()
    os.truncate(folder / BIG, 8 * MIB)
    (folder / "tool.json").unlink()
    (folder / "tool.json").symlink_to(asker.entry("tools", "k") / "tool.json")
    lacking = Arrivals(worker).lacking(manifest)
    assert (lacking.found, lacking.differing) == ("different", ("empty", "tool.json", BIG))
    assert [(piece.path, piece.index) for piece in lacking.pieces] == [("tool.json", 0), (BIG, 2)]
    assert content(arrive(asker, worker, manifest)) == CONTENT
    assert not (folder / "tool.json").is_symlink()


def test_a_program_that_cannot_be_run_any_more_is_mended_and_nothing_sent(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    folder = arrive(asker, worker, manifest)
    (folder / "usr/bin/run").chmod(0o644)
    assert Arrivals(worker).lacking(manifest) == Lacking("different", ("usr/bin/run",), ())
    Arrivals(worker).finish(manifest)
    assert (folder / "usr/bin/run").stat().st_mode & 0o777 == 0o755


def test_what_was_added_to_an_entry_later_does_not_make_it_another(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    folder = arrive(asker, worker, manifest)
    (folder / "symbols.zst").write_text("made here")
    (folder / BIG).chmod(0o600)  # another umask
    assert Arrivals(worker).lacking(manifest) == Lacking("whole")


def test_an_entry_that_was_verified_is_verified_again_when_it_was_touched(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    arrivals = Arrivals(worker)
    folder = arrive(asker, worker, manifest)
    assert arrivals.lacking(manifest) == arrivals.lacking(manifest) == Lacking("whole")
    stamp = (folder / "tool.json").stat()
    (folder / "tool.json").write_text("[]")
    os.utime(folder / "tool.json", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert arrivals.lacking(manifest).differing == ("tool.json",)
    with worker.writing("tools", "k"), worker.storing("tools", "k") as other:
        (other / "tool.json").write_text("[]")
    assert arrivals.lacking(manifest).differing == ("empty", "tool.json", "usr/bin/run", BIG)


def test_a_piece_that_is_not_what_its_digest_says_is_refused(worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    (digest,) = manifest.files[1].digests
    for data in (pack(b"[]"), b"", pack(bytes(4 * MIB))):
        with pytest.raises(HostError, match=r"piece 0 of tool\.json"):
            arrivals.accept(manifest, digest, data)
    assert kept(worker) == []


@pytest.mark.parametrize("digest", ["0" * 64, "../../../home", ""])
def test_a_piece_that_the_manifest_does_not_name_is_refused(worker: Cache, manifest: Manifest, digest: str) -> None:
    with pytest.raises(InputError, match="which its manifest does not name"):
        Arrivals(worker).accept(manifest, digest, pack(b"{}"))
    assert kept(worker) == []


def test_a_kept_piece_that_was_damaged_makes_no_entry_and_is_sent_again(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
    (digest,) = manifest.files[1].digests
    (worker.root / "cluster/pieces" / digest).write_bytes(b"[]")
    assert arrivals.lacking(manifest).pieces == ()
    with pytest.raises(HostError, match=r"piece 0 of tool\.json: did not arrive, or was damaged here"):
        arrivals.finish(manifest)
    assert list((worker.root / "tools").iterdir()) == []
    assert [piece.digest for piece in arrivals.lacking(manifest).pieces] == [digest]
    assert content(arrive(asker, worker, manifest)) == CONTENT


def test_an_entry_that_changes_at_the_asker_meanwhile_does_not_arrive(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    (asker.entry("tools", "k") / "tool.json").write_text("[]")
    with pytest.raises(HostError, match="what arrived is not what its digest says"):
        arrive(asker, worker, manifest)


def test_a_manifest_that_lies_about_a_size_makes_no_entry(worker: Cache, manifest: Manifest) -> None:
    (digest,) = manifest.files[1].digests
    liar = msgspec.structs.replace(manifest, files=(*manifest.files[:2], EntryFile("z", 0o644, 5, (digest,))))
    arrivals = Arrivals(worker)
    arrivals.accept(liar, digest, pack(b"{}"))
    with pytest.raises(HostError, match="piece 0 of z: did not arrive"):
        arrivals.finish(liar)
    assert list((worker.root / "tools").iterdir()) == []


def test_pieces_that_another_entry_awaits_stay(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    store(asker, key="twin")
    twin = describe(asker, "tools", "twin")
    arrivals = Arrivals(worker)
    assert arrivals.lacking(twin).found == "absent"
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
    arrivals.finish(manifest)
    assert arrivals.lacking(twin) == Lacking("absent", tuple(file.path for file in twin.files), ())
    assert content(arrivals.finish(twin)) == CONTENT
    assert kept(worker) == []


def test_a_worker_with_the_askers_cache_has_all_of_it(asker: Cache, manifest: Manifest) -> None:
    folder = asker.entry("tools", "k")
    before = folder.stat().st_ino
    with offer_token(asker) as token, asker.reading("tools", "k"):  # reading: nobody waits for it
        assert Arrivals(asker).copy_shared(manifest, manifest.key, token)
        assert folder.stat().st_ino == before
        (folder / "tool.json").write_text("[]")
        assert not Arrivals(asker).copy_shared(manifest, manifest.key, token)


def test_a_worker_that_sees_the_askers_cache_copies_from_it(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces[:1])
    with offer_token(asker) as token:
        assert arrivals.copy_shared(manifest, manifest.key, token)
    assert content(worker.entry("tools", "k")) == CONTENT
    assert os.access(worker.entry("tools", "k") / "usr/bin/run", os.X_OK)
    assert kept(worker) == []
    assert arrivals.lacking(manifest) == Lacking("whole")


def test_a_cache_whose_class_is_a_link_to_the_askers_has_what_is_there(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    worker.root.mkdir()
    (worker.root / "tools").symlink_to(asker.root / "tools")
    before = asker.entry("tools", "k").stat().st_ino
    with offer_token(asker) as token:
        assert Arrivals(worker).copy_shared(manifest, manifest.key, token)
    assert asker.entry("tools", "k").stat().st_ino == before


def test_without_the_askers_token_nothing_is_copied(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    with offer_token(asker) as token:
        (asker.root / "known").write_text("x" * 64)
        (asker.root / "cluster/tokens/link").symlink_to(asker.root / "known")
        for path, text in (
            (token.path, "x" * 64), (token.path, ""), (token.path + "x", token.text), ("", token.text),
            (str(asker.root / "known"), "x" * 64), (f"{asker.root}/cluster/tokens/../../known", "x" * 64),
            (f"{asker.root}/cluster/tokens/link", "x" * 64), (f"{asker.root}/cluster/tokens", token.text),
            (token.path + "\0", token.text), (token.path, "é" * 64),
        ):  # fmt: skip
            assert not arrivals.copy_shared(manifest, manifest.key, Token(path, text)), (path, text)
    assert not arrivals.copy_shared(manifest, manifest.key, token), "it is over"
    assert not (worker.root / "tools").exists()


@pytest.mark.parametrize("damage", ["other", "gone", "link"])
def test_a_shared_entry_that_is_not_the_described_one_is_not_copied(
    asker: Cache, worker: Cache, manifest: Manifest, damage: str
) -> None:
    file = asker.entry("tools", "k") / "tool.json"
    file.unlink()
    if damage == "other":
        file.write_text("[]")
    elif damage == "link":
        (asker.root / "there").write_text("{}")
        file.symlink_to(asker.root / "there")
    with offer_token(asker) as token:
        assert not Arrivals(worker).copy_shared(manifest, manifest.key, token)
    assert list((worker.root / "tools").iterdir()) == []


def test_threads_that_bring_the_same_entry_at_once_all_have_it(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    barrier = threading.Barrier(4)

    def bring() -> Path:
        barrier.wait()
        send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
        barrier.wait()
        return arrivals.finish(manifest)

    with ThreadPoolExecutor(4) as pool:
        folders = [job.result() for job in [pool.submit(bring) for _ in range(4)]]
    assert set(folders) == {worker.root / "tools/k"}
    assert content(folders[0]) == CONTENT
    assert kept(worker) == []


def _bring(asker: Path, worker: Path, manifest: Manifest) -> None:
    assert content(arrive(Cache(asker), Cache(worker), manifest)) == CONTENT


def test_processes_that_bring_the_same_entry_at_once_all_have_it(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_bring, args=(asker.root, worker.root, manifest)) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    assert kept(worker) == []


def test_who_reads_an_entry_keeps_it_from_being_replaced(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    with worker.writing("tools", "k"), worker.storing("tools", "k") as folder:
        (folder / "tool.json").write_text("[]")
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
    finished = threading.Event()

    def finish() -> None:
        arrivals.finish(manifest)
        finished.set()

    finisher = threading.Thread(target=finish)
    with worker.reading("tools", "k"):
        finisher.start()
        assert not finished.wait(0.3)
        assert (worker.entry("tools", "k") / "tool.json").read_text() == "[]"
    finisher.join()
    assert content(worker.entry("tools", "k")) == CONTENT


# Kills a process that finishes an entry at each event that Python audits; prints what is there then.
_KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from ktstr.cluster.arrival import Arrivals
from ktstr.cluster.artifacts import describe, read_piece
from ktstr.host.cache import Cache

asker, worker, before = Cache(Path(sys.argv[1])), Cache(Path(sys.argv[2])), sys.argv[3]
manifest = describe(asker, "agents", "k")
packed = {one.digest: read_piece(asker, "agents", "k", one.path, one.index) for one in manifest.pieces.values()}
entry = worker.entry("agents", "k")

def prepare():
    shutil.rmtree(entry, ignore_errors=True)
    if before == "different":
        (entry / "usr").mkdir(parents=True)
        (entry / "usr/two").write_text("old")
    for digest, data in packed.items():
        Arrivals(worker).accept(manifest, digest, data)

def finish_and_die(limit):
    count = 0
    def hook(event, args):
        nonlocal count
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)
    arrivals = Arrivals(worker)
    sys.addaudithook(hook)
    arrivals.finish(manifest)
    os._exit(0)

limit, status = 0, None
while status != 0:
    limit += 1
    prepare()
    pid = os.fork()
    if pid == 0:
        finish_and_die(limit)
    status = os.waitpid(pid, 0)[1]
    found = Arrivals(worker).lacking(manifest).found
    old = found == "different" and (entry / "usr/two").read_text() == "old" and len(list(entry.iterdir())) == 1
    print("old" if old else found)
"""


@pytest.mark.parametrize("before", ["absent", "different"])
def test_who_is_killed_while_he_finishes_leaves_the_entry_as_it_was_or_whole(tmp_path: Path, before: str) -> None:
    asker = Cache(tmp_path / "asker")
    with asker.writing("agents", "k"), asker.storing("agents", "k") as folder:
        (folder / "usr").mkdir()
        for name in ("one", "usr/two", "usr/three"):
            (folder / name).write_text(name)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(asker.root), str(tmp_path / "worker"), before],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert len(found) > 30
    assert found == sorted(found, key=["absent", "old", "whole"].index), "first as it was, then whole, never half"
    assert {found[0], found[-1]} == {"absent" if before == "absent" else "old", "whole"}
    assert [path.name for path in (tmp_path / "worker/agents").iterdir()] == ["k"], "the next one swept"


def test_pieces_of_an_abandoned_transfer_go_after_a_day_and_not_sooner(
    asker: Cache, worker: Cache, manifest: Manifest
) -> None:
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces[:2])
    folder = worker.root / "cluster/pieces"
    old, young = kept(worker)
    half = folder / f"{old}.tmp.4194305.ab"  # of a process that cannot be
    half.write_text("half")
    for path in (folder / old, half):
        os.utime(path, (0, time.time() - DAY_S - 60))
    os.utime(folder / young, (0, time.time() - DAY_S + 60))
    assert arrivals.sweep() == 2
    assert kept(worker) == [young]
    assert arrivals.sweep(max_age_s=60) == 1
    assert kept(worker) == []


def test_pieces_that_a_new_transfer_counts_on_are_young_again(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces[:1])
    (name,) = kept(worker)
    os.utime(worker.root / "cluster/pieces" / name, (0, 0))
    assert len(arrivals.lacking(manifest).pieces) == PIECES - 1
    assert arrivals.sweep() == 0


def test_what_is_kept_is_a_class_of_the_cache_with_its_size(asker: Cache, worker: Cache, manifest: Manifest) -> None:
    arrivals = Arrivals(worker)
    send(asker, arrivals, manifest, arrivals.lacking(manifest).pieces)
    (cluster,) = read_classes(worker.root)
    assert cluster == CacheClass("cluster", 1, disk_bytes(worker.root / "cluster"))
    assert cluster.disk_bytes >= 9 * MIB


def test_a_cache_that_cannot_be_written_is_a_host_error(asker: Cache, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "worker/cluster").mkdir(parents=True)
    (tmp_path / "worker/cluster/pieces").write_text("in the way")
    (digest,) = manifest.files[1].digests
    with pytest.raises(HostError, match="cannot be written"):
        Arrivals(Cache(tmp_path / "worker")).accept(manifest, digest, pack(b"{}"))
