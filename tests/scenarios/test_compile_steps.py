"""Steps, the backdrop, holds and loops: the order of what is done, and which op ends which phase."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ktstr.checks.model import PhaseSpan
from ktstr.config.model import Binary, SchedulerDecl
from ktstr.errors import InputError
from ktstr.scenarios.compile import Programs, compile_test
from ktstr.scenarios.program import (
    AddCgroup,
    Cgroup,
    Checkpoint,
    ClearCpus,
    Delay,
    Hold,
    Kill,
    Move,
    Payload,
    Program,
    ReadCgroup,
    Release,
    RemoveCgroups,
    Repeat,
    Run,
    Scope,
    Selector,
    SetCpus,
    Spawn,
    StartScheduler,
    StopScheduler,
    StopWorkers,
    Work,
    Worker,
    WriteCgroup,
    flat,
)
from tests.scenarios.scenarios import MS, STOP, S, compiled, step_of
from tests.scenarios.test_compile import SCX, TINY
from tests.scenarios.test_compile import declared as short_form

ENDING = (StopWorkers(timeout_ns=STOP), RemoveCgroups())


def test_the_short_form_is_the_program_that_it_always_was() -> None:
    """Digests of programs as they were compiled before there were steps."""
    programs = [compile_test(short_form("two"), TINY, SCX, seed, Programs("scx")).program for seed in (0, 3, 2**64 - 1)]
    found = [hashlib.sha256(repr(_known(program)).encode()).hexdigest()[:16] for program in programs]
    assert found == ["6597304012e90520", "7e53290cf9093756", "239cab66a84b0fa0"]


def _known(program: Program) -> object:
    """What programs of that format had, in an order of its own."""
    works = [
        (w.type, w.cgroup, [(x.start_offset_ns, x.order) for x in w.workers], w.params, w.policy, w.priority, w.nice,
         w.affinity)
        for w in program.works
    ]  # fmt: skip
    ops = [(type(op).__name__, sorted(vars(op).items(), key=lambda item: item[0])) for op in program.ops]
    return program.seed, program.deadline_ns, [vars(c) for c in program.cgroups], works, program.payloads, ops


def test_backdrop_then_steps_then_the_end() -> None:
    made = compiled("""
  settle: 200ms
  backdrop:
    cgroups: [{name: bg, workers: 1, cpuset: {exact: 0-1}}]
    ops: [{op: set, cgroup: bg, cpu.weight.nice: 5}]
    payloads: [other]
  steps:
    - name: warm
      hold: 0.25
      ops: [{op: clear_cpuset, cgroup: bg}]
      cgroups: [{name: a, workers: 2}]
      payloads: [{payload: bench, cgroup: a, args: [x]}]
    - {cgroups: [{name: a, workers: 1}]}
""")
    program = made.program
    # The weight makes bg and its siblings read.
    reads = [ReadCgroup(0, "cpu.stat"), ReadCgroup(1, "cpu.stat")]
    assert program.cgroups == (Cgroup("bg", (0, 1)), Cgroup("a"))
    assert [(work.cgroup, len(work.workers)) for work in program.works] == [(0, 1), (1, 2), (1, 1)]
    assert program.ops == (
        AddCgroup(0),
        Spawn(0),
        Release(Selector("backdrop")),
        WriteCgroup(0, "cpu.weight.nice", "5"),
        Run(0),
        Hold(200 * MS),
        Checkpoint(0),
        Scope(
            (
                ClearCpus(0), AddCgroup(1), Spawn(1), Release(Selector("step")), Run(1), *reads, Hold(250 * MS), *reads,
                Checkpoint(1),
            ),
            STOP,
            step=True,
        ),
        Scope(
            (AddCgroup(1), Spawn(2), Release(Selector("step")), *reads, Hold(S), *reads, Checkpoint(2)), STOP, step=True
        ),
        Kill(0),
        *ENDING,
    )  # fmt: skip
    assert made.phases == (
        PhaseSpan(0, "BASELINE", 5, 6), PhaseSpan(1, "warm", 7, 18), PhaseSpan(2, "Step[1]", 19, 28),
    )  # fmt: skip
    assert [(work.cgroup, work.step) for work in made.works] == [("bg", 0), ("a", 1), ("a", 2)]
    assert made.payload_names == ("other", "bench")
    # settle 0.2 s + holds 0.25 and 1 s + the two steps' ends 5 s each + stopping workers and scheduler 5 s each + 10 s
    assert program.deadline_ns == (200 + 250 + 1000) * MS + 4 * STOP + 10 * S


def test_payloads_have_their_folder_arguments_and_variables() -> None:
    made = compiled("""
  cgroups: [a]
  payloads: [{payload: bench, cgroup: a}, {payload: bench, args: [-x]}]
