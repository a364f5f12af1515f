"""Each declared op, what it is in the program, and what it leaves behind for those after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ktstr.checks.model import CgroupSpan
from ktstr.checks.settings import Setting
from ktstr.config.topology import Node, Topology, of_nodes
from ktstr.errors import InputError
from ktstr.scenarios.boot import boot_arguments
from ktstr.scenarios.perturb import SplitMix64
from ktstr.scenarios.program import (
    AddCgroup,
    ClearCpus,
    Deadline,
    Hold,
    Kill,
    MemPolicy,
    Move,
    Op,
    Read,
    ReadCgroup,
    Release,
    RemoveCgroups,
    Run,
    Selector,
    SetAffinity,
    SetCpus,
    Spawn,
    StartScheduler,
    StopWorkers,
    Wait,
    Write,
    WriteCgroup,
)
from tests.scenarios.scenarios import EEVDF, MS, NUMA, STOP, TINY, S, compiled, config, step_of

# a: CPUs 0-1 with two spinners; b: CPUs 2-3 with one; up/in: nested, one spinner; the fourth entry is made by ops.
THERE = """
  backdrop:
    cgroups:
      - {name: a, workers: 2, cpuset: {llc: 0}}
      - {name: b, workers: 1, cpuset: {llc: 1}}
      - {name: up, workers: 0, cpuset: {exact: 1-3}}
      - {name: up/in, workers: 1, cpuset: {exact: 2}}
