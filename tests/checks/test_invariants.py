from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from msgspec.structs import replace

from ktstr.checks import invariants
from ktstr.checks.invariants import Watched
from ktstr.checks.model import Group, WorkGroup, gather
from ktstr.checks.restraint import Quota, Restraints, Stretch
from ktstr.checks.samples import View
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Verdict
from ktstr.record.samples import CpuSample
from tests.checks.reports import worker
from tests.checks.sampled import LOCAL, MS, START, cpu, ext, task, view

QUOTA = Restraints(2, (Quota("a", 25_000, 100_000),))
ALONE = gather([WorkGroup(0, "a", "SpinWait", 1)], ())
GONE = Restraints(2, offline={0: (Stretch(0, 99_000 * MS),)})


def watched(
    seen: View, *, exact: bool = True, even: bool = True, groups: tuple[Group, ...] = ALONE, **limits: Any
) -> Watched:
    return Watched(seen, merge({}, limits), exact=exact, even=even, groups=groups)


def doing(work_type: str, tid: int) -> tuple[Group, ...]:
    """One worker of this type."""
    return gather([WorkGroup(0, "a", work_type, 1)], [worker(0, tid=tid)])


def reasons(seen: View, **how: Any) -> list[str]:
    details = invariants.judge(watched(seen, **how))
    assert all(detail.kind == "Invariant" and detail.verdict is Verdict.FAIL for detail in details)
    return [detail.message for detail in details]


class TestWorkConservation:
    def crowd(self, **changes: object) -> CpuSample:
        return cpu(task(1), task(2, waits_ms=9, **changes))

    def test_a_cpu_that_idles_while_somebody_waits_is_told(self) -> None:
        (told,) = reasons(view(*[[cpu(), self.crowd()]] * 6, names={2: "/ktstr/a"}))
        assert told == (
            "work conservation: CPU 0 was idle from 0 to 500 ms while tasks that may run there waited, such as"
            " worker/2[2] on CPU 1's fair runqueue: 500 ms > limit 400 ms (max_idle_wait_ms, default)"
        )

    def test_at_the_limit_it_is_not(self) -> None:
        assert reasons(view(*[[cpu(), self.crowd()]] * 5)) == []

    def test_a_cpu_that_is_offline_does_not_idle(self) -> None:
        seen = view(*[[cpu(), self.crowd()]] * 6)
        assert reasons(changed(seen, restraints=GONE)) == []
        assert len(reasons(changed(seen, restraints=Restraints(2, offline={1: (Stretch(0, 99_000 * MS),)})))) == 1

    def test_nothing_is_balanced_to_an_isolated_cpu_or_within_an_isolated_partition(self) -> None:
        seen = view(*[[cpu(), self.crowd()]] * 6, names={2: "/ktstr/a"})
        for held in (Restraints(2, isolated=frozenset({0})), Restraints(2, partitions=frozenset({"a"}))):
            assert reasons(changed(seen, restraints=held)) == []
        for held in (Restraints(2, isolated=frozenset({1})), Restraints(2, partitions=frozenset({"b"}))):
            assert len(reasons(changed(seen, restraints=held))) == 1

    def test_a_cpu_idles_as_soon_as_it_is_back(self) -> None:
        """Back at 60 ms of the workload, which began after 40 ms, it idles from the sample at 100 ms to that at 600."""
        back = Restraints(2, offline={0: (Stretch(0, 100 * MS),)})
        (told,) = reasons(changed(view(*[[cpu(), self.crowd()]] * 7), restraints=back))
        assert "was idle from 100 to 600 ms" in told
        assert reasons(changed(view(*[[cpu(), self.crowd()]] * 6), restraints=back)) == []

    def test_a_task_that_may_be_throttled_waits_for_no_cpu(self) -> None:
        seen = view(*[[cpu(), self.crowd()]] * 6, names={2: "/ktstr/a/inner"})
        assert len(reasons(seen)) == 1 and reasons(changed(seen, restraints=QUOTA)) == []
        other = view(*[[cpu(), self.crowd()]] * 6, names={2: "/ktstr/b"})
        assert len(reasons(changed(other, restraints=QUOTA))) == 1

    def test_tasks_that_may_not_run_there_are_no_reason(self) -> None:
        assert reasons(view(*[[cpu(), self.crowd(allowed="1-3")]] * 9)) == []

    def test_a_wait_of_less_than_a_millisecond_is_no_wait(self) -> None:
        assert reasons(view(*[[cpu(), cpu(task(1), task(2, waits_ms=0.9))]] * 9)) == []

    def test_a_cpu_that_was_busy_between_samples_did_not_idle(self) -> None:
        """Its tasks may run and sleep in step with the samples."""
        assert reasons(view(*([cpu(switches=4 * n), self.crowd()] for n in range(9)))) == []

    def test_in_real_time_a_cpu_may_have_waited_for_its_host(self) -> None:
        def seen(step: float) -> View:
            return view(*([cpu(denied_ns=round(n * step * MS)), replace(self.crowd(), denied_ns=3)] for n in range(6)))

        assert reasons(seen(20), exact=False) == []
        assert len(reasons(seen(19), exact=False)) == 1
        assert reasons(view(*[[cpu(), self.crowd()]] * 6), exact=False) == []

    def test_tasks_that_nobody_dispatches_leave_the_cpu_idle_that_has_them(self) -> None:
        (told,) = reasons(view(*[[cpu(None, ext(2, 0))]] * 9), max_wait_ms=9000)
        assert "CPU 0 was idle from 0 to 800 ms" in told and "in DSQ 0x0" in told