""")
    env = ("PATH=/payload/bench/bin:/bin:/usr/bin", "LD_LIBRARY_PATH=/payload/bench/lib", "A=b")
    assert made.program.payloads == (
        Payload(("/payload/bench/bin/bench", "--fast"), 0, None, env, "/payload/bench/files"),
        Payload(("/payload/bench/bin/bench", "-x"), -1, None, env, "/payload/bench/files"),
    )
    assert made.program.ops == (
        AddCgroup(0), Spawn(0), Release(), Run(0), Run(1), Hold(S), Kill(0), Kill(1), *ENDING,
    )  # fmt: skip
    assert made.phases == ()


def test_custom_workers_are_payloads_with_the_policy_and_cpus_of_their_work() -> None:
    made = compiled("""
  steps:
    - cgroups:
      - name: a
        cpuset: {llc: 1}
        works: [{work: Custom, payload: other, workers: 2, policy: fifo, priority: 7, affinity: {each: [2, 3]}}]
""")
    rows = made.program.payloads
    assert [(r.cgroup, r.affinity, r.policy, r.priority) for r in rows] == [(0, (2,), "fifo", 7), (0, (3,), "fifo", 7)]
    assert step_of(made.program) == (AddCgroup(0), Run(0), Run(1), Hold(S))
    assert made.works == ()


def test_a_cgroup_that_comes_again_with_other_cpus_is_given_them_by_an_op() -> None:
    made = compiled("""
  steps:
    - {cgroups: [{name: a, cpuset: {llc: 0}}, {name: b, cpuset: {llc: 0}}]}
    - {cgroups: [{name: a, cpuset: {llc: 1}}, {name: b, cpuset: {llc: 0}}]}
""")
    assert made.program.cgroups == (Cgroup("a"), Cgroup("b", (0, 1)))
    first = (AddCgroup(0), SetCpus(0, (0, 1)), AddCgroup(1), Spawn(0), Spawn(1), Release(Selector("step")), Hold(S))
    assert step_of(made.program, 1) == first
    assert step_of(made.program, 2)[:2] == (AddCgroup(0), SetCpus(0, (2, 3)))
    assert [work.cpus for work in made.works] == [(0, 1), (0, 1), (2, 3), (0, 1)]


def test_a_parent_is_made_before_its_child_and_one_that_ops_name_is_in_the_table() -> None:
    made = compiled("""
  steps:
    - cgroups: [{name: b/c}, {name: x/y/z}, {name: b, workers: 0, cpuset: {llc: 0}}]
      hold: 10ms
    - cgroups: [x/y/z]
    - {ops: [{op: add_cgroup, cgroup: k/l}, {op: set, cgroup: k, pids.max: 9}], hold: 20ms}