"""
A, B, UP, IN, NEW = range(5)


def does(ops: str, topology: Topology = TINY, seed: int = 0) -> tuple[Op, ...]:
    """The ops of a step that does this beside what is there, without its hold and the reads of shares around it."""
    made = step_of(compiled(f"{THERE}  steps: [{{ops: [{ops}]}}]\n", topology, seed).program)
    return tuple(op for op in made if not isinstance(op, Hold) and getattr(op, "file", "") != "cpu.stat")


def refused(text: str, topology: Topology = TINY) -> str:
    with pytest.raises(InputError) as err:
        compiled(text, topology)
    return str(err.value)


def wrong(ops: str, topology: Topology = TINY) -> str:
    """What is told of ops, without the place, which is line 12 of the file for all of them."""
    found = refused(f"{THERE}  steps: [{{ops: [{ops}]}}]\n", topology)
    assert found.startswith("ktstr.yaml:12:"), found
    return found.partition(" ")[2]


EVENTS = "cgroup.events"
PARTITION = "cpuset.cpus.partition"
OFF, ON = (Write("/sys/devices/system/cpu/cpu3/online", text, restore=True) for text in ("0", "1"))
CPU3 = Read("/sys/devices/system/cpu/cpu3/online")


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        (
            "{op: add_cgroup, cgroup: n, cpuset: {exact: 1}, cpu.max: max, memory.max: 1M}",
            (AddCgroup(NEW), WriteCgroup(NEW, "cpu.max", "max 100000"), WriteCgroup(NEW, "memory.max", "1048576")),
        ),
        (
            "{op: add_cgroup, cgroup: n}, {op: remove_cgroup, cgroup: n}",
            (AddCgroup(NEW), StopWorkers(Selector(cgroup=NEW), STOP), RemoveCgroups(Selector(cgroup=NEW))),
        ),
        ("{op: set_cpuset, cgroup: a, cpuset: {exact: 2}}", (SetCpus(A, (2,)),)),
        ("{op: clear_cpuset, cgroup: b}", (ClearCpus(B),)),
        ("{op: swap_cpusets, cgroups: [a, b]}", (SetCpus(A, (2, 3)), SetCpus(B, (0, 1)))),
        (
            "{op: clear_cpuset, cgroup: a}, {op: swap_cpusets, cgroups: [a, b]}",
            (ClearCpus(A), SetCpus(A, (2, 3)), ClearCpus(B)),
        ),
        (
            "{op: set, cgroup: up, cpuset.cpus.partition: member}",
            (WriteCgroup(UP, PARTITION, "member"), ReadCgroup(UP, PARTITION)),
        ),
        ("{op: set, cgroup: a, cpu.weight: 7}", (WriteCgroup(A, "cpu.weight", "7"),)),
        (
            "{op: spawn, cgroup: b, workers: 1, work: YieldHeavy}",
            (Spawn(3), Release(Selector(work=3))),
        ),
        ("{op: set_affinity, cgroup: a, affinity: 1-3}", (SetAffinity(Selector(cgroup=A), (1,)),)),
        ("{op: set_affinity, cgroup: a, affinity: {exact: 0}}", (SetAffinity(Selector(cgroup=A), (0,)),)),
        ("{op: set_affinity, cgroup: b, affinity: single}", (SetAffinity(Selector(cgroup=B), (2,)),)),
        ("{op: set_affinity, cgroup: b, affinity: all}", (SetAffinity(Selector(cgroup=B), (2, 3)),)),
        (
            "{op: set_affinity, cgroup: a, affinity: {each: [1, {exact: 0-1}]}}",
            (SetAffinity(Selector(work=0, first_worker=0, workers=1), (1,)),
             SetAffinity(Selector(work=0, first_worker=1, workers=1), (0, 1))),
        ),
        ("{op: move_tasks, from: a, to: b}", (Move(Selector(cgroup=A), B),)),
        # Whoever is in b now has its CPUs: all three workers.
        (
            "{op: move_tasks, from: a, to: b}, {op: set_affinity, cgroup: b, affinity: {each: [2, 3]}}",
            (Move(Selector(cgroup=A), B),
             SetAffinity(Selector(work=0, first_worker=0, workers=1), (2,)),
             SetAffinity(Selector(work=0, first_worker=1, workers=1), (3,)),
             SetAffinity(Selector(work=1, first_worker=0, workers=1), (2,))),
        ),
        (
            "{op: run, payload: bench, cgroup: a}, {op: wait, payload: bench, timeout: 2s}",
            (Run(0), Wait(0, 2 * S, on_error="record")),
        ),
        ("{op: run, payload: bench}, {op: kill, payload: bench}, {op: run, payload: bench}", (Run(0), Kill(0), Run(0))),
        ("{op: run, payload: bench}, {op: wait, payload: bench}, {op: run, payload: bench}",
         (Run(0), Wait(0, 60 * S, on_error="record"), Run(1))),
        (
            "{op: run, payload: bench}, {op: run, payload: bench, cgroup: b}, {op: kill, payload: bench, cgroup: b}",
            (Run(0), Run(1), Kill(1)),
        ),
        (
            "{op: add_cgroup, cgroup: n}, {op: run, payload: other, cgroup: n}, {op: stop, cgroup: n}",
            (AddCgroup(NEW), Run(0), Kill(0), StopWorkers(Selector(cgroup=NEW), STOP)),
        ),
        ("{op: offline, cpus: {exact: 3}}", (OFF, CPU3)),
        (
            "{op: offline, cpus: {exact: 3}}, {op: online, cpus: {exact: 3}}",
            (OFF, CPU3, ON, CPU3),
        ),
    ],
)  # fmt: skip
def test_an_op(ops: str, expected: tuple[Op, ...]) -> None:
    assert does(ops) == expected


def test_a_whole_tree_is_removed_the_deepest_first() -> None:
    ops = "{op: add_cgroup, cgroup: n}, {op: add_cgroup, cgroup: n/m}, {op: remove_cgroup, cgroup: n}"
    stops = [(StopWorkers(Selector(cgroup=i), STOP), RemoveCgroups(Selector(cgroup=i))) for i in (NEW + 1, NEW)]
    assert does(ops) == (AddCgroup(NEW), AddCgroup(NEW + 1), *stops[0], *stops[1])


def test_a_cgroup_that_nobody_is_in_any_more_may_have_others_in_it() -> None:
    ops = "{op: stop, cgroup: n}, {op: add_cgroup, cgroup: n/m}, {op: spawn, cgroup: n/m, workers: 1}"
    left = f"{{op: add_cgroup, cgroup: n}}, {{op: spawn, cgroup: n, workers: 1}}, {ops}"
    assert does(left)[3:] == (
        StopWorkers(Selector(cgroup=NEW), STOP), AddCgroup(NEW + 1), Spawn(4), Release(Selector(work=4)),
    )  # fmt: skip
    moved = left.replace("{op: stop, cgroup: n}", "{op: move_tasks, from: n, to: a}")
    assert does(moved)[3] == Move(Selector(cgroup=NEW), A)


def test_what_is_frozen_goes_on_before_its_workers_are_to_stop() -> None:
    on, off = ((WriteCgroup(NEW, "cgroup.freeze", text), ReadCgroup(NEW, EVENTS)) for text in ("1", "0"))
    frozen = "{op: add_cgroup, cgroup: n}, {op: spawn, cgroup: n, workers: 1}, {op: freeze, cgroup: n}"
    made = (AddCgroup(NEW), Spawn(3), Release(Selector(work=3)), *on)
    stop = StopWorkers(Selector(cgroup=NEW), STOP)
    assert does(f"{frozen}, {{op: stop, cgroup: n}}") == (*made, *off, stop)
    whole = compiled(f"{THERE}  steps: [{{ops: [{frozen}]}}, {{ops: [{{op: freeze, cgroup: a}}]}}]\n").program
    assert whole.ops[-6].body[-2:] == off  # type: ignore[union-attr]
    thaw = (WriteCgroup(A, "cgroup.freeze", "0"), ReadCgroup(A, EVENTS))
    assert whole.ops[-4:-2] == thaw


def test_cpus_that_a_step_took_are_back_after_it() -> None:
    offline = "{ops: [{op: offline, cpus: {exact: 3}}]}"
    made = compiled(f"{THERE}  steps: [{offline}, {offline}]\n")
    assert set(made.settings.values()) == {Setting("/sys/devices/system/cpu/cpu3/online", "0")}
    assert len(made.settings) == 2


def test_cpus_that_are_offline_before_are_checked_and_may_come_online() -> None:
    made = compiled("""
  offline: {exact: 2-3}
  steps: [{ops: [{op: online, cpus: {exact: 3}}], cgroups: [{name: a, cpuset: {exact: 3}}]}]
