from __future__ import annotations

from dataclasses import replace as changed

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ktstr.checks import monitor
from ktstr.checks.restraint import Quota, Restraints, Stretch
from ktstr.checks.samples import View
from ktstr.checks.stats import scenario_stats
from ktstr.checks.thresholds import Thresholds, merge
from ktstr.record.guest import Stimulus
from ktstr.record.samples import CpuSample, MonitorSample, Schedstat
from tests.checks.sampled import LOCAL, MS, SHARED, START, cpu, ext, task, view

DEFAULTS = merge({}, {})


def reasons(seen: View, limits: Thresholds = DEFAULTS, *, sched_ext: bool = True) -> list[str]:
    return [detail.message for detail in monitor.judge(seen, limits, sched_ext=sched_ext)]


def with_events(seen: View, *counts: dict[str, int], root: int = 1) -> View:
    changed = (replace(s, events=events, root=root) for s, events in zip(seen.samples, counts, strict=True))
    return View(tuple(changed), seen.names, seen.begin_ns, seen.start_ns, seen.end_ns)


def queue(length: int, *, dsq: int | None = LOCAL, first: int = 1) -> CpuSample:
    """A CPU with so many tasks, one of which runs."""
    if not length:
        return cpu(local_dsq=0)
    waiting = (ext(first + n, dsq) for n in range(1, length))
    return cpu(task(first, kind="ext"), *waiting, local_dsq=length - 1 if dsq == LOCAL else 0)


class TestSummary:
    def test_numbers_are_those_worked_out_by_hand(self) -> None:
        seen = view([queue(4), queue(2, first=10)], [queue(1), queue(0)])
        found = monitor.summary(seen)
        assert (found.total_samples, found.max_imbalance_ratio, found.avg_imbalance_ratio) == (2, 2.0, 1.5)
        assert (found.max_local_dsq_depth, found.avg_local_dsq_depth) == (3, (3 + 1 + 0 + 0) / 4)
        assert (found.avg_nr_running, found.stuck_count) == ((4 + 2 + 1 + 0) / 4, 0)
        assert found.event_deltas is UNSET and found.schedstat_deltas is UNSET

    def test_counters_grow_and_a_scheduler_that_was_replaced_counts_anew(self) -> None:
        seen = view([queue(1)], [queue(1)], [queue(1)])
        events = [{"SELECT_CPU_FALLBACK": n, "DISPATCH_KEEP_LAST": 10 * n} for n in (100, 130, 5)]
        seen = with_events(seen, *events)
        again = replace(seen.samples[2], root=2)
        seen = View((*seen.samples[:2], again), seen.names, seen.begin_ns, seen.start_ns, seen.end_ns)
        deltas = monitor.summary(seen).event_deltas
        assert deltas is not UNSET
        assert (deltas.total_fallback, deltas.max_fallback_burst, deltas.fallback_rate) == (30 + 5, 30, 175.0)
        assert (deltas.total_dispatch_keep_last, deltas.total_bypass_activate) == (350, 0)

    def test_a_counter_that_goes_back_counts_nothing(self) -> None:
        seen = with_events(view([queue(1)], [queue(1)]), {"SELECT_CPU_FALLBACK": 9}, {"SELECT_CPU_FALLBACK": 2})
        deltas = monitor.summary(seen).event_deltas
        assert deltas is not UNSET and deltas.total_fallback == 0

    def test_schedstat_is_what_it_grew_by(self) -> None:
        seen = view([queue(1)], [queue(1)])
        first, last = Schedstat(1, 2, 3, 4, 5, 6, 7), Schedstat(11, 22, 33, 44, 55, 66, 77)
        counted = tuple(replace(s, schedstat=c) for s, c in zip(seen.samples, (first, last), strict=True))
        deltas = monitor.summary(View(counted, {}, START, START, None)).schedstat_deltas
        assert deltas is not UNSET
        assert (deltas.total_run_delay, deltas.total_pcount, deltas.total_ttwu_local) == (10, 20, 70)
        assert (deltas.wall_sec, deltas.run_delay_rate) == (0.1, 100.0)

    def test_phases_have_their_samples(self) -> None:
        seen = view([queue(4), queue(1)], [queue(1), queue(1)])
        stimuli = [Stimulus(at, op, "", 0) for at, op in ((40 * MS, "Release"), (100 * MS, "StopWorkers"))]
        (phase,) = monitor.with_phases(scenario_stats((), stimuli), seen).phases
        assert (phase.sample_count, phase.metrics["max_imbalance_ratio"], phase.metrics["avg_dsq_depth"]) == (
            1,
            4.0,
            1.5,
        )

    @pytest.mark.parametrize(("wanted", "had"), [(0, 0), (1, 1), (3, 3), (50, 5)])
    def test_captures_are_samples_evenly_apart(self, wanted: int, had: int) -> None:
        assert monitor.captured(view(*[[queue(1)]] * 5), wanted) == had