""")
    assert [cgroup.name for cgroup in made.program.cgroups] == ["b", "b/c", "x/y/z", "k", "k/l"]
    assert step_of(made.program, 3) == (AddCgroup(3), AddCgroup(4), WriteCgroup(3, "pids.max", "9"), Hold(20 * MS))
    assert made.program.controllers == ("pids",)


# Loops.


def loop(ops: str, every: str = "100ms", before: str = "") -> tuple[object, ...]:
    """The ops of the loop's step, after one of 300 ms that leaves 700."""
    text = f"""
  backdrop:
    cgroups: [{{name: a, cpuset: {{llc: 0}}}}, {{name: b, cpuset: {{llc: 1}}}}]
  steps:
    - {{hold: 300ms}}
    - hold: {{every: {every}}}
      {before}
      ops: {ops}
"""
    return step_of(compiled(text).program, 2)


def test_ops_that_are_the_same_in_each_pass_stand_in_a_repeat_once() -> None:
    again = "[{op: set_cpuset, cgroup: a, cpuset: {exact: 0}}, {op: move_tasks, from: a, to: b}]"
    assert loop(again) == (Repeat((SetCpus(0, (0,)), Move(Selector(cgroup=0), 1)), 0, 700 * MS, 100 * MS),)


def test_what_a_pass_makes_lives_until_the_next_one() -> None:
    (again,) = loop("[{op: spawn, cgroup: a, workers: 1}]")
    passes = Scope((Spawn(2), Release(Selector(work=2)), Hold(100 * MS)), STOP)
    assert again == Repeat((passes,), 0, 700 * MS, 0)


def test_cgroups_of_a_loop_s_step_come_before_its_ops() -> None:
    made = loop("[{op: freeze, cgroup: c}, {op: unfreeze, cgroup: c}]", before="cgroups: [c]")
    assert made[:3] == (AddCgroup(2), Spawn(2), Release(Selector("step")))
    events = ReadCgroup(2, "cgroup.events")
    freezes = (WriteCgroup(2, "cgroup.freeze", "1"), events, WriteCgroup(2, "cgroup.freeze", "0"), events)
    assert made[3:] == (Repeat(freezes, 0, 700 * MS, 100 * MS),)


def test_passes_that_differ_come_round_in_the_body() -> None:
    (again,) = loop("[{op: swap_cpusets, cgroups: [a, b]}]")
    there, back = ((SetCpus(0, x), SetCpus(1, y)) for x, y in (((2, 3), (0, 1)), ((0, 1), (2, 3))))
    assert again == Repeat((*there, Hold(100 * MS), *back, Hold(100 * MS)), 0, 700 * MS, 0)


def test_passes_before_those_that_come_round_are_done_once() -> None:
    ops = "[{op: set_affinity, cgroup: a, affinity: {each: [0, 1]}}, {op: move_tasks, from: a, to: b}]"
    made = loop(ops)
    first, again = made[:-1], made[-1]
    assert isinstance(again, Repeat) and again.body == (Move(Selector(cgroup=0), 1),)
    assert again.duration_ns == 600 * MS and isinstance(first[-1], Hold)


def test_a_loop_has_what_the_steps_before_it_leave_of_the_duration() -> None:
    with pytest.raises(InputError) as err:
        compiled("""
  steps:
    - {}
    - {hold: {every: 1ms}, cgroups: [a], ops: [{op: freeze, cgroup: a}]}
""")
    assert str(err.value).startswith(
        "ktstr.yaml:8:7 tests.t.steps[1].hold: found a loop after holds of 1s, expected time left for it of the test's"
        " duration, 1s"
    )


def test_a_loop_s_deadline_is_its_time_and_one_pass_more() -> None:
    made = compiled("""
  steps:
    - {cgroups: [{name: a, workers: 0}], ops: [{op: spawn, cgroup: a}], hold: {every: 300ms}}
""")
    # 1 s and a pass of 0.3 s with its end, 5 s; the step's end, stopping workers and scheduler, 10 s of margin
    assert made.program.deadline_ns == 1300 * MS + 4 * STOP + 10 * S


# Seeds.