""")
    paths = [f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in (2, 3)]
    assert made.setup is not None
    assert made.setup.ops == tuple(Write(path, "0") for path in paths)
    assert not any(isinstance(op, StartScheduler) for op in made.setup.ops)
    assert made.program.ops[:2] == tuple(Read(path) for path in paths)
    assert made.settings == {0: Setting(paths[0], "0"), 1: Setting(paths[1], "0"), 4: Setting(paths[1], "1")}


def test_cpus_that_the_preset_has_offline_join_those_of_the_test() -> None:
    preset = replace(TINY, offline=(3,))
    made = compiled("\n  offline: {exact: 2}\n  cgroups: [{name: a, cpuset: {exact: 0-1}}]\n", preset)
    paths = [f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in (2, 3)]
    assert made.setup is not None
    assert made.setup.ops == tuple(Write(path, "0") for path in paths)
    assert made.settings == {0: Setting(paths[0], "0"), 1: Setting(paths[1], "0")}
    alone = compiled("\n  cgroups: [{name: a, cpuset: {range: [0, 1]}}]\n", preset)
    assert alone.setup is not None
    assert alone.setup.ops == (Write(paths[1], "0"),)
    assert [cgroup.cpus for cgroup in alone.program.cgroups] == [(0, 1)]  # of 0 to 2 the last is the root's


def test_workers_on_a_node_without_memory_have_theirs_on_the_nearest_one() -> None:
    nodes = of_nodes([Node((1,)), Node((1,), 0), Node((), 64)])
    near = replace(nodes, distances=((10, 30, 50), (30, 10, 20), (50, 20, 10)))
    made = compiled("\n  cgroups: [{name: a, workers: 1, cpuset: {numa: 1}}]\n", near)
    assert [work.nodes for work in made.works] == [(2,)]
    error = refused("\n  cgroups: [{name: a, workers: 1, mem_policy: {bind: 1}}]\n", near)
    assert "found nodes 1, which have no memory, expected some of 0,2" in error
    assert "found nodes 1, expected some of those of the machine, 0,2" in refused(
        "\n  cgroups: [{name: a, workers: 1, mems: 1}]\n", near
    )


def test_the_cpus_and_nodes_of_a_work_are_those_of_all_its_life() -> None:
    text = """
  backdrop:
    cgroups:
      - {name: a, workers: 1, cpuset: {exact: 0}}
      - {name: b, workers: 1, cpuset: {exact: 3}}
      - {name: c, workers: 1, cpuset: {exact: 1-2}, expect_cpuset: {exact: 1}}
      - {name: d, workers: 1}
  steps:
    - {ops: [{op: set_cpuset, cgroup: a, cpuset: {exact: 2}}, {op: move_tasks, from: a, to: b}], hold: 1ms}
    - {ops: [{op: clear_cpuset, cgroup: c}], hold: 1ms, cgroups: [{name: e, cpuset: {numa: 1}}]}