class TestLimits:
    def test_a_quiet_run_breaks_none(self) -> None:
        assert reasons(view(*[[queue(2), queue(2, first=9)]] * 20)) == []

    def test_an_imbalance_that_lasts_is_told_with_both_cpus(self) -> None:
        (told,) = reasons(view(*[[queue(1), queue(6, first=9)]] * 6))
        assert told == (
            "imbalance 6.0: CPU 1 had 6 tasks, CPU 0 1, limit 4 (max_imbalance_ratio, default),"
            " beyond it for 5 samples from 100 ms on"
        )

    def test_one_that_does_not_last_is_not(self) -> None:
        long, even = [queue(1), queue(6, first=9)], [queue(2), queue(2, first=9)]
        assert reasons(view(even, *[long] * 4, even, *[long] * 4)) == []

    def test_tasks_that_may_run_nowhere_else_are_no_imbalance(self) -> None:
        pinned = cpu(task(1), *(task(n, waits_ms=5, allowed="1") for n in range(2, 9)))
        assert reasons(view(*[[queue(1), pinned]] * 9)) == []

    def test_tasks_in_a_shared_queue_are_on_no_cpus(self) -> None:
        assert reasons(view(*[[queue(1), queue(9, dsq=SHARED, first=9)]] * 9)) == []

    def test_defaults_are_for_schedulers_in_bpf_and_what_was_asked_for_is_judged(self) -> None:
        seen = view(*[[queue(1), queue(6, first=9)]] * 6)
        assert reasons(seen, sched_ext=False) == []
        assert len(reasons(seen, merge({}, {"max_imbalance_ratio": 3}), sched_ext=False)) == 1

    def test_a_deep_local_queue_is_told_with_its_cpu(self) -> None:
        limits = merge({}, {"max_local_dsq_depth": 3, "max_imbalance_ratio": 99})
        (told,) = reasons(view(*[[queue(1), queue(6, first=9)]] * 9), limits)
        assert told.startswith("5 tasks in the local DSQ of CPU 1, limit 3 (max_local_dsq_depth, test)")

    def test_fallbacks_are_counted_by_the_second(self) -> None:
        counts = [{"SELECT_CPU_FALLBACK": 30 * n} for n in range(7)]
        (told,) = reasons(with_events(view(*[[queue(1)]] * 7), *counts))
        assert told.startswith("300 select_cpu fallbacks a second, limit 200 (max_fallback_rate, default)")

    def test_keep_lasts_count_only_while_somebody_waits(self) -> None:
        counts = [{"DISPATCH_KEEP_LAST": 30 * n} for n in range(7)]
        assert reasons(with_events(view(*[[queue(1)]] * 7), *counts)) == []
        (told,) = reasons(with_events(view(*[[queue(2)]] * 7), *counts))
        assert told.startswith("300 dispatch keep-lasts a second, limit 100")
        in_turn = [[queue(2, first=1 + 2 * (n % 2))] for n in range(7)]
        assert reasons(with_events(view(*in_turn), *counts)) == []


