"""Sealed memory files, and who owns their descriptors."""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time

import pytest

from ktstr.errors import HostError
from ktstr.vm import snapshot as module
from ktstr.vm.descriptors import memory_file
from ktstr.vm.snapshot import Snapshot, SnapshotFacts, Unparked, seal, sealed_file
from tests.vm.parked import PAGE, ended


def test_a_sealed_file_can_be_read_and_mapped_private_and_never_changed() -> None:
    fd = sealed_file("test", b"x" * PAGE)
    try:
        for change in (lambda: os.pwrite(fd, b"y", 0), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 2 * PAGE)):
            with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
                change()
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with mmap.mmap(fd, PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as clone:
            clone[0] = ord("y")
            assert clone[:2] == b"yx"
        assert os.pread(fd, PAGE, 0) == b"x" * PAGE
        seal(fd)
    finally:
        os.close(fd)


def test_sealing_waits_for_the_machines_mapping_to_go() -> None:
    fd = memory_file("test", PAGE)
    mapped = mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    unmap = threading.Timer(0.2, mapped.close)
    began = time.monotonic()
    unmap.start()
    try:
        seal(fd)
        assert time.monotonic() - began >= 0.15
    finally:
        unmap.join()
        os.close(fd)


def test_a_mapping_that_stays_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNMAP_S", 0.05)
    fd = memory_file("test", PAGE)
    try:
        with (
            mmap.mmap(fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            pytest.raises(HostError, match="still mapped"),
        ):
            seal(fd)
    finally:
        os.close(fd)


def test_a_file_that_nobody_may_seal_is_a_mistake_of_its_maker() -> None:
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    try:
        with pytest.raises(ValueError, match="MFD_ALLOW_SEALING"):
            seal(fd)
    finally:
        os.close(fd)


def test_a_snapshot_closes_its_descriptors_once() -> None:
    memory, state = sealed_file("ram", b"r" * PAGE), sealed_file("state", b"s")
    facts = SnapshotFacts("booted", "0" * 64, (PAGE,), PAGE)
    with Snapshot(facts, (memory,), state, channel=b"", console=b"") as snapshot:
        os.fstat(memory)
    for fd in (memory, state):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(fd)
    again = os.dup(0)  # takes one of the numbers
    snapshot.close()
    os.fstat(again)
    os.close(again)


def test_what_could_not_be_parked_has_one_reason() -> None:
    assert Unparked(None, "no port I/O", b"", b"").lasting
    assert ended("panic").lasting
    assert not ended("host_timeout").lasting
    for end, cold in ((None, None), (ended("panic").end, "no port I/O")):
        with pytest.raises(ValueError, match="expected one"):
            Unparked(end, cold, b"", b"")