"""
    works = compiled(text, NUMA).works
    cpus = [(work.cgroup, work.cpus) for work in works]
    assert cpus == [("a", (0, 2, 3)), ("b", (3,)), ("c", None), ("d", None), ("e", (2, 3))]
    assert [work.nodes for work in works] == [(0, 1), (1,), None, None, (1,)]
    assert compiled(text.replace("clear_cpuset, cgroup: c", "freeze, cgroup: c"), NUMA).works[2].cpus == (1,)


def test_how_many_cpus_a_work_had_when_they_were_fewest() -> None:
    works = compiled("""
  backdrop:
    cgroups:
      - {name: a, workers: 2, cpuset: {exact: 0-2}}
      - {name: b, workers: 2, cpuset: {exact: 1-3}, affinity: {each: [1, 1-2]}}
      - {name: c, workers: 1}
      - {name: d, workers: 1, cpuset: {exact: 0-1}}
      - {name: e, workers: 1}
  steps:
    - {ops: [{op: set_cpuset, cgroup: a, cpuset: {exact: 0}}, {op: set_affinity, cgroup: c, affinity: 0-1}], hold: 1ms}
    - {ops: [{op: set_cpuset, cgroup: a, cpuset: {exact: 0-3}}, {op: offline, cpus: {exact: 2-3}}], hold: 1ms}
""").works
    # a: CPU 0 in the first step, of all four; b: 1-2, and 1 in the second; c: 0-1; d: always both; e: 0-1 of four
    fewest = [(work.cgroup, work.cpus, work.fewest_cpus) for work in works]
    assert fewest == [
        ("a", (0, 1, 2, 3), 1), ("b", (1, 2, 3), 1), ("c", None, 2), ("d", (0, 1), None), ("e", None, 2),
    ]  # fmt: skip


def test_no_balancing_puts_workers_on_isolated_cpus() -> None:
    text = """
  isolcpus: {cpus: {exact: 2-3}FLAGS}
  cgroups:
    - {name: a, workers: 1, cpu.max: 200%}
    - {name: b, workers: 2, cpuset: {exact: 1-3}}
    - {name: c, workers: 2, cpuset: {exact: 2-3}}
"""
    made = compiled(text.replace("FLAGS", ""))
    assert [(work.cpus, work.fewest_cpus) for work in made.works] == [(None, 2), ((1, 2, 3), 1), ((2, 3), 1)]
    assert made.spans[0].cpus == 2
    ticks = compiled(text.replace("FLAGS", ", flags: [nohz]"))
    assert [work.fewest_cpus for work in ticks.works] == [None, None, None]
    assert ticks.spans[0].cpus == 4


def test_a_partition_owns_its_cpus() -> None:
    made = compiled("""
  cgroups:
    - {name: own, workers: 2, cpuset: {exact: 1-2}, cpuset.cpus.partition: root}
    - {name: still, workers: 2, cpuset: {exact: 3}, cpuset.cpus.partition: isolated}
    - {name: rest, workers: 1, affinity: all}
