"""Reservations, with real locks on files in a folder of the test's own."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktstr.cancel import Cancel, Cancelled
from ktstr.errors import HostError, InputError
from ktstr.host.cpu_topology import HostTopology, read_topology
from ktstr.host.locks import survey, to_json, to_text
from ktstr.host.reserve import Busy, Reservation, choose, exclude, llc_lock, share, waiting
from tests.host.sysfs import write_host
from tests.host.waits import cancelled_soon


@pytest.fixture
def four(tmp_path: Path) -> HostTopology:
    """Four LLCs of two CPUs, two on each node."""
    llcs: list[tuple[int | None, str]] = [(0, "0-1"), (1, "2-3"), (2, "4-5"), (3, "6-7")]
    write_host(tmp_path / "host", llcs, {0: "0-3", 1: "4-7"})
    return read_topology(tmp_path / "host")


ALL = range(8)


@contextmanager
def held(path: Path, operation: int) -> Iterator[None]:
    """Somebody else's lock: another open file description, as of another process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(fd, operation)
    try:
        yield
    finally:
        os.close(fd)


def test_shared_llcs_come_first_then_those_of_their_node(four: HostTopology) -> None:
    assert [llc.index for llc in choose(four, ALL, lambda index: int(index == 2))] == [2, 3, 0, 1]
    assert [llc.index for llc in choose(four, ALL, lambda index: 0)] == [0, 1, 2, 3]


def test_llcs_without_an_allowed_cpu_are_not_chosen(four: HostTopology) -> None:
    assert [llc.index for llc in choose(four, {3, 6}, lambda index: 0)] == [1, 3]
    with pytest.raises(HostError, match="no host LLC"):
        choose(four, {99}, lambda index: 0)


def test_a_cap_takes_exactly_so_many_cpus(four: HostTopology, tmp_path: Path) -> None:
    with share(3, tmp_path, topology=four, allowed=ALL) as found:
        assert (found.cpus, found.llcs, found.nodes) == ((0, 1, 2), (0, 1), (0,))


def test_two_may_share_an_llc(four: HostTopology, tmp_path: Path) -> None:
    with share(2, tmp_path, topology=four, allowed=ALL) as first, share(2, tmp_path, topology=four, allowed=ALL) as two:
        assert first.llcs == two.llcs == (0,)


def test_without_a_cap_what_others_hold_for_themselves_is_left_out(four: HostTopology, tmp_path: Path) -> None:
    with held(llc_lock(tmp_path, 1), fcntl.LOCK_EX), share(None, tmp_path, topology=four, allowed=ALL) as found:
        assert found.cpus == (0, 1, 4, 5, 6, 7)


def test_a_cap_that_cannot_be_had_names_the_holders_and_keeps_nothing(four: HostTopology, tmp_path: Path) -> None:
    with held(llc_lock(tmp_path, 1), fcntl.LOCK_EX), pytest.raises(Busy, match=f"pid={os.getpid()}"):
        share(8, tmp_path, topology=four, allowed=ALL)
    with exclude(4, 2, tmp_path, topology=four, allowed=range(9)) as found:
        assert found.llcs == (0, 1, 2, 3)


def test_a_cap_above_what_is_allowed_is_the_users_mistake(four: HostTopology, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exceeds the 8 CPUs"):
        share(9, tmp_path, topology=four, allowed=ALL)


def test_exclusive_runs_take_different_llcs_and_then_none_is_left(four: HostTopology, tmp_path: Path) -> None:
    first = exclude(2, 2, tmp_path, topology=four, allowed=ALL)
    second = exclude(2, 2, tmp_path, topology=four, allowed=ALL)
    assert (first.llcs, second.llcs) == ((0, 1), (2, 3))
    with pytest.raises(Busy, match="all LLC slots busy"):
        exclude(1, 2, tmp_path, topology=four, allowed=ALL)
    first.release()
    with exclude(1, 2, tmp_path, topology=four, allowed=ALL) as third:
        assert third.llcs == (0,)
    second.release()


def test_a_host_too_small_says_what_it_has(four: HostTopology, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="needs 4 LLCs of 2 CPUs and one CPU more; this host has 4 such LLCs and 8"):
        exclude(4, 2, tmp_path, topology=four, allowed=ALL)


def test_the_lock_folder_may_be_missing_or_unwritable(four: HostTopology, tmp_path: Path) -> None:
    with share(1, tmp_path / "new", topology=four, allowed=ALL):
        assert llc_lock(tmp_path / "new", 0).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="KTSTR_LOCK_DIR"):
        share(1, tmp_path / "file", topology=four, allowed=ALL)


def test_locks_shows_each_lock_and_its_holder(four: HostTopology, tmp_path: Path) -> None:
    (tmp_path / "cache/.locks").mkdir(parents=True)
    (tmp_path / "cache/.locks/kernels-6.14.lock").touch()
    with share(1, tmp_path, topology=four, allowed=ALL):
        rows = survey(four, tmp_path, tmp_path / "cache", tmp_path / "runs")
    assert [(row.name, row.node, len(row.holders)) for row in rows["llcs"]] == [("0", 0, 1)]
    assert [(row.name, row.holders) for row in rows["cache"]] == [("kernels-6.14", ())]
    assert rows["run_dirs"] == []
    assert f"  0 (node 0)  pid={os.getpid()}" in to_text(rows)
    assert "  kernels-6.14  free" in to_text(rows)
    assert "Run directories:\n  (none)" in to_text(rows)
    assert '"llc_idx": 0' in to_json(rows)
    assert "\n" not in to_json(rows, compact=True).rstrip("\n")


def test_who_waits_is_told_once_who_has_it_and_gets_it_then(four: HostTopology, tmp_path: Path) -> None:
    told: list[str] = []
    first = exclude(4, 2, tmp_path, topology=four, allowed=range(9))
    threading.Timer(0.6, first.release).start()
    with waiting(lambda: share(2, tmp_path, topology=four, allowed=ALL), 30, Cancel(), told.append) as found:
        assert found.cpus == (0, 1)
    assert len(told) == 1 and told[0].startswith("could not reserve 2 CPUs; held by:")
    with waiting(lambda: share(2, tmp_path, topology=four, allowed=ALL), 30, Cancel(), told.append):
        assert len(told) == 1, "nobody is told of no wait"


def test_a_wait_for_cpus_ends_with_its_time_or_when_it_is_cancelled(four: HostTopology, tmp_path: Path) -> None:
    def take() -> Reservation:
        return share(2, tmp_path, topology=four, allowed=ALL)

    cancel = Cancel()
    with exclude(4, 2, tmp_path, topology=four, allowed=range(9)):
        with pytest.raises(Busy, match=f"pid={os.getpid()}"):
            waiting(take, 0.3, Cancel())
        with cancelled_soon(cancel):
            waiting(take, 60, cancel)
    with pytest.raises(Cancelled):
        waiting(take, 60, cancel)


def test_what_this_host_cannot_give_is_not_waited_for(four: HostTopology, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exceeds the 8 CPUs"):
        waiting(lambda: share(9, tmp_path, topology=four, allowed=ALL), 60, Cancel())
