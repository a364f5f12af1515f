"""Which of the kernel's complaints fail a run."""

from __future__ import annotations

import pytest

from ktstr.checks.kernel_log import complaints, judge
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Verdict
from tests.checks.reports import heard

LIMITS = merge({}, {})
# As 6.12 and 7.2 write them.
OLD = "WARNING: CPU: 2 PID: 97 at kernel/sched/syscalls.c:1259 __sched_setaffinity+0x1d4/0x1f0"
NEW = "WARNING: kernel/sched/core.c:3083 at __set_cpus_allowed_ptr_locked+0x12/0x200, CPU#2: worker/97"
WITH_CONDITION = "WARNING: [!se->on_rq] kernel/sched/fair.c:741 at update_entity_lag+0x9/0x80, CPU#0: kworker/0:1/9"


@pytest.mark.parametrize(
    "line",
    [
        OLD,
        NEW,
        WITH_CONDITION,
        "WARNING: CPU: 0 PID: 1 at kernel/cgroup/cpuset.c:3 x+0x1/0x2",
        "WARNING: possible circular locking dependency detected",
        "WARNING: suspicious RCU usage",
        "BUG: scheduling while atomic: worker/97/0x00000002",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283",
        "BUG: KASAN: slab-use-after-free in pick_task_fair+0x1/0x2",
    ],
)
def test_a_complaint_of_the_scheduler_or_a_bug_fails(line: str) -> None:
    (found,) = judge(heard(sched_kmsg=f"[   12.345678] {line}\n"), LIMITS)
    assert (found.verdict, found.kind) == (Verdict.FAIL, "Invariant")
    assert found.message == f"the kernel complained at 12.345678 s of its log: {line} (no_kernel_warning, default)"


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 0 PID: 1 at drivers/tty/tty_io.c:10 x+0x1/0x2",
        "WARNING: kernel/time/clocksource.c:1 at x+0x1/0x2, CPU#2: a/9",
        "WARNING: kernel stack regs at 0000 in worker:97 has bad 'bp' value",
        "BUG: soft lockup - CPU#1 stuck for 22s! [worker:97]",
        "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!",
        'sched_ext: BPF scheduler "x" enabled',
        "Out of memory: Killed process 9 (worker)",
    ],
)
def test_what_is_not_the_schedulers_or_told_by_time_does_not(line: str) -> None:
    assert judge(heard(sched_kmsg=f"[   12.345678] {line}\n"), LIMITS) == []


def test_each_is_told_once_and_the_rest_counted() -> None:
    lines = [f"[    {n}.000000] BUG: number {n % 5}" for n in range(1, 10)]
    found = judge(heard(sched_kmsg="\n".join(lines)), LIMITS)
    assert [detail.message.split(":")[2] for detail in found] == [" number 1 (no_kernel_warning, default)",
        " number 2 (no_kernel_warning, default)", " number 3; 2 more (no_kernel_warning, default)"]  # fmt: skip
    assert complaints("\n".join(lines))[0] == ("1.000000", "BUG: number 1")


def test_a_test_may_allow_it() -> None:
    assert judge(heard(sched_kmsg=f"[    1.000000] {OLD}\n"), merge({}, {"no_kernel_warning": False})) == []
