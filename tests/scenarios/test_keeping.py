from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.config.load import parse
from ktstr.config.model import Config
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios.changed import words_of
from ktstr.scenarios.compile import Compiled, Part, Programs, compile_test, count_changes
from ktstr.scenarios.keeping import Seedable, WorkerAt, changes_of, kept
from ktstr.scenarios.perturb import Perturbations
from ktstr.scenarios.program import AddCgroup, Delay, Op, Release, Spawn, StopWorkers, Work, Worker

TEXT = """
tests:
  two:
    duration: 1s
    cgroups:
      - {name: left, workers: 3}
      - {name: right, works: [{workers: 2}, {work: PipeIo, workers: 2}]}
  steps:
    backdrop: {cgroups: [{name: base, workers: 2}]}
    steps:
      - {hold: 200ms, cgroups: [{name: a, workers: 2}, {name: b, workers: 1}]}
      - {hold: 200ms, cgroups: [{name: a, workers: 2}]}
"""
TOPOLOGY = Topology.parse("1n1l4c1t")
NOTHING = Programs(None)


def config() -> Config:
    return parse(TEXT.encode(), Path("ktstr.yaml"), validated=True)


def made(test: str, seed: int, keep: tuple[int, ...] | None = None) -> Compiled:
    return compile_test(config().tests[test], TOPOLOGY, config().schedulers["eevdf"], Part(seed, keep), NOTHING)


def count(test: str, seed: int) -> int:
    return count_changes(config().tests[test], TOPOLOGY, config().schedulers["eevdf"], seed, NOTHING)


# Two works of two workers and one. The seed spawns work 1 first, so worker 0 is its only one, and 1 and 2 those of
# work 0; releases 2, 0, 1; lets workers 0 and 2 start later; and delays, in its order, spawn 1 and the stop.
WHAT = Seedable(
    (Work("SpinWait", 0, (Worker(), Worker())), Work("SpinWait", 1, (Worker(),))),
    (AddCgroup(0), Spawn(0), Spawn(1), Release(), StopWorkers()),
)
SHIFTS = Perturbations(5, (1, 0), (2, 0, 1), (10, 0, 30), (0, 7, 0, 0, 9))
FIRST, SECOND, THIRD = WorkerAt(0, 0), WorkerAt(0, 1), WorkerAt(1, 0)


def test_changes_belong_to_works_workers_and_ops_as_declared() -> None:
    assert [(change.kind, change.of, change.ns) for change in changes_of(WHAT, SHIFTS)] == [
        ("spawn", 0, 0),
        ("spawn", 1, 0),
        ("release", FIRST, 0),
        ("release", SECOND, 0),
        ("release", THIRD, 0),
        ("start", SECOND, 30),
        ("start", THIRD, 10),
        ("delay", 2, 7),  # the ops: the cgroup, spawn 0, spawn 1, the release, the stop
        ("delay", 4, 9),
    ]


def test_a_kept_change_means_the_same_without_the_others() -> None:
    alone = kept(WHAT, SHIFTS, [5, 7])
    # Unless the spawns change places, the third worker is the second one of work 0's rival: number 2.
    assert (alone.spawn_order, alone.release_order) == ((0, 1), (0, 1, 2))
    assert alone.start_offsets_ns == (0, 30, 0)
    assert alone.delays_ns == (0, 0, 7, 0, 0)
    assert alone.kept == (5, 7)


def test_an_order_is_kept_among_those_that_are() -> None:
    def released(*keep: int) -> tuple[int, ...]:
        return kept(WHAT, SHIFTS, keep).release_order

    # The seed releases SECOND, THIRD, FIRST; unperturbed their numbers are FIRST 0, SECOND 1, THIRD 2.
    assert released(2) == (0, 1, 2)
    assert released(2, 3) == (1, 0, 2)
    assert released(2, 4) == (2, 1, 0)
    assert released(3, 4) == (0, 1, 2)
    assert released(2, 3, 4) == (1, 2, 0)


@pytest.mark.parametrize("test", ["two", "steps"])
@given(seed=st.integers(1, 2**64 - 1))
def test_all_changes_are_the_seed_and_none_are_seed_0(test: str, seed: int) -> None:
    whole, every = made(test, seed), tuple(range(count(test, seed)))
    assert made(test, seed, every).program == whole.program
    assert replace(made(test, seed, ()).program, seed=0) == made(test, 0).program


@given(seed=st.integers(1, 2**64 - 1), data=st.data())
def test_a_part_has_the_delays_and_offsets_that_it_keeps_and_no_others(seed: int, data: st.DataObject) -> None:
    keep = data.draw(st.sets(st.integers(0, count("two", seed) - 1)))
    part, whole = made("two", seed, tuple(sorted(keep))), made("two", seed)
    offsets = [worker.start_offset_ns for work in part.program.works for worker in work.workers]
    every = [worker.start_offset_ns for work in whole.program.works for worker in work.workers]
    assert all(own in (0, full) for own, full in zip(offsets, every, strict=True))
    delays = [op.duration_ns for op in part.program.ops if isinstance(op, Delay)]
    assert sum(ns > 0 for ns in offsets) + len(delays) <= len(keep)
    assert set(delays) <= {ns for ns in whole.perturbations.delays_ns if ns}
    assert sorted(part.perturbations.release_order) == list(range(7))


def test_a_change_that_the_seed_does_not_make_is_refused() -> None:
    number = count("two", 3)
    with pytest.raises(InputError, match=rf"keep={number}: seed 3 makes {number} changes to two"):
        made("two", 3, (0, number))
    with pytest.raises(InputError, match="seed 0 makes 0 changes"):
        made("two", 0, (0,))


def words(shifts: Perturbations) -> tuple[str, ...]:
    """What they do to ``two``, in words."""
    plain = made("two", 0)
    works = list(plain.program.works)
    ops: list[Op] = [op for op in plain.program.ops if not isinstance(op, Spawn)]
    ops[2:2] = map(Spawn, shifts.spawn_order)
    program = replace(plain.program, ops=tuple(ops), works=tuple(works))
    return words_of(replace(plain, program=program, perturbations=shifts), plain)


def test_nothing_changed_has_no_words() -> None:
    assert words_of(made("two", 9, ()), made("two", 0)) == ()


def test_what_is_kept_is_said_in_words() -> None:
    none = made("two", 0).perturbations
    late = replace(none, start_offsets_ns=(0, 0, 1_412_000, 0, 0, 0, 0), delays_ns=(0, 70_000, *none.delays_ns[2:]))
    assert words(late) == (
        "worker 2 of cgroup left starts 1.412 ms later",
        "the agent waits 0.070 ms before this: make cgroup right",
    )
    assert words(replace(none, spawn_order=(1, 0, 2), release_order=(0, 4, 2, 3, 1, 5, 6))) == (
        "workers are spawned first in cgroup right (SpinWait), then in cgroup left",
        "these are released in this order: worker 4 of cgroup left, worker 1 of cgroup right (SpinWait)",
    )
