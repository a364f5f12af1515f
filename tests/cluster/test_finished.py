"""What a worker keeps of a result until it is told that it arrived."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import zstandard

from ktstr.cells.job import CellResult, JobError
from ktstr.cluster import wire
from ktstr.cluster.finished import Finished
from ktstr.cluster.manifest import PIECE
from ktstr.cluster.wire import Done, OutFile, unpack_file
from ktstr.errors import HostError

DIGEST = "ab" * 32
RESULT = CellResult("cell", DIGEST, error=JobError("none", None, 3))


def kept(folder: Path, ticket: str = "t1", **files: bytes) -> Done:
    workdir = folder / "run"
    workdir.mkdir(parents=True)
    for name, data in files.items():
        (workdir / name).write_bytes(data)
    return Finished(folder).keep(RESULT, ticket, workdir)


def test_small_files_come_with_the_result_and_large_ones_by_pieces(tmp_path: Path) -> None:
    core = os.urandom(PIECE + 10)
    done = kept(tmp_path, console=b"hello\n" * 100, core=core)
    sent = wire.decode(wire.encode(done), Done)
    assert sent == done and done.result == RESULT
    console, large = sorted(sent.files, key=lambda file: file.name)
    assert unpack_file(console) == b"hello\n" * 100
    assert (large.name, large.size, large.data) == ("core", len(core), None)
    finished, name = Finished(tmp_path), str(done.kept)
    assert finished.piece(name, "core", 0) + finished.piece(name, "core", PIECE) == core


def test_what_is_kept_is_found_by_its_inputs_until_it_has_arrived(tmp_path: Path) -> None:
    done, finished = kept(tmp_path, log=b"x"), Finished(tmp_path)
    assert finished.digests() == (DIGEST,) and finished.find(DIGEST) == done
    with pytest.raises(HostError, match="keeps nothing"):
        finished.find("cd" * 32)
    finished.drop([str(done.kept)])
    assert finished.digests() == ()
    with pytest.raises(HostError, match="keeps nothing"):
        finished.find(DIGEST)


def test_of_two_runs_of_the_same_inputs_each_is_found_by_its_submission(tmp_path: Path) -> None:
    first, second = kept(tmp_path, log=b"1"), kept(tmp_path, "t2", log=b"2")
    finished = Finished(tmp_path)
    assert (finished.find(DIGEST, "t1"), finished.find(DIGEST, "t2")) == (first, second)
    with pytest.raises(HostError, match="keeps nothing"):
        finished.find(DIGEST, "t3")


def test_what_nobody_asks_for_expires(tmp_path: Path) -> None:
    done, finished = kept(tmp_path, log=b"x"), Finished(tmp_path)
    finished.sweep()
    assert finished.find(DIGEST) == done
    folder = tmp_path / "cluster/finished" / str(done.kept)
    os.utime(folder, (time.time() - 90000, time.time() - 90000))
    assert finished.digests() == () and folder.exists()
    finished.sweep()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "..", "", "a/b", "x\0y"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    done, finished = kept(tmp_path, log=b"x"), Finished(tmp_path)
    for words in ((name, "log"), (str(done.kept), name)):
        with pytest.raises(HostError, match="plain name"):
            finished.piece(*words, 0)
    with pytest.raises(HostError, match="plain name"):
        finished.drop([name])


def test_a_file_that_is_not_what_it_says_is_refused() -> None:
    bomb = b"\1" + zstandard.ZstdCompressor().compress(bytes(65 << 20))
    for file in (OutFile("x", 65 << 20, bomb), OutFile("x", 5, b"no zstd"), OutFile("x", 4, bomb)):
        with pytest.raises(HostError):
            unpack_file(file)


def test_a_message_of_another_kind_is_refused() -> None:
    with pytest.raises(HostError, match="no Done"):
        wire.decode(wire.encode({"type": "Lacking", "refs": []}), Done)
    with pytest.raises(HostError, match="no Done"):
        wire.decode(b"\xc1 not msgpack", Done)