""")
    assert [(work.cpus, work.fewest_cpus) for work in made.works] == [((1, 2), None), ((3,), None), (None, 1)]
    assert made.program.works[2].affinity == (0,)


# Workers.


def test_random_affinities_are_half_of_the_cpus_drawn_for_each_worker() -> None:
    text = "  cgroups: [{name: a, workers: 3, cpuset: {exact: 1-7}, affinity: random}]\n"
    topology = Topology.parse("1n2l4c1t")
    draws: dict[int, tuple[tuple[int, ...] | None, ...]] = {}
    for seed in (0, 1, 2):
        made = compiled(text, topology, seed)
        draws[seed] = tuple(worker.affinity for worker in made.program.works[0].workers)
        assert draws[seed] == tuple(w.affinity for w in compiled(text, topology, seed).program.works[0].workers)
    assert all(cpus and len(cpus) == 3 and set(cpus) <= set(range(1, 8)) for one in draws.values() for cpus in one)
    assert len(set(draws.values())) == 3
    # As the generator's definition has it: seed 0, the first random affinity.
    rng = SplitMix64(SplitMix64(0x6166_6669_6E69_7479).next())
    order = rng.shuffled(7)
    assert draws[0][0] == tuple(sorted(1 + i for i in order[:3]))


def test_what_a_seed_perturbs_does_not_depend_on_what_is_drawn_for_affinities() -> None:
    text = "  cgroups: [{name: a, workers: 3, affinity: X}, b]\n"
    drawn, plain = (compiled(text.replace("X", kind), seed=9).perturbations for kind in ("random", "single"))
    assert drawn == plain


@pytest.mark.parametrize(
    ("cpuset", "affinity", "cpus"),
    [
        ("{exact: 1-4}", "llc_aligned", (2, 3)),  # LLC 1 has 2-3; 0 and 2 have one each
        ("{exact: 0-3}", "llc_aligned", (0, 1)),  # the first of two with two
        ("{exact: 3-4}", "single", (3,)),
        ("{exact: 3-4}", "all", (3, 4)),
        ("{exact: 3-4}", "{range: [0, 1]}", (3, 4)),
        ("{exact: 3-4}", "{llc: 2}", (4,)),
    ],
)
def test_affinities_within_a_cpuset(cpuset: str, affinity: str, cpus: tuple[int, ...]) -> None:
    text = f"  cgroups: [{{name: a, cpuset: {cpuset}, affinity: {affinity}}}]\n"
    assert compiled(text, Topology.parse("1n3l2c1t")).program.works[0].affinity == cpus


def test_scheduling_memory_and_names_of_workers() -> None:
    made = compiled(
        """
  cgroups:
    - name: a
      cpuset: {numa: 1}
      works:
        - {workers: 1, mem_policy: {interleave: [1]}, mem_flags: [static_nodes], threads: true, comm: w, pcomm: p}
        - {workers: 1, mem_policy: local}
        - {workers: 1, mem_policy: {bind: [0, 1]}, mem_flags: [relative_nodes]}
        - {workers: 1, cgroup_namespace: true}
    - {name: b, workers: 1, policy: deadline, runtime: 1ms, deadline: 5ms, period: 10ms}
