from __future__ import annotations

import pytest
from msgspec.structs import replace

from ktstr.checks import samples
from ktstr.checks.samples import longest_run, queue_name, view
from ktstr.record.guest import Stimulus
from ktstr.record.samples import MonitorRecord, MonitorSample, TaskSample
from tests.checks import sampled
from tests.checks.reports import heard, record
from tests.checks.sampled import BEHIND, LOCAL, MS, START, cpu, ext, task


def test_a_wait_is_counted_by_the_schedulers_clock_which_began_later() -> None:
    seen = sampled.view([cpu(task(1), task(2, waits_ms=30))], [cpu(task(1), task(2, waits_ms=130))])
    assert seen.offset_ns == BEHIND
    assert [w.wait_ns for sample in seen.samples for w in seen.waiting(sample)] == [30 * MS, 130 * MS]


def test_a_clock_that_stopped_on_an_idle_cpu_does_not_shift_the_others() -> None:
    seen = sampled.view([cpu(clock=5), cpu(task(1), task(2, waits_ms=30))])
    assert [w.wait_ns for w in seen.waiting(seen.samples[0])] == [30 * MS]


def test_what_sched_ext_counted_is_believed_where_it_is_longer() -> None:
    """A task that is moved while it waits is queued anew."""
    seen = sampled.view([cpu(task(1), ext(2, 7, waits_ms=5, runnable_ms=900))])
    assert [w.wait_ns for w in seen.waiting(seen.samples[0])] == [900 * MS]


def test_a_wait_of_a_task_that_was_never_queued_is_not_known() -> None:
    seen = sampled.view([cpu(task(1), task(2))])
    assert [w.wait_ns for w in seen.waiting(seen.samples[0])] == [None]


def test_a_stamp_from_before_a_task_was_seen_not_to_wait_is_not_believed() -> None:
    """Nor one from before the scenario. While it is seen to wait, from sample to sample, its wait goes on."""
    stale = [task(2, waits_ms=ms) for ms in (1000, 1100, 1300, 1400, 1500)]
    seen = sampled.view(*([cpu(task(1), *found)] for found in (stale[:1], stale[1:2], [], stale[3:4], stale[4:])))
    waits = [[w.wait_ns for w in seen.waiting(sample)] for sample in seen.samples]
    assert waits == [[40 * MS], [140 * MS], [], [100 * MS], [200 * MS]]


def test_a_task_may_have_waited_on_a_runqueue_that_was_not_read_whole() -> None:
    seen = sampled.view([cpu(task(1), cut=True)], [cpu(task(1), task(2, waits_ms=900))])
    assert [w.wait_ns for w in seen.waiting(seen.samples[1])] == [900 * MS]


@pytest.mark.parametrize(
    ("waiting", "name"),
    [
        (task(1), "on CPU 3's fair runqueue"),
        (task(1, kind="rt"), "on CPU 3's rt runqueue"),
        (ext(1, LOCAL), "in CPU 3's local DSQ"),
        (ext(1, (1 << 63) | 1), "in the global DSQ"),
        (ext(1, 0x2A), "in DSQ 0x2a"),
        (ext(1, None), "on no DSQ (CPU 3)"),
    ],
)
def test_where_a_task_waits_is_named(waiting: TaskSample, name: str) -> None:
    assert queue_name(3, waiting) == name


def test_the_longest_stretch_is_found() -> None:
    assert longest_run([1, 0, 1, 1, 0, 1], bool) == [1, 1]
    assert longest_run([0, 0], bool) == []


STIMULI = tuple(Stimulus(at, op, "", 0) for at, op in ((40 * MS, "Release"), (240 * MS, "StopWorkers")))


def seen_at(*at_ns: int, begin_ns: int | None = START) -> MonitorRecord:
    made = tuple(MonitorSample(at_ns=at, cpus=(cpu(),)) for at in at_ns)
    return MonitorRecord(samples=made, tasks=(), begin_ns=begin_ns, unwatched=None, cost_s=0.1)


def test_only_samples_of_the_workload_are_judged() -> None:
    at = [START + ms * MS for ms in (0, 39, 40, 140, 240, 241)]
    whole = replace(record(heard(stimuli=STIMULI, ended=True)), monitor=seen_at(*at))
    found = view(whole)
    assert found is not None
    assert [(s.at_ns - START) // MS for s in found.samples] == [40, 140, 240]
    assert (found.start_ns, found.end_ns) == (START + 40 * MS, START + 240 * MS)
    assert found.ms(found.samples[1]) == 100


def test_a_workload_that_never_stopped_is_judged_to_the_end() -> None:
    whole = replace(record(heard(stimuli=STIMULI[:1])), monitor=seen_at(START + 50 * MS, START + 9_000 * MS))
    found = view(whole)
    assert found is not None and len(found.samples) == 2 and found.end_ns is None


@pytest.mark.parametrize(
    "monitor", [None, seen_at(), seen_at(START, begin_ns=None), seen_at(START - 1), seen_at(START + 900 * MS)]
)
def test_without_a_sample_of_the_workload_there_is_no_view(monitor: MonitorRecord | None) -> None:
    assert view(replace(record(heard(stimuli=STIMULI)), monitor=monitor)) is None


def test_a_list_that_is_none_allows_nothing() -> None:
    assert samples.cpus_of("0-1") == {0, 1}
    assert samples.cpus_of("") == samples.cpus_of("x") == frozenset()
