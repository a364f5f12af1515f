"""Which workers a job may go to: those that can run it; where its machine is, while there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.cluster.workers import Homes, able, names_of, resources_for
from tests.cluster.made import BIG, KVM, SMALL, facts, job, worker


def test_workers_are_called_by_the_name_they_were_given_their_host_or_their_address() -> None:
    hosts = {"tcp://1.1.1.1:5": "fat", "tcp://1.1.1.2:5": "fat", "tcp://1.1.1.3:5": "thin", "tcp://1.1.1.4:5": "thin2"}
    given = {**{address: address for address in hosts}, "tcp://1.1.1.4:5": "mine"}
    assert list(names_of(hosts, given).values()) == ["1.1.1.1:5", "1.1.1.2:5", "thin", "mine"]
    assert names_of({"tcp://1.1.1.1:5": "fat"}, {"tcp://1.1.1.1:5": 0}) == {"tcp://1.1.1.1:5": "worker-0"}


def test_a_job_is_for_fit_workers_that_run_its_guest(tmp_path: Path) -> None:
    with_kvm, without, left_out = worker("a", facts(kvm=KVM)), worker("b"), worker("c", facts(kvm=KVM), "is full")
    everyone = [with_kvm, without, left_out]
    assert able(job(tmp_path), everyone) == [with_kvm, without]
    assert able(job(tmp_path, accel="kvm"), everyone) == [with_kvm]
    assert able(job(tmp_path, accel="kvm"), [without, left_out]) == []


def test_a_job_in_real_time_is_for_its_class_of_host(tmp_path: Path) -> None:
    workers = [worker("a", facts(host_class=BIG)), worker("b", facts(host_class=SMALL))]
    assert [one.address for one in able(job(tmp_path, host_class=SMALL), workers)] == ["b"]
    assert len(able(job(tmp_path), workers)) == 2


def test_what_no_worker_is_large_enough_for_may_go_to_any(tmp_path: Path) -> None:
    """``no_skip=1`` tries it."""
    workers = [worker("a", facts(memory_mib=1000)), worker("b", facts(memory_mib=4000))]
    assert [one.address for one in able(job(tmp_path, memory_mib=2000), workers)] == ["b"]
    assert len(able(job(tmp_path, memory_mib=9000), workers)) == 2


def test_clones_of_one_machine_go_where_it_was_made_until_that_is_full(tmp_path: Path) -> None:
    homes, workers = Homes(), [worker("a", facts(cpus=2)), worker("b", facts(cpus=2))]
    first = homes.choose(job(tmp_path), workers)
    places = []
    for _ in range(4):
        (address,) = homes.choose(job(tmp_path), workers)
        homes.starts(job(tmp_path), address)
        places.append(address)
    other = {"a": "b", "b": "a"}[first[0]]
    assert places == [first[0], first[0], other, other]
    homes.ends(job(tmp_path), other)
    assert homes.choose(job(tmp_path), workers) == (other,)


def test_clones_of_another_machine_go_where_there_is_most_room(tmp_path: Path) -> None:
    homes, workers = Homes(), [worker("a", facts(cpus=3)), worker("b", facts(cpus=2))]
    homes.starts(job(tmp_path, "m", cpus=2), "a")
    assert homes.choose(job(tmp_path, "other"), workers) == ("b",)


def test_where_nobody_has_room_a_clone_waits_for_its_machine_and_all_else_for_anybody(tmp_path: Path) -> None:
    homes, workers = Homes(), [worker("a", facts(cpus=1)), worker("b", facts(cpus=1))]
    homes.starts(job(tmp_path), "a")
    homes.starts(job(tmp_path, "other"), "b")
    assert homes.choose(job(tmp_path), workers) == ("a",)
    assert homes.choose(job(tmp_path, "third"), workers) == ("a", "b")
    assert homes.choose(job(tmp_path, None), workers) == ("a", "b")


def test_both_sides_of_a_comparison_run_on_one_worker_full_or_not_in_this_run_or_the_next(tmp_path: Path) -> None:
    homes, workers = Homes(), [worker("a", facts(cpus=1)), worker("b", facts(cpus=1))]
    (home,) = homes.choose(job(tmp_path, together="pair"), workers)
    homes.starts(job(tmp_path), home)
    assert homes.choose(job(tmp_path, together="pair"), workers) == (home,)
    assert Homes().choose(job(tmp_path, together="pair"), workers[::-1]) == (home,)
    assert homes.choose(job(tmp_path, together="pair"), [one for one in workers if one.address != home]) != (home,)
    homes_of_many = {homes.choose(job(tmp_path, together=f"pair {i}"), workers) for i in range(20)}
    assert homes_of_many == {("a",), ("b",)}


@pytest.mark.parametrize(
    ("accel", "cpus", "taken"),
    [
        ("icount", 1, {"CPU": 1, "MEM": 400}),
        ("tcg", 8, {"CPU": 2, "MEM": 400}),
        ("kvm", 8, {"CPU": 2, "MEM": 400, "KVM": 1}),
    ],
)
def test_a_job_takes_no_more_than_any_of_its_workers_has(
    tmp_path: Path, accel: str, cpus: int, taken: dict[str, int]
) -> None:
    workers = [worker("a", facts(cpus=2)), worker("b", facts(cpus=64))]
    assert resources_for(job(tmp_path, cpus=cpus, accel=accel), workers) == taken