""",
        NUMA,
    )
    works = made.program.works
    assert (works[0].threads, works[0].comm, works[0].pcomm) == (True, "w", "p")
    assert [work.mem_policy for work in works[:3]] == [
        MemPolicy("interleave", (1,), 1 << 15), MemPolicy("local"), MemPolicy("bind", (0, 1), 1 << 14),
    ]  # fmt: skip
    assert [work.nodes for work in made.works] == [(1,), (1,), (0, 1), (1,), None]
    assert [work.pages for work in works] == [True, True, True, False, False]
    assert works[3].cgroup_namespace
    assert works[4].deadline == Deadline(MS, 5 * MS, 10 * MS)


def test_a_page_check_makes_all_workers_tell_where_their_memory_is() -> None:
    made = compiled("  checks: {min_page_locality: 0.5}\n  cgroups: [a, b]\n")
    assert all(work.pages for work in made.program.works)


# Shares.


def test_cgroups_with_a_limit_or_beside_a_weight_are_read_around_each_hold() -> None:
    made = compiled("""
  cgroups:
    - {name: half, workers: 0, cpu.max: 150%}
    - {name: half/in, workers: 2, cpuset: {exact: 0-1}}
    - {name: half/heavy, workers: 1, cpu.weight: 300}
    - {name: half/limited, workers: 1, work: Bursty, cpu.max: 10%, cpu.weight.nice: 5}
    - {name: half/idle, workers: 1, cpu.idle: true}
    - free
""")
    spans = {span.cgroup: span for span in made.spans}
    assert list(spans) == ["half", "half/in", "half/heavy", "half/limited", "half/idle"]
    found = {
        name: (span.phase, span.cpus, span.quota, span.weight, span.limited_by, span.busy)
        for name, span in spans.items()
    }
    assert found == {
        "half": (1, 4, (150000, 100000), 100, None, 4),
        "half/in": (1, 2, None, 100, "half", 2),
        "half/heavy": (1, 4, None, 300, "half", 1),
        "half/limited": (1, 4, (10000, 100000), 33, None, 0),  # 335 of 1024
        "half/idle": (1, 4, None, 0, "half", 1),
    }
    for span in made.spans:
        reads = [made.program.ops[place] for place in (span.begin_op, span.end_op)]
        assert reads == [ReadCgroup(made.cgroup_names.index(span.cgroup), "cpu.stat")] * 2


def test_no_cgroup_is_read_that_a_loop_changes_or_that_is_frozen() -> None:
    text = """
  backdrop:
    cgroups:
      - {name: a/x, cpu.max: 20%}
      - {name: a/y, cpu.weight: 50}
      - {name: b, cpu.max: 20%}
      - {name: c, cpu.max: 20%}
  steps:
    - {ops: [{op: freeze, cgroup: c}], hold: 1ms}
    - {ops: [OP], hold: {every: 1ms}}
"""
    read = compiled(text.replace("OP", "{op: set, cgroup: a/y, cpu.weight: 70}")).spans
    assert [(span.phase, span.cgroup) for span in read] == [(1, "b"), (1, "a/x"), (1, "a/y"), (2, "b")]
    weights = [span.weight for span in read if span.cgroup == "a/y"]
    assert weights == [50]
    everywhere = compiled(text.replace("OP", "{op: offline, cpus: {exact: 3}}")).spans
    assert {span.phase for span in everywhere} == {1}
    assert isinstance(read[0], CgroupSpan)


# The machine.


def test_kernel_arguments_that_hold_cpus() -> None:
    test = config("""
  cgroups: [a]
  isolcpus: {cpus: {numa: 1}, flags: [domain, managed_irq]}
  nohz_full: {exact: [1, 3]}
  irqaffinity: {llc: 0}
""").tests["t"]
    assert set(boot_arguments(test, NUMA)) == {"isolcpus=domain,managed_irq,2-3", "nohz_full=1,3", "irqaffinity=0-1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  cgroups: [a]\n  isolcpus: {range: [0, 1]}\n", ""),
        (
            "  cgroups: [a]\n  isolcpus: {exact: 0-3}\n",
            "tests.t.isolcpus: found all CPUs, 0-3, expected at least one that is left for"
            " housekeeping (topology 1n2l2c1t)",
        ),
    ],
)
def test_some_cpu_is_left_for_housekeeping(text: str, message: str) -> None:
    test = config(text).tests["t"]
    if not message:
        assert boot_arguments(test, TINY) == ("isolcpus=0-2",)
        return
    with pytest.raises(InputError) as err:
        boot_arguments(test, TINY)
    assert str(err.value).partition(" ")[2] == message


def test_a_partition_has_exclusive_cpus_all_the_way_down_and_is_read_back() -> None:
    made = compiled("""
  cgroups:
    - {name: p, workers: 0, cpuset: {exact: 1-3}}
    - {name: p/one, cpuset: {exact: 2-3}, cpuset.cpus.partition: isolated}