def test_a_seed_orders_the_spawns_of_each_step_and_delays_its_ops() -> None:
    text = """
  backdrop: {cgroups: [{name: bg, workers: 1}]}
  steps:
    - {cgroups: [{name: a, workers: 2}, {name: b, workers: 1}, {name: c, workers: 1}], hold: 10ms}
    - {cgroups: [{name: a, workers: 2}], hold: 10ms}
"""
    plain = compiled(text)
    orders = set()
    for seed in range(1, 30):
        made = compiled(text, seed=seed)
        spawns = [op.work for op in flat(made.program.ops) if isinstance(op, Spawn)]
        orders.add(tuple(spawns))
        assert (spawns[0], sorted(spawns[1:4]), spawns[4]) == (0, [1, 2, 3], 4)
        numbered = [worker for work in spawns for worker in made.program.works[work].workers]
        assert tuple(worker.start_offset_ns for worker in numbered) == made.perturbations.start_offsets_ns
        assert sorted(worker.order or 0 for worker in numbered) == list(range(7))
        delays = [op.duration_ns for op in flat(made.program.ops) if isinstance(op, Delay)]
        assert delays == [ns for ns in made.perturbations.delays_ns if ns]
        # What makes or ends something: 5 cgroups, 5 spawns, 3 releases, 1 stop.
        assert len(made.perturbations.delays_ns) == 14
        assert [phase.label for phase in made.phases] == ["Step[0]", "Step[1]"]
        for phase in made.phases:
            ends = list(flat(made.program.ops))[phase.end_op]
            assert ends == Checkpoint(phase.index)
        late = max(made.perturbations.start_offsets_ns) + sum(delays)
        assert made.program.deadline_ns == plain.program.deadline_ns + late
    assert len(orders) > 3


# Schedulers.

LATER = SchedulerDecl("scx", Binary(Path("/x")), attach_timeout_ns=3 * S, where="ktstr.yaml:9:3")


def test_what_is_done_to_the_scheduler_cuts_the_hold_that_it_falls_into() -> None:
    made = compiled("""
  scheduler_ops: [{at: 250ms, op: detach}, {at: 500ms, op: attach}]
  steps:
    - {hold: 0.5, payloads: [other]}
    - {hold: 0.5}
""", scheduler=LATER, binary="scx")  # fmt: skip
    program = made.program
    assert step_of(program, 1) == (Run(1), Hold(250 * MS), StopScheduler(STOP), Hold(250 * MS))
    assert step_of(program, 2) == (StartScheduler(0, 3 * S), Hold(500 * MS))
    assert program.ops[-1] == StopScheduler(STOP)
    assert made.payload_names == (None, "other")
    assert program.payloads[0].argv == ("/sched/bin/scx",)
    # holds 1 s, a start of 3 s that may fail once, a stop, two ends of steps, the end, 10 s
    assert program.deadline_ns == S + 6 * S + STOP + 2 * STOP + 2 * STOP + 10 * S


def test_nothing_can_be_done_to_the_scheduler_in_a_loop() -> None:
    with pytest.raises(InputError) as err:
        compiled("""
  scheduler_ops: [{at: 100ms, op: restart}, {at: 500ms, op: restart}]
  steps:
    - {hold: 400ms}
    - {hold: {every: 1ms}, cgroups: [a], ops: [{op: freeze, cgroup: a}]}
""", scheduler=LATER, binary="scx")  # fmt: skip
    assert str(err.value) == (
        "ktstr.yaml:4:3 tests.t.scheduler_ops[1].at: found 0.5s, expected a moment within the hold of a step that is no"
        " loop: 0s to 0.4s"
    )


def test_workers_of_the_agent_s_own_cgroup_are_in_none() -> None:
    made = compiled("""
  steps: [{ops: [{op: spawn_host, work: Bursty, workers: 1}]}]
""")
    assert made.program.works == (Work("Bursty", -1, (Worker(0, 0),), (50 * MS, 100 * MS)),)
    assert step_of(made.program) == (Spawn(0), Release(Selector(work=0)), Hold(S))
    assert (made.works[0].cgroup, made.works[0].cpus, made.works[0].step) == ("", None, 1)
