from __future__ import annotations

from ktstr.checks.breach import Run
from ktstr.checks.cleanup import judge_cleanup
from ktstr.checks.machine import evidence
from ktstr.checks.model import PhaseSpan
from ktstr.checks.phases import windows
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail, Verdict
from tests.checks.reports import MS, heard, kvm_run, told

STIMULI = (
    told(10, "Release", index=3),
    told(2000, "StopWorkers", index=5),
    told(2030, "RemoveCgroups", "a", index=6),
    told(2090, "StopScheduler", index=7),
)


def judged(
    budget_ms: float | None,
    end_ms: float | None = 2100,
    waits: tuple[int, ...] = (),
    phases: tuple[PhaseSpan, ...] = (),
) -> list[Detail]:
    guest = heard(stimuli=STIMULI, end_ns=None if end_ms is None else round(end_ms * MS))
    run = Run(merge({}, {}), evidence("kvm", (), kvm_run(*waits)))
    budget_ns = None if budget_ms is None else round(budget_ms * MS)
    return judge_cleanup(guest, windows(phases, guest, ()), budget_ns, run)


def test_without_a_budget_it_may_take_any_time() -> None:
    assert judged(None, 9999) == []


def test_from_the_last_stop_to_the_guests_end_by_hand() -> None:
    assert judged(100) == []
    (found,) = judged(99)
    assert (found.verdict, found.kind, found.value, found.limit) == (Verdict.FAIL, "Cleanup", 100, 99)
    assert found.message == (
        "taking everything down took 100.000 ms, from 2000.000 ms on, 60.000 ms of it in RemoveCgroups of a > limit"
        " 99 ms (cleanup_budget, test)"
    )


def test_of_steps_it_begins_where_the_last_phase_ends() -> None:
    steps = (PhaseSpan(1, "Step[0]", 3, 6),)
    assert judged(70, phases=steps) == []
    assert [d.value for d in judged(69, phases=steps)] == [70]


def test_a_vcpu_that_waited_for_the_host_excuses_it() -> None:
    assert [d.verdict for d in judged(90, waits=(10 * MS,))] == [Verdict.INCONCLUSIVE]
    assert [d.verdict for d in judged(90, waits=(10 * MS - 1,))] == [Verdict.FAIL]


def test_an_end_that_was_not_seen_is_inconclusive() -> None:
    assert [d.verdict for d in judged(90, end_ms=None)] == [Verdict.INCONCLUSIVE]
