"""A snapshot's folder: written, read, and damaged in every way."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import HostError
from ktstr.vm.snapshot import Snapshot, Unparked
from ktstr.vm.snapshot_files import Identity, read_machine, write_snapshot, write_unparked
from ktstr.vm.snapshot_ram import Damaged, digest_of
from tests.vm.parked import PAGE, PIECE, content, ended, parked

KEY = "ab12"
NAMES = ("metadata.json", "ram-0.zst", "ram-1.zst", "state", "channel.bin", "console.log")
WHO = Identity(KEY, "7.2/tiny/eevdf/icount")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / KEY
    made.mkdir()
    write_snapshot(made, WHO, parked())
    return made


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_machine_comes_back_as_it_was(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    machine = parked()
    with no_descriptor_left():
        found = read_machine(folder)
        assert isinstance(found, Snapshot)
        with found:
            assert [content(fd) for fd in found.memory] == [content(fd) for fd in machine.memory]
            assert content(found.state) == machine.state
            assert (found.channel, found.console) == (b"channel", b"console")
            facts = found.facts
    assert (facts.kind, facts.ram_bytes, facts.data_bytes) == ("attached", 2 * PIECE, 303 * PAGE)
    assert facts.ram_digest == digest_of(machine.memory).hexdigest()


def test_memory_takes_what_its_data_takes_in_the_cache_and_open(folder: Path) -> None:
    found = read_machine(folder)
    assert isinstance(found, Snapshot)
    with found:
        assert [os.fstat(fd).st_blocks * 512 for fd in found.memory] == [300 * PAGE, 3 * PAGE]
    assert (folder / "ram-1.zst").stat().st_size < 4 * PAGE


@pytest.mark.parametrize("machine", [ended("panic"), Unparked(None, "no port I/O", b"", b"said")])
def test_a_machine_that_could_not_be_parked_comes_back_as_it_was(tmp_path: Path, machine: Unparked) -> None:
    folder = tmp_path / KEY
    folder.mkdir()
    write_unparked(folder, WHO, machine)
    assert read_machine(folder) == machine


def test_no_folder_is_nothing(tmp_path: Path) -> None:
    assert read_machine(tmp_path / KEY) is None


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x80]) + data[middle + 1 :]


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: os.truncate(path, 0),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(_flipped(path.read_bytes())),
        lambda path: (path.unlink(), path.mkdir()),
        _pipe,
        lambda path: (path.rename(path.with_name("elsewhere")), path.symlink_to("elsewhere")),
    ],
    ids=["gone", "truncated", "empty", "longer", "altered", "folder", "pipe", "link"],
)
def test_every_damage_to_every_file_is_found(folder: Path, name: str, damage: Callable[[Path], object]) -> None:
    damage(folder / name)
    with no_descriptor_left(), pytest.raises(Damaged, match=name.replace(".", r"\.")):
        read_machine(folder)


def test_a_file_of_another_machine_is_found(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_snapshot(other, WHO, parked(7))
    shutil.copy(other / "ram-0.zst", folder / "ram-0.zst")
    with pytest.raises(Damaged, match=r"ram-0\.zst"):
        read_machine(folder)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "metadata.json"
    whole = json.loads(path.read_text())
    change(whole)
    path.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda all: all.update(format=2), "has the format 2, expected 1"),
        (lambda all: all.pop("format"), "has the format None"),
        (lambda all: all.update(key="other"), "is of the key 'other'"),
        (lambda all: all.update(name="\x1b[2J"), "matching regex"),
        (lambda all: all.update(more=1), "unknown field"),
        (lambda all: all.update(snapshot=None), "more than one of snapshot, end and cold, or none"),
        (lambda all: all.update(cold="why"), "more than one of snapshot, end and cold, or none"),
        (lambda all: all["snapshot"].update(ram_digest="0" * 64), "its RAM has the digest"),
        (lambda all: all["snapshot"].update(ram_digest="0"), "matching regex"),
        (lambda all: all["snapshot"].update(pieces=[]), "has pieces of"),
        (lambda all: all["snapshot"].update(pieces=[PAGE] * 65), "has pieces of"),
        (lambda all: all["snapshot"].update(pieces=[PIECE + 1, PIECE]), "has pieces of"),
        (lambda all: all["snapshot"].update(pieces=[PIECE, 1 << 62]), "has pieces of"),
        (lambda all: all["snapshot"].update(pieces=[PIECE]), "names the files"),
        (lambda all: all["snapshot"].update(pieces=[PIECE, 2 * PIECE]), "ram-1.zst has 0 bytes for 0x400000"),
        (lambda all: all["snapshot"].update(pieces=[PIECE, -1]), "Expected `int` >= 0"),
        (lambda all: all["snapshot"].update(data_bytes=1 << 60), "more than the guest or the host has"),
        (lambda all: all["snapshot"].update(data_bytes=302 * PAGE), "more data than the"),
        (lambda all: all["snapshot"].update(data_bytes=304 * PAGE), "its RAM has the digest"),
        (lambda all: all["files"].pop("state"), "names the files"),
        (lambda all: all["files"].update({"../x": {"size": 1, "sha256": "0" * 64}}), "names the files"),
        (lambda all: all["files"]["state"].update(size=1 << 40), "more than 268435456 bytes"),
    ],
)
def test_every_lie_of_the_metadata_is_found(
    folder: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    edit(folder, change)
    with no_descriptor_left(), pytest.raises(Damaged, match=words):
        read_machine(folder)


def test_a_host_without_descriptors_is_no_damage(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(fd.name) for fd in Path("/proc/self/fd").iterdir()) + 8, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            while True:
                held.append(os.dup(0))
        os.close(held.pop())
        os.close(held.pop())
        with pytest.raises(HostError, match="open files"):
            read_machine(folder)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