""")
    exclusive = "cpuset.cpus.exclusive"
    assert made.program.ops[:6] == (
        AddCgroup(0),
        AddCgroup(1),
        Write(f"/sys/fs/cgroup/ktstr/{exclusive}", "2-3"),
        WriteCgroup(0, exclusive, "2-3"),
        WriteCgroup(1, exclusive, "2-3"),
        WriteCgroup(1, "cpuset.cpus.partition", "isolated"),
    )
    assert made.settings == {6: Setting("p/one/cpuset.cpus.partition", "isolated")}
    assert EEVDF.cgroup_parent is None


# What cannot be.

HAS_CPUS = "(topology 1n2l2c1t)"


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        (
            "{op: set_cpuset, cgroup: up/in, cpuset: {exact: 0}}",
            "tests.t.steps[0].ops[0].cpuset: found CPUs 0 for cgroup up/in, expected some of those of up, which it is"
            f" in: 1-3 {HAS_CPUS}",
        ),
        (
            "{op: set_cpuset, cgroup: up, cpuset: {exact: 3}}",
            "tests.t.steps[0].ops[0].cpuset: found CPUs 2 for cgroup up/in, expected some of those of up, which it is"
            f" in: 3 {HAS_CPUS}",
        ),
        (
            "{op: swap_cpusets, cgroups: [a, up]}",
            "tests.t.steps[0].ops[0]: found CPUs 2 for cgroup up/in, expected some of those of up, which it is in: 0-1"
            f" {HAS_CPUS}",
        ),
        (
            "{op: offline, cpus: {exact: 3}}, {op: set_cpuset, cgroup: a, cpuset: {exact: [0, 3]}}",
            "tests.t.steps[0].ops[1].cpuset: found CPUs 0,3, of which 3 are offline, expected CPUs that are online, 0-2"
            f" {HAS_CPUS}",
        ),
        (
            "{op: offline, cpus: {exact: 3}}, {op: offline, cpus: {exact: 1-3}}",
            "tests.t.steps[0].ops[1]: found CPUs 1-3, of which 3 are offline, expected CPUs that are online at this"
            " moment",
        ),
        (
            "{op: online, cpus: {exact: 3}}",
            "tests.t.steps[0].ops[0]: found CPUs 3, of which 3 are online, expected CPUs that are offline at this"
            " moment",
        ),
        (
            "{op: offline, cpus: {llc: 0}}",
            "tests.t.steps[0].ops[0]: found CPUs 0-1, expected CPUs other than 0, which stays online\n  fix: leave"
            " CPU 0 out",
        ),
        (
            "{op: offline, cpus: {llc: 1}}",
            "tests.t.steps[0].ops[0]: found CPUs 2-3, expected one that is left online of those of cgroup b, 2-3",
        ),
        (
            "{op: set_affinity, cgroup: a, affinity: 2-3}",
            f"tests.t.steps[0].ops[0].affinity: found CPUs 2-3, expected one of the cpuset's CPUs, 0-1 {HAS_CPUS}",
        ),
        (
            "{op: offline, cpus: {exact: 3}}, {op: set_affinity, cgroup: b, affinity: 3}",
            "tests.t.steps[0].ops[1].affinity: found CPUs 3, which are offline at this moment, expected one that is"
            f" online, 2 {HAS_CPUS}",
        ),
        (
            "{op: offline, cpus: {exact: 3}}, {op: spawn, cgroup: b}",
            "tests.t.steps[0].ops[1]: found workers for cgroup b with CPUs 2-3, of which 3 are offline, expected all of"
            " them online at this moment",
        ),
        (
            "{op: freeze, cgroup: b}, {op: spawn, cgroup: b}",
            "tests.t.steps[0].ops[1]: found workers for cgroup b, which is frozen at this moment, expected one that"
            " goes on: what starts in it would never begin",
        ),
        (
            "{op: add_cgroup, cgroup: a/x}",
            "tests.t.steps[0].ops[0].name: found a/x in a, which has workers, expected workers in the innermost only:"
            " the kernel lets no cgroup with others in it hold tasks",
        ),
        (
            "{op: spawn, cgroup: a, mem_policy: {bind: [3]}}",
            "tests.t.steps[0].ops[0].mem_policy: found nodes 3, expected nodes 0 to 0 (topology 1n2l2c1t)\n  fix:"
            " constrain the test: constraints: {min_numa_nodes: 4}",
        ),
        (
            "{op: set_cpuset, cgroup: up, cpuset: {exact: 2}}, {op: set, cgroup: a, cpuset.cpus.partition: root},"
            " {op: set_cpuset, cgroup: b, cpuset: {exact: 1-2}}",
            "tests.t.steps[0].ops[2].cpuset: found CPUs 1 in both b and a, expected them in a alone, which is a"
            " partition (root)",
        ),
        (
            "{op: clear_cpuset, cgroup: a}, {op: set, cgroup: a, cpuset.cpus.partition: root}",
            "tests.t.steps[0].ops[1]: found cpuset.cpus.partition root of cgroup a without a cpuset, expected one: a"
            " partition owns CPUs\n  fix: give it a cpuset",
        ),
        (
            "{op: spawn, cgroup: a, policy: deadline, runtime: 1ms, deadline: 1ms, period: 1ms}",
            "tests.t.steps[0].ops[0]: found policy deadline on CPUs 0-1, expected all of 0-3: the kernel admits no"
            " deadline task that may not use them all\n  fix: drop its cpuset and affinity",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_at_its_moment_is_told_with_its_place(ops: str, message: str) -> None:
    assert wrong(ops) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "  offline: {exact: 3}\n  cgroups: [{name: a, cpuset: {llc: 1}}]\n",
            "ktstr.yaml:6:31 tests.t.cgroups[0].cpuset: found CPUs 2-3, of which 3 are offline, expected CPUs that are"
            " online, 0-2 (topology 2n2l2c1t)",
        ),
        (
            "  offline: {range: [0, 1]}\n  cgroups: [a]\n",
            "ktstr.yaml:5:12 tests.t.offline: found CPUs 0-2, expected CPUs other than 0, which stays online\n"
            "  fix: leave CPU 0 out",
        ),
        (
            "  cgroups: [{name: a, cpuset: {numa: 1}, mem_policy: {bind: [0]}}]\n",
            "ktstr.yaml:5:54 tests.t.cgroups[0].mem_policy: found nodes 0, expected some of those of cgroup a, 1"
            " (topology 2n2l2c1t)\n  fix: widen its cpuset or mems, or add mem_flags: [static_nodes]",
        ),
        (
            "  cgroups: [{name: a, mems: [2]}]\n",
            "ktstr.yaml:5:13 tests.t.cgroups[0].mems: found nodes 2, expected some of those of the machine, 0-1"
            " (topology 2n2l2c1t)",
        ),
        (
            "  cgroups: [{name: a, cpuset: {llc: 0}, cpuset.cpus.partition: root}, {name: b, cpuset: {exact: 1-2}}]\n",
            "ktstr.yaml:5:89 tests.t.cgroups[1].cpuset: found CPUs 1 in both b and a, expected them in a alone, which"
            " is a partition (root)",
        ),
    ],
)
def test_what_does_not_fit_the_machine_is_told_with_its_place(text: str, message: str) -> None:
    assert refused(text, NUMA) == message
