"""A test with a backdrop, steps, ops and a loop, compiled and run: the kernel takes all of it, and phases end in order.

Costs two guests of four vCPUs, 10 s each, and one that attaches a scheduler.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ktstr.checks.settings import judge_settings
from ktstr.config.load import parse
from ktstr.config.model import Builtin, SchedulerDecl
from ktstr.config.topology import Topology
from ktstr.record.guest import GuestRecord
from ktstr.scenarios.compile import Compiled, Programs, compile_test
from ktstr.scenarios.program import Hold, Payload, Program, Read, Scope, StartScheduler, StopScheduler
from tests.e2e.programs import MS, SCHEDULER, TWO, Guests, S

pytestmark = pytest.mark.e2e
FOUR = Topology.parse("1n2l2c1t")
ATTACH = 240 * S  # what the verifier takes is instructions
PAIRS = [("a", 1), ("b", 1), ("up", 1), ("a", 2), ("b", 2)]  # b has a weight, a a limit; up is beside b

TEXT = """
tests:
  t:
    duration: 400ms
    settle: 50ms
    backdrop:
      cgroups:
        - {name: a, workers: 2, cpuset: {exact: 0-1}, cpu.max: 50%, affinity: random}
        - {name: b, workers: 1, cpuset: {exact: 2}, cpu.weight: 300}
    steps:
      - name: more
        hold: 100ms
        ops:
          - {op: set_cpuset, cgroup: b, cpuset: {exact: 1-2}}
          - {op: offline, cpus: {exact: 3}}
          - {op: spawn_host, workers: 1}
        cgroups:
          - {name: up, workers: 0, cpuset: {exact: 0-2}}
          - {name: up/in, workers: 2, cpuset: {exact: 2}, work: PipeIo}
          - {name: up/on, workers: 1, policy: batch, nice: 3}
      - name: moved
        hold: 100ms
        ops:
          - {op: freeze, cgroup: a}
          - {op: unfreeze, cgroup: a}
          - {op: set_affinity, cgroup: a, affinity: {each: [0, 1]}}
          - {op: move_tasks, from: a, to: b}
          - {op: set_affinity, cgroup: b, affinity: single}
          - {op: add_cgroup, cgroup: n, memory.max: 64M, pids.max: 9}
          - {op: spawn, cgroup: n, workers: 1}
          - {op: stop, cgroup: n}
          - {op: remove_cgroup, cgroup: n}
      - name: swapped
        hold: {every: 20ms}
        ops:
          - {op: swap_cpusets, cgroups: [a, b]}
          - {op: spawn, cgroup: a, workers: 1}
          - {op: add_cgroup, cgroup: x/y}
          - {op: set, cgroup: b, cpu.weight: 50}
"""


def compiled_from(text: str) -> Compiled:
    test = parse(text.encode(), Path("ktstr.yaml"), validated=True).tests["t"]
    return compile_test(test, FOUR, SchedulerDecl("eevdf", Builtin("eevdf")), 3, Programs())


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compiled_from(TEXT)


@pytest.fixture(scope="module")
def record(guests: Guests, compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> GuestRecord:
    return guests.run(tmp_path_factory.mktemp("steps"), compiled.program, topology=FOUR)


def test_the_kernel_takes_all_of_it(record: GuestRecord, compiled: Compiled) -> None:
    assert record.errors == ()
    assert judge_settings(compiled.settings, record) == []


def test_phases_end_in_order_with_what_their_workers_did(record: GuestRecord, compiled: Compiled) -> None:
    phases = list(dict.fromkeys(checkpoint.phase for checkpoint in record.checkpoints or ()))
    assert phases == [phase.index for phase in compiled.phases] == [0, 1, 2, 3]


def test_workers_stay_within_what_isolation_is_told(record: GuestRecord, compiled: Compiled) -> None:
    spawned = {group.work_index for group in compiled.works}
    assert {report.work_index for report in record.workers} == spawned
    for report in record.workers:
        allowed = compiled.works[report.work_index].cpus
        assert report.completed, report
        assert allowed is None or set(report.cpus_used) <= set(allowed)


def test_shares_are_read_at_both_ends_of_each_span(record: GuestRecord, compiled: Compiled) -> None:
    read = {one.op for one in record.reads or ()}
    assert [(span.cgroup, span.phase) for span in compiled.spans] == PAIRS
    assert all({span.begin_op, span.end_op} <= read for span in compiled.spans)


PARTITIONS = """
tests:
  t:
    duration: 100ms
    steps:
      - hold: 50ms
        cgroups: [{name: p, workers: 1, cpuset: {exact: 2-3}, cpuset.cpus.partition: isolated}]
      - hold: 50ms
        ops:
          - {op: add_cgroup, cgroup: q, cpuset: {exact: 1-3}}
          - {op: add_cgroup, cgroup: q/in, cpuset: {exact: 3}}
          - {op: set, cgroup: q/in, cpuset.cpus.partition: root}
"""


def test_the_kernel_makes_partitions_of_them(guests: Guests, tmp_path: Path) -> None:
    made = compiled_from(PARTITIONS)
    record = guests.run(tmp_path, made.program, topology=FOUR)
    assert [one.text.strip() for one in record.reads or ()] == ["isolated", "root"]
    assert (record.errors, judge_settings(made.settings, record)) == ((), [])


def test_a_scheduler_that_a_step_started_is_there_after_it(guests: Guests, tmp_path: Path) -> None:
    started = Scope((StartScheduler(0, ATTACH), Hold(MS)), S, step=True)
    ops = (started, Read("/sys/kernel/sched_ext/state"), StopScheduler(10 * S))
    record = guests.run(tmp_path, Program(0, 2 * ATTACH, payloads=(Payload((SCHEDULER,)),), ops=ops), topology=TWO)
    assert [one.text.strip() for one in record.reads or ()] == ["enabled"]
    assert record.errors == ()