class TestWhatTheScenarioDid:
    def test_a_cpu_that_is_offline_has_no_queue(self) -> None:
        """Five tasks on CPU 0 of which each may run on CPU 1: it is offline from 40 ms before the workload on."""
        seen = view(*[[queue(5), queue(0), queue(1, first=20)]] * 9)
        gone = Restraints(3, offline={1: (Stretch(0, 99_000 * MS),)})
        assert reasons(seen)[0].startswith("imbalance 5.0: CPU 0 had 5 tasks, CPU 1 0, limit 4")
        assert reasons(changed(seen, restraints=gone))[0].startswith(
            "imbalance 5.0: CPU 0 had 5 tasks, CPU 2 1, limit 4"
        )
        two = view(*[[queue(5), queue(0)]] * 9)
        assert len(reasons(two)) == 1 and reasons(changed(two, restraints=gone)) == []
        both = (
            monitor.summary(two).max_imbalance_ratio,
            monitor.summary(changed(two, restraints=gone)).max_imbalance_ratio,
        )
        assert both == (5.0, 1.0)

    def test_a_cpu_counts_again_when_it_is_back(self) -> None:
        """It is read to be back 440 ms after the scenario began, at the fifth of ten samples, of which five follow."""
        back = Restraints(2, offline={1: (Stretch(0, 440 * MS),)})
        seen = changed(view(*[[queue(5), queue(0)]] * 10), restraints=back)
        assert reasons(seen)[0].endswith("beyond it for 5 samples from 500 ms on")
        later = Restraints(2, offline={1: (Stretch(0, 540 * MS),)})
        assert reasons(changed(seen, restraints=later)) == []

    def test_nothing_is_balanced_to_an_isolated_cpu_or_within_an_isolated_partition(self) -> None:
        seen = view(*[[queue(5), queue(0)]] * 9, names=dict.fromkeys(range(1, 6), "/ktstr/a"))
        for held in (Restraints(2, isolated=frozenset({1})), Restraints(2, partitions=frozenset({"a"}))):
            assert reasons(changed(seen, restraints=held)) == []
        assert len(reasons(changed(seen, restraints=Restraints(2, isolated=frozenset({0}))))) == 1

    def test_tasks_that_may_be_throttled_are_on_no_queue(self) -> None:
        quota = Restraints(2, (Quota("a", 25_000, 100_000),))
        seen = view(*[[queue(5), queue(0)]] * 9, names=dict.fromkeys(range(1, 6), "/ktstr/a"))
        assert len(reasons(seen)) == 1 and reasons(changed(seen, restraints=quota)) == []
        other = view(*[[queue(5), queue(0)]] * 9, names=dict.fromkeys(range(1, 6), "/ktstr/ab"))
        assert len(reasons(changed(other, restraints=quota))) == 1


class TestStuck:
    def stuck(self, given: list[int | None], running: int = 1) -> View:
        frozen = [cpu(task(1), clock=77, given_ns=ns, nr_running=running) for ns in given]
        return view(*([one, cpu(task(2))] for one in frozen))

    def test_a_clock_that_stands_still_with_tasks_to_run_is_told(self) -> None:
        (told,) = reasons(self.stuck([None] * 6))
        assert told == (
            "CPU 0's runqueue clock stood still from 0 to 500 ms with 1 task(s) to run, for 5 samples, limit 5"
            " (fail_on_stall, default)"
        )
        assert monitor.summary(self.stuck([None] * 6)).stuck_count == 5

    def test_a_vcpu_that_its_host_did_not_run_is_not_stuck(self) -> None:
        assert reasons(self.stuck([n * 39 * MS for n in range(9)])) == []
        assert len(reasons(self.stuck([n * 40 * MS for n in range(9)]))) == 1

    def test_an_idle_cpu_may_stand_still(self) -> None:
        assert reasons(self.stuck([None] * 9, running=0)) == []

    def test_it_can_be_turned_off(self) -> None:
        assert reasons(self.stuck([None] * 9), merge({}, {"fail_on_stall": False})) == []


def test_events_of_a_kernel_without_them_are_not_made_up() -> None:
    seen = view([queue(1)], [queue(1)])
    assert all(isinstance(sample, MonitorSample) and sample.events is None for sample in seen.samples)
    assert monitor.summary(seen).event_deltas is UNSET
