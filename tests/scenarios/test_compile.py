from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.checks.model import WorkGroup
from ktstr.config.load import parse
from ktstr.config.model import Binary, Builtin, Config, SchedulerDecl, SchedulerOp, TestDecl
from ktstr.config.topology import Topology
from ktstr.errors import InputError
from ktstr.scenarios.compile import Compiled, Other, Programs, compile_test
from ktstr.scenarios.encode import encode
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Delay,
    Hold,
    Op,
    Payload,
    Read,
    Release,
    RemoveCgroups,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
    Write,
    spawn_order,
)

S = 1_000_000_000
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
    compiled = compile_test(declared("two"), TINY, SCX, 0, Programs("scx"))
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
    setup = compile_test(declared("two"), TINY, SCX, 0, Programs("scx")).setup
    assert setup is not None
    assert setup.payloads == (Payload(("/sched/bin/scx", "-v", "--slice", "5")),)
    assert setup.ops == (StartScheduler(0, 3_000_000_000),)
    assert setup.deadline_ns == 21_000_000_000  # attach 3 s, twice + stopping 5 s + margin 10 s
    assert compile_test(declared("two"), TINY, SCX, 9, Programs("scx")).setup == setup


def test_tables_name_what_the_numbers_mean() -> None:
    compiled = compile_test(declared("two"), TINY, EEVDF, 0)
    assert compiled.works == (
        WorkGroup(0, "left", "SpinWait", 2, (0,), nodes=(0,)),
        WorkGroup(1, "right", "Bursty", 1, None, (5_000_000, 100_000_000)),
        WorkGroup(2, "right", "FutexPingPong", 2, None, (1024,), "batch", 0, 3, fewest_cpus=2),
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
    plain = compile_test(test, TINY, SCX, 0, Programs("scx"))
    made = compile_test(test, TINY, SCX, seed, Programs("scx"))
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
            "ktstr.yaml:15:60 tests.pinned.cgroups[0].affinity: found CPUs 2-3, expected one of the cpuset's CPUs,"
            " 0-1 (topology 1n2l2c1t)",
        ),
        ("outside", "ktstr.yaml:16:43 tests.outside.cgroups[0].affinity: found CPUs 8, expected CPUs 0-3"),
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
        compile_test(declared("two"), TINY, many, 0, Programs("scx"))
    long = replace(SCX, args=("ü" * 4096,))
    with pytest.raises(InputError, match="expected at most 63 of 8192"):
        compile_test(declared("two"), TINY, long, 0, Programs("scx"))


def test_where_a_cpuset_is_written_does_not_change_the_program() -> None:
    moved = parse(("\n\n" + TEXT).encode(), Path("ktstr.yaml"), validated=True).tests["two"]
    there, here = (compile_test(test, TINY, SCX, 3, Programs("scx")) for test in (moved, declared("two")))
    assert there == here


def test_a_scheduler_s_arguments_come_in_order_its_file_and_cgroup_first() -> None:
    told = replace(SCX, config="conf/layers.json", cgroup_parent="/cells")
    compiled = compile_test(declared("two"), TINY, told, 0, Programs("scx"))
    assert compiled.setup is not None
    assert compiled.setup.payloads == (
        Payload(
            (
                "/sched/bin/scx", "--config", "/sched/files/conf/layers.json", "--cell-parent-cgroup", "/cells", "-v",
                "--slice", "5",
            )
        ),
    )  # fmt: skip


def test_settings_of_the_kernel_s_own_are_written_and_read_back_around_the_workload() -> None:
    tuned = SchedulerDecl("tuned", Builtin("eevdf", (("/proc/sys/a", "1"), ("/proc/sys/b", "2")), (("/sys/c", "3"),)))
    plain, compiled = (compile_test(declared("two"), TINY, one, 7) for one in (EEVDF, tuned))
    ops = compiled.program.ops
    assert ops[:4] == (Write("/proc/sys/a", "1"), Read("/proc/sys/a"), Write("/proc/sys/b", "2"), Read("/proc/sys/b"))
    assert ops[4:-2] == plain.program.ops
    assert ops[-2:] == (Write("/sys/c", "3"), Read("/sys/c"))
    assert plain.settings == {}
    assert {place: (ops[place], one.value) for place, one in compiled.settings.items()} == {
        1: (Read("/proc/sys/a"), "1"),
        3: (Read("/proc/sys/b"), "2"),
        len(ops) - 1: (Read("/sys/c"), "3"),
    }


def replaced(*ops: SchedulerOp, **more: Any) -> Compiled:
    other = SchedulerDecl(
        "mine", Binary(Path("/x/scx_mine")), ("-m",), attach_timeout_ns=9 * S, config="a.json", where="ktstr.yaml:7:3",
        **more,
    )  # fmt: skip
    test = replace(declared("two"), scheduler_ops=ops)
    return compile_test(test, TINY, SCX, 0, Programs("scx", {"mine": Other(other, "scx_mine")}))


def test_another_scheduler_takes_the_place_with_its_own_folder_arguments_and_time() -> None:
    op = SchedulerOp(S, "replace", None, "mine")
    made = replaced(op, replace(op, args=("-o",)), SchedulerOp(S, "replace", ("-b",)))
    config = ("--config", "/sched/other/mine/files/a.json")
    assert [payload.argv for payload in made.program.payloads[1:]] == [
        ("/sched/other/mine/bin/scx_mine", *config, "-m"),
        ("/sched/other/mine/bin/scx_mine", *config, "-o"),
        ("/sched/bin/scx", "-b"),
    ]
    starts = [each for each in made.program.ops if isinstance(each, StartScheduler)]
    assert starts == [StartScheduler(1, 9 * S), StartScheduler(2, 9 * S), StartScheduler(3, SCX.attach_timeout_ns or 0)]


def test_another_scheduler_that_looks_elsewhere_for_cgroups_does_not_take_the_place() -> None:
    with pytest.raises(InputError, match=r"^ktstr\.yaml:\d+:\d+ tests\.two\.scheduler_ops: found scheduler mine with"):
        replaced(SchedulerOp(S, "replace", None, "mine"), cgroup_parent="/cells")