class TestBoundedWait:
    def test_tasks_of_a_cgroup_that_wait_in_one_place_are_one_reason(self) -> None:
        waiting = (ext(2, LOCAL, waits_ms=1500), ext(3, LOCAL, waits_ms=1700))
        seen = view([cpu(task(1), *waiting)], names=dict.fromkeys((2, 3), "/ktstr/a"))
        (told,) = reasons(seen)
        assert told == (
            "bounded wait: worker/3[3] waited 1700 ms in CPU 0's local DSQ, until 0 ms, may run on CPUs 0-3, as did 1"
            " more of its cgroup; limit 1000 ms (max_wait_ms, default)"
        )

    def test_one_that_is_queued_anew_without_having_run_still_waits(self) -> None:
        seen = view(*([cpu(task(1), task(2, waits_ms=50))] for _ in range(13)))
        (told,) = reasons(seen)
        assert "worker" not in told and "task 2 waited 1200 ms" in told

    def test_one_that_ran_between_does_not(self) -> None:
        assert reasons(view(*([cpu(task(1), task(2, waits_ms=50, exec_ns=n * MS))] for n in range(1, 20)))) == []

    def test_the_hosts_pauses_are_not_the_schedulers(self) -> None:
        """In real time: of the 1200 ms another vCPU waited 240 ms for the host, or 192."""

        def seen(step: float) -> View:
            other = (cpu(task(9, exec_ns=n), denied_ns=round(n * step * MS)) for n in range(13))
            return view(*([cpu(task(1), task(2, waits_ms=50), denied_ns=7), each] for each in other))

        assert reasons(seen(20), exact=False) == []
        assert len(reasons(seen(16), exact=False)) == 1

    def test_a_task_of_a_limited_cgroup_may_wait_as_much_longer_as_that_takes(self) -> None:
        """25 ms in 100: off CPU for 75 ms, and for 40 more by what it ran beyond until a tick of 10 ms."""

        def seen(waits_ms: float) -> View:
            found = view([cpu(task(1), task(2, waits_ms=waits_ms))], names={2: "/ktstr/a"})
            return changed(found, restraints=QUOTA, begin_ns=START - 2000 * MS)

        assert reasons(seen(1115)) == []
        (told,) = reasons(seen(1116))
        assert told.endswith("limit 1000 ms, here 1115 ms for its cpu.max (max_wait_ms, default)")
        assert len(reasons(changed(seen(1001), restraints=Restraints()))) == 1

    def test_where_it_was_not_measured_nobody_is_blamed_in_real_time(self) -> None:
        assert reasons(view([cpu(task(1), task(2, waits_ms=5000))]), exact=False) == []


