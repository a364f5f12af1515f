from __future__ import annotations

import pytest

from ktstr.config import ops
from ktstr.config import scenario_fields as tables
from ktstr.config.ops import Op
from ktstr.config.scenario import Affinity, Cgroup, Cpuset, Work
from tests.config.declarations import mistake, test_of

STEPS = """
backdrop:
  cgroups: [a, b, {{name: empty, workers: 0}}]
  payloads: [bench]
steps:
  - ops: [{}]
"""


def op(written: str) -> Op:
    """The op that stands after ``run other``, which makes a payload that may be waited for."""
    return test_of(STEPS.format(f"{{op: run, payload: other}}, {{{written}}}")).steps[0].ops[1]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("op: add_cgroup, cgroup: x/y, cpuset: {llc: 0}, mems: 1, cpu.weight: 5",
         ops.AddCgroup(cgroup=Cgroup("x/y", cpuset=Cpuset("llc", (0,)), mems=(1,), controls=(("cpu.weight", "5"),)))),
        ("op: set_cpuset, cgroup: a, cpuset: {exact: 0-1}",
         ops.SetCpuset(cgroup="a", cpuset=Cpuset("exact", (0, 1)))),
        ("op: clear_cpuset, cgroup: a", ops.ClearCpuset(cgroup="a")),
        ("op: swap_cpusets, cgroups: [a, b]", ops.SwapCpusets(a="a", b="b")),
        ("op: set, cgroup: a, cpu.max: 50%, cpu.weight: 7",
         ops.SetControls(cgroup="a", controls=(("cpu.max", "50000 100000"), ("cpu.weight", "7")))),
        ("op: freeze, cgroup: a", ops.Freeze(cgroup="a", frozen=True)),
        ("op: unfreeze, cgroup: a", ops.Freeze(cgroup="a", frozen=False)),
        ("op: spawn, cgroup: empty, workers: 3, nice: 1", ops.Spawn(cgroup="empty", work=Work(workers=3, nice=1))),
        ("op: spawn_host, work: YieldHeavy", ops.Spawn(cgroup=None, work=Work("YieldHeavy"))),
        ("op: set_affinity, cgroup: a, affinity: single",
         ops.SetAffinity(cgroup="a", affinity=Affinity("single"))),
        ("op: move_tasks, from: a, to: b", ops.MoveTasks(source="a", target="b")),
        ("op: offline, cpus: {exact: 1}", ops.Hotplug(cpus=Cpuset("exact", (1,)), online=False)),
        ("op: online, cpus: {llc: 1}", ops.Hotplug(cpus=Cpuset("llc", (1,)), online=True)),
        ("op: run, payload: bench, cgroup: a, args: [-n, 3]", ops.RunPayload("bench", "a", ("-n", "3"))),
        ("op: run, payload: bench, cgroup: a", ops.RunPayload("bench", "a")),
        ("op: wait, payload: other", ops.WaitPayload("other")),
        ("op: wait, payload: other, timeout: 3s", ops.WaitPayload("other", None, 3_000_000_000)),
        ("op: kill, payload: other", ops.KillPayload("other")),
    ],
)  # fmt: skip
def test_an_op_is_read(written: str, expected: Op) -> None:
    made = op(written)
    assert made == expected
    assert made.where == "ktstr.yaml:9:42 tests.t.steps[0].ops[1]"


def test_a_cgroup_of_the_step_may_be_removed_and_stopped() -> None:
    written = "{op: add_cgroup, cgroup: x}, {op: stop, cgroup: x}, {op: remove_cgroup, cgroup: x}"
    made = test_of(STEPS.format(written)).steps[0].ops
    assert made[1:] == (ops.StopWorkers(cgroup="x"), ops.RemoveCgroup(cgroup="x"))


def test_every_op_has_its_table_and_reader() -> None:
    from ktstr.config.opdecl import _MAKERS

    assert list(_MAKERS) == list(tables.OPS)


NAMES = ", ".join(tables.OPS)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("^freeze", ": found 'freeze', expected a mapping with op, such as {op: freeze, cgroup: a}"),
        ("^{cgroup: a}", f".op: found nothing, expected one of {NAMES}"),
        ("{op: ^freze, cgroup: a}", f".op: found 'freze', expected one of {NAMES}, nearest match 'freeze'"),
        ("^{op: freeze}", ".cgroup: found nothing, expected the cgroup, by its path"),
        ("{op: freeze, ^cgruop: a, cgroup: a}",
         ".cgruop: found 'cgruop', expected one of op, cgroup, nearest match 'cgroup'"),
        ("{op: swap_cpusets, cgroups: ^[a]}", ".cgroups: found a list of 1, expected two cgroups, such as [a, b]"),
        ("{op: swap_cpusets, cgroups: [a, ^a]}", ".cgroups[1]: found 'a', expected another cgroup than the first"),
        ("^{op: set, cgroup: a}",
         f": found nothing to set, expected at least one of {', '.join(tables.CONTROLS)}"),
        ("{op: set, cgroup: a, cpu.max: ^0}",
         ".cpu.max: found 0, expected a percentage of one CPU such as 25%, 'QUOTA PERIOD' in microseconds, or max,"
         " nearest match '0%'"),
        ("{op: spawn, cgroup: a, workers: ^0}", ".workers: found 0, expected a whole number from 1 to 1024"),
        ("{op: spawn, cgroup: a, work: PipeIo, workers: ^3}",
         ".workers: found 3, expected a multiple of 2 for PipeIo"),
        ("{op: spawn_host, ^cgroup: a}",
         ".cgroup: found 'cgroup', expected one of op, " + ", ".join(tables.WORK) + ", nearest match 'groups'"),
        ("{op: move_tasks, from: a, to: ^a}", ".to: found 'a', expected another cgroup than that of from"),
        ("{op: offline, cpus: {exact: ^0-1}}",
         ".cpus.exact: found CPU 0, expected CPUs other than CPU 0, which cannot go offline"),
        ("{op: run, payload: ^bnch}",
         ".payload: found 'bnch', expected one of the payloads (bench, other), nearest match 'bench'"),
        ("{op: wait, payload: ^bnch}",
         ".payload: found 'bnch', expected one of the payloads (bench, other), nearest match 'bench'"),
        ("{op: kill, payload: ^bnch}",
         ".payload: found 'bnch', expected one of the payloads (bench, other), nearest match 'bench'"),
        ("{op: wait, payload: bench, timeout: ^5}",
         ".timeout: found 5, expected a duration with its unit, such as 2s, 500ms or 100us, nearest match '5s'"),
        ("{op: add_cgroup, cgroup: x, ^workers: 2}",
         ".workers: found 'workers', expected one of op, cgroup, cpuset, mems, " + ", ".join(tables.CONTROLS)),
    ],
)  # fmt: skip
def test_a_mistake_in_an_op(written: str, expected: str) -> None:
    found, place = mistake(STEPS.format(written))
    assert found == f"{place}tests.t.steps[0].ops[0]{expected}"
