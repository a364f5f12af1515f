from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks.model import WorkGroup
from ktstr.config.load import parse
from ktstr.config.model import Binary, Builtin, Config, SchedulerDecl, TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios.compile import compile_test
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Delay,
    Hold,
    Op,
    Payload,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
    spawn_order,
)

EEVDF = SchedulerDecl("eevdf", Builtin("eevdf"))
SCX = SchedulerDecl("scx", Binary(Path("/x")), args=("-v",), attach_timeout_ns=3_000_000_000, where="ktstr.yaml:9:3")
TINY = Topology.parse("1n2l2c1t")
TEXT = """
kernels: {k: 6.14}
tests:
  two:
    duration: 1s
    scheduler_args: [--slice, 5]
    cgroups:
      - {name: left, workers: 2, cpuset: {llc: 0}, expect_cpuset: {exact: 0}}
      - name: right
        works:
          - {work: Bursty, workers: 1, burst: 5ms}
          - {work: FutexPingPong, workers: 2, policy: batch, nice: 3, affinity: [1, 3]}
  far: {cgroups: [{name: a, cpuset: {llc: 2}}]}
  wide: {cgroups: [{name: a, cpuset: {exact: 0-9}}]}
  pinned: {cgroups: [{name: a, cpuset: {llc: 0}, affinity: 2-3}]}
  outside: {cgroups: [{name: a, affinity: 8}]}
"""


def config() -> Config:
    return parse(TEXT.encode(), Path("ktstr.yaml"), validated=True)


def declared(name: str) -> TestDecl:
    return config().tests[name]


def test_a_program_without_perturbations() -> None:
    compiled = compile_test(declared("two"), TINY, SCX, 0, "scx")
    program = compiled.program
    assert program.cgroups == (Cgroup("left", (0, 1)), Cgroup("right"))
    assert program.works == (
        Work("SpinWait", 0, (Worker(0, 0), Worker(0, 1))),
        Work("Bursty", 1, (Worker(0, 2),), (5_000_000, 100_000_000)),
        Work("FutexPingPong", 1, (Worker(0, 3), Worker(0, 4)), (1024,), "batch", 0, 3, (1, 3)),
    )
    assert program.payloads == ()
    assert program.ops == (
        AddCgroup(0),
        AddCgroup(1),
        Spawn(0),
        Spawn(1),
        Spawn(2),
        Release(),
        Hold(1_000_000_000),
        StopWorkers(timeout_ns=5_000_000_000),
        RemoveCgroups(),
        StopScheduler(5_000_000_000),
    )
    # duration 1 s + stopping workers 5 s and scheduler 5 s + margin 10 s
    assert program.deadline_ns == 21_000_000_000
    assert program.seed == 0
    assert compiled.cgroup_names == ("left", "right")


def test_the_scheduler_is_started_in_the_setup_which_no_seed_changes() -> None:
    setup = compile_test(declared("two"), TINY, SCX, 0, "scx").setup
    assert setup is not None
    assert setup.payloads == (Payload(("/sched/bin/scx", "-v", "--slice", "5")),)
    assert setup.ops == (StartScheduler(0, 3_000_000_000),)
    assert setup.deadline_ns == 18_000_000_000  # attach 3 s + stopping 5 s + margin 10 s
    assert compile_test(declared("two"), TINY, SCX, 9, "scx").setup == setup


def test_tables_name_what_the_numbers_mean() -> None:
    compiled = compile_test(declared("two"), TINY, EEVDF, 0)
    assert compiled.works == (
        WorkGroup(0, "left", "SpinWait", 2, (0,)),
        WorkGroup(1, "right", "Bursty", 1, None, (5_000_000, 100_000_000)),
        WorkGroup(2, "right", "FutexPingPong", 2, None, (1024,), "batch", 0, 3),
    )


def test_the_kernel_s_own_scheduler_is_neither_started_nor_stopped() -> None:
    compiled = compile_test(declared("two"), TINY, EEVDF, 0)
    program = compiled.program
    assert compiled.setup is None
    assert program.payloads == ()
    assert isinstance(program.ops[0], AddCgroup)
    assert program.ops[-1] == RemoveCgroups()


def test_isolation_is_judged_by_the_cpuset_unless_another_is_expected() -> None:
    text = TEXT.replace(", expect_cpuset: {exact: 0}", "")
    test = parse(text.encode(), Path("ktstr.yaml"), validated=True).tests["two"]
    assert compile_test(test, TINY, EEVDF, 0).works[0].cpus == (0, 1)