class TestAffinity:
    def test_a_task_where_it_may_not_run_is_told_when_it_is_seen_twice(self) -> None:
        astray = [cpu(), cpu(task(7, allowed="0,2"))]
        assert reasons(view(astray)) == []
        assert reasons(view(astray, astray)) == [
            "affinity: task 7 ran on CPU 1 at 100 ms, may run on CPUs 0,2 (affinity, default)"
        ]

    def test_a_task_whose_every_cpu_is_offline_runs_elsewhere(self) -> None:
        astray = [cpu(), cpu(task(7, allowed="0"))]
        assert len(reasons(view(astray, astray))) == 1
        assert reasons(changed(view(astray, astray), restraints=GONE)) == []
        half = [cpu(), cpu(task(7, allowed="0,2"))]
        assert len(reasons(changed(view(half, half), restraints=GONE))) == 1

    def test_one_whose_cpus_changed_meanwhile_may_be_on_its_way_both_times(self) -> None:
        assert reasons(view([cpu(), cpu(task(7, allowed="0"))], [cpu(), cpu(task(7, allowed="2"))])) == []

    def test_one_whose_cpus_change_all_the_time_is_judged_where_nothing_else_ran(self) -> None:
        astray = [cpu(), cpu(task(7, allowed="0"))]
        later = [cpu(), cpu(task(7, allowed="0"), switches=9)]
        churns = doing("AffinityChurn", 7)
        assert reasons(view(astray, later), groups=churns) == []
        assert len(reasons(view(astray, later), groups=doing("SpinWait", 7))) == 1
        assert len(reasons(view(astray, astray), groups=churns)) == 1

    def test_the_stopper_is_left_alone(self) -> None:
        assert reasons(view(*[[cpu(), cpu(task(7, kind="stop", allowed="0"))]] * 3)) == []

    def test_it_can_be_turned_off(self) -> None:
        assert reasons(view(*[[cpu(), cpu(task(7, allowed="0"))]] * 3), affinity=False) == []


class TestOneQueue:
    DOUBLE = (cpu(task(1), task(5, waits_ms=2)), cpu(task(5)))

    def test_a_task_on_two_runqueues_is_told(self) -> None:
        assert reasons(view(self.DOUBLE)) == [
            "one queue: task 5 was on the runqueues of CPUs 0 and 1 at 0 ms, limit 1 (one_queue, default)"
        ]

    def test_in_real_time_only_when_it_stays(self) -> None:
        assert reasons(view(self.DOUBLE), exact=False) == []
        assert len(reasons(view(self.DOUBLE, self.DOUBLE), exact=False)) == 1


class TestVtime:
    def run(self, *vtimes: int, **limits: Any) -> list[str]:
        return reasons(view(*([cpu(task(3, vtime=vtime))] for vtime in vtimes)), **limits)

    def test_it_is_judged_when_asked_for(self) -> None:
        assert self.run(5, 4) == []
        (told,) = self.run(5, 9, 4, vtime_forward=True)
        assert told == "vtime: the vtime of task 3 on CPU 0 went back from 9 to 4 by 200 ms (vtime_forward, test)"

    def test_it_wraps(self) -> None:
        assert self.run((1 << 64) - 1, 3, vtime_forward=True) == []

    def test_on_another_cpu_it_is_another(self) -> None:
        there = view([cpu(task(3, vtime=9)), cpu()], [cpu(), cpu(task(3, vtime=2))])
        assert reasons(there, vtime_forward=True) == []


class TestShares:
    def shared(self, *ran: float, sleeps: bool = False) -> View:
        """Three tasks on one CPU, that ran so much in each 100 ms."""
        moments = []
        for n in range(6):
            tasks = [task(p, waits_ms=None if p == 1 else 1, exec_ns=round(n * r * MS)) for p, r in enumerate(ran, 1)]
            kept = tasks[:-1] if sleeps and n == 3 else tasks
            moments.append([cpu(*kept)])
        return view(*moments, names={1: "/ktstr/a", 2: "/ktstr/b", 3: "/ktstr/b"})

    def test_a_cgroup_that_gets_next_to_nothing_is_told(self) -> None:
        """Fair is the lesser of a third (by tasks) and a half (by cgroups): a quarter of a third is 8.3 %."""
        (told,) = reasons(self.shared(8, 46, 46), max_wait_ms=9000)
        assert told == (
            "cgroup share: cgroup /ktstr/a got 8.0 % of the CPU time that 2 cgroups had on CPUs 0-3 in 0.4 s, fair"
            " would be 33.3 %: less than 0.25 of it (min_cgroup_share, default)"
        )

    def test_both_ways_to_be_fair_are(self) -> None:
        assert (
            reasons(self.shared(33, 33, 33))
            == reasons(self.shared(50, 25, 25))
            == reasons(self.shared(9, 45, 45))
            == []
        )

    def test_a_cgroup_deep_down_is_fairly_given_what_its_level_has(self) -> None:
        """Of /a and four in /p/q, each of these has an eighth: at least 3.1 % of the time, though a fifth has 5."""
        names = {1: "/k/a", 2: "/k/p/1", 3: "/k/p/2", 4: "/k/p/3", 5: "/k/p/4"}

        def seen(least: float) -> View:
            rest = (100 - least) / 4
            ran = (rest, least, rest, rest, rest)
            moments = [
                [
                    cpu(
                        *(
                            task(p, waits_ms=None if p == 1 else 1, exec_ns=round(n * r * MS))
                            for p, r in enumerate(ran, 1)
                        )
                    )
                ]
                for n in range(6)
            ]
            return view(*moments, names=names)

        assert reasons(seen(3.2)) == []
        (told,) = reasons(seen(3.1))
        assert "cgroup /k/p/1 got 3.1 %" in told and "fair would be 12.5 %" in told

    def test_one_whose_tasks_sleep_is_not_judged(self) -> None:
        assert reasons(self.shared(90, 9, 1, sleeps=True)) == []

    def test_one_whose_tasks_give_their_cpu_up_is_not_judged(self) -> None:
        seen = self.shared(1, 49, 50)
        assert reasons(seen, groups=doing("YieldHeavy", 1)) == []
        assert len(reasons(seen, groups=doing("SpinWait", 1))) == 1

    def test_weights_that_differ_are_not_judged(self) -> None:
        assert reasons(self.shared(1, 49, 50), even=False) == []


class TestLeak:
    def grown(self, *dsqs: int | None, roots: int = 1) -> View:
        seen = view(*[[cpu()]] * len(dsqs))
        samples = (
            replace(sample, dsqs=n, root=1 + i * roots // len(dsqs))
            for i, (sample, n) in enumerate(zip(seen.samples, dsqs, strict=True))
        )
        return changed(seen, samples=tuple(samples))

    def test_queues_that_are_never_destroyed_are_told(self) -> None:
        assert reasons(self.grown(3, 90, 200, 104)) == [
            "DSQ leak: the scheduler had 3 DSQs at 0 ms and 104 at 300 ms: 101 more > limit 100 (max_dsq_growth,"
            " default)"
        ]

    def test_at_the_limit_or_unknown_it_is_none(self) -> None:
        assert reasons(self.grown(3, 500, 103)) == reasons(self.grown(None, None)) == reasons(self.grown(900, 3)) == []

    def test_another_scheduler_begins_anew(self) -> None:
        assert reasons(self.grown(3, 90, 190, 200, roots=2)) == []


def test_no_more_reasons_are_told_than_can_be_read() -> None:
    many = [cpu(task(n, allowed="3")) for n in range(20)]
    assert len(reasons(view(many, many))) == 8


def test_a_quiet_run_of_equal_tasks_breaks_none() -> None:
    moments = []
    for n in range(20):
        tasks = [task(p, waits_ms=None if p == 1 + n % 2 else 4, exec_ns=n * 50 * MS, vtime=n) for p in (1, 2)]
        moments.append([cpu(*sorted(tasks, key=lambda t: t.queued_ns is not None)), cpu(task(3, exec_ns=n * 100 * MS))])
    run = watched(view(*moments, names={1: "/ktstr/a", 2: "/ktstr/b", 3: "/ktstr/a"}), vtime_forward=True)
    assert invariants.judge(run) == []
    assert invariants.judge(changed(run, exact=False)) == []