def without_delays(ops: tuple[Op, ...]) -> list[Op]:
    return [op for op in ops if not isinstance(op, Delay)]


def _unseeded(work: Work) -> Work:
    return replace(work, workers=(Worker(),) * len(work.workers))


@given(st.integers(1, 2**64 - 1))
def test_a_seed_changes_order_and_time_and_nothing_else(seed: int) -> None:
    test = declared("two")
    plain = compile_test(test, TINY, SCX, 0, "scx")
    made = compile_test(test, TINY, SCX, seed, "scx")
    shifts = made.perturbations
    ops = made.program.ops
    assert [type(op) for op in without_delays(ops)] == [type(op) for op in plain.program.ops]
    assert [op.duration_ns for op in ops if isinstance(op, Delay)] == [ns for ns in shifts.delays_ns if ns]
    assert tuple(op.work for op in ops if isinstance(op, Spawn)) == shifts.spawn_order == spawn_order(made.program)
    numbered = [worker for i in shifts.spawn_order for worker in made.program.works[i].workers]
    assert tuple(worker.start_offset_ns for worker in numbered) == shifts.start_offsets_ns
    assert tuple(sorted(range(len(numbered)), key=lambda i: numbered[i].order or 0)) == shifts.release_order
    assert [_unseeded(work) for work in made.program.works] == [_unseeded(work) for work in plain.program.works]
    assert (made.program.cgroups, made.program.payloads) == (plain.program.cgroups, plain.program.payloads)
    encode(made.program)
    late = max(shifts.start_offsets_ns) + sum(shifts.delays_ns)
    assert made.program.deadline_ns == plain.program.deadline_ns + late
    assert (made.works, made.cgroup_names) == (plain.works, plain.cgroup_names)


def test_a_delay_stands_before_the_step_it_was_drawn_for() -> None:
    test = declared("two")
    steps = (AddCgroup, Spawn, Release, StopWorkers)
    for seed in range(1, 40):
        compiled = compile_test(test, TINY, EEVDF, seed)
        found, waiting = [], 0
        for op in compiled.program.ops:
            if isinstance(op, Delay):
                waiting = op.duration_ns
            elif isinstance(op, steps):
                found.append(waiting)
                waiting = 0
        assert tuple(found) == compiled.perturbations.delays_ns


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("far", "ktstr.yaml:13:37 tests.far.cgroups[0].cpuset.llc: found LLC 2, expected 0 to 1"),
        ("wide", "ktstr.yaml:14:38 tests.wide.cgroups[0].cpuset.exact: found CPUs 4-9, expected CPUs 0-3"),
        (
            "pinned",
            "ktstr.yaml:15:22 tests.pinned.cgroups[0].affinity: found CPUs 2-3, expected one of the cpuset's CPUs,"
            " 0-1 (topology 1n2l2c1t)",
        ),
        ("outside", "ktstr.yaml:16:23 tests.outside.cgroups[0].affinity: found CPUs 8, expected CPUs 0-3"),
    ],
)
def test_what_does_not_fit_the_machine_is_told_with_its_place(name: str, message: str) -> None:
    with pytest.raises(InputError) as err:
        compile_test(declared(name), TINY, EEVDF, 0)
    assert str(err.value).startswith(message)


def test_an_affinity_is_cut_to_the_cpuset() -> None:
    text = TEXT.replace("affinity: 2-3", "affinity: 1-3")
    test = parse(text.encode(), Path("ktstr.yaml"), validated=True).tests["pinned"]
    (work,) = compile_test(test, TINY, EEVDF, 0).program.works
    assert work.affinity == (1,)


def test_more_arguments_than_the_agent_takes() -> None:
    many = replace(SCX, args=("x",) * 62)
    with pytest.raises(InputError, match=r"ktstr\.yaml:9:3 schedulers\.scx\.args: found 64 arguments of 149 bytes"):
        compile_test(declared("two"), TINY, many, 0, "scx")
    long = replace(SCX, args=("ü" * 4096,))
    with pytest.raises(InputError, match="expected at most 63 of 8192"):
        compile_test(declared("two"), TINY, long, 0, "scx")


def test_where_a_cpuset_is_written_does_not_change_the_program() -> None:
    moved = parse(("\n\n" + TEXT).encode(), Path("ktstr.yaml"), validated=True).tests["two"]
    assert compile_test(moved, TINY, SCX, 3, "scx") == compile_test(declared("two"), TINY, SCX, 3, "scx")
