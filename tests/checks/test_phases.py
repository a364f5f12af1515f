from __future__ import annotations

import pytest
from msgspec.structs import replace

from ktstr.checks.breach import Run
from ktstr.checks.machine import evidence
from ktstr.checks.model import PhaseSpan, WorkGroup, gather
from ktstr.checks.phases import Window, judge_phases, windows
from ktstr.checks.rates import judge_rates
from ktstr.checks.restraint import restraints
from ktstr.checks.stats import scenario_stats
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail, Verdict
from ktstr.config.model import CheckValue
from ktstr.record.guest import Checkpoint, GuestRecord, Progress, Stimulus, WorkerReport
from tests.checks.reports import MS, S, cpus, heard, kvm_run, progress, told, worker

# 0.5 s of BASELINE, then two steps of 1 s. A worker of the backdrop, and two of the second step.
SPANS = (PhaseSpan(0, "BASELINE", 2, 4), PhaseSpan(1, "warm", 4, 8), PhaseSpan(2, "Step[1]", 8, 12))
BACKDROP = WorkGroup(0, "bg", "SpinWait", 1)
STEP = WorkGroup(1, "a", "SpinWait", 2, step=2)
STIMULI = (
    told(100, "Release", index=2),
    told(600, "Scope", index=4, total_iterations=250),
    told(1600, "Scope", index=8, total_iterations=750),
    told(2600, "StopWorkers", index=12, total_iterations=3250),
)
LIFE = worker(0, wall_time_ns=2_500 * MS, iterations=1250, work_units=1_280_000, max_gap_ns=40 * MS)
OWN = (
    worker(1, work_index=1, wall_time_ns=990 * MS, cpu_time_ns=500 * MS),
    worker(2, work_index=1, wall_time_ns=990 * MS, cpu_time_ns=500 * MS),
)


def guest(
    *phases: Progress | None, reports: tuple[WorkerReport, ...] = (LIFE, *OWN), stimuli: tuple[Stimulus, ...] = STIMULI
) -> GuestRecord:
    """``phases``: what the worker of the backdrop did in each, from BASELINE on."""
    checkpoints = [
        Checkpoint((600 + 1000 * phase) * MS, phase, 3 + 4 * phase, () if one is None else (one,))
        for phase, one in enumerate(phases)
    ]
    return heard(
        workers=reports, stimuli=stimuli, checkpoints=tuple(checkpoints), cpus=cpus(2), end_ns=3000 * MS, ended=True
    )


FINE = (progress(iterations=250, cpu_time_ns=250 * MS), progress(), progress(max_gap_ns=40 * MS))
WORKS = (BACKDROP, STEP)


def run_of(
    seen: GuestRecord, works: tuple[WorkGroup, ...], accel: str, waits: tuple[int, ...], limits: dict[str, CheckValue]
) -> Run:
    groups = gather(works, seen.workers)
    machine = evidence(accel, seen.workers, kvm_run(*waits))
    return Run(merge({}, limits), machine, restraints=restraints(seen, {}), groups=groups, phased=True)


def judged(
    seen: GuestRecord, works: tuple[WorkGroup, ...] = WORKS, accel: str = "kvm", waits: tuple[int, ...] = (),
    **limits: CheckValue,
) -> list[Detail]:  # fmt: skip
    groups, machine = gather(works, seen.workers), evidence(accel, seen.workers, kvm_run(*waits))
    run = Run(merge({}, limits), machine, restraints=restraints(seen, {}), groups=groups, phased=True)
    found = windows(SPANS, seen, run.groups)
    return [*judge_phases(found, run), *judge_rates(run.groups, found, run)]


def of(seen: GuestRecord) -> tuple[Window, ...]:
    return windows(SPANS, seen, gather(WORKS, seen.workers))


# when, and who


def test_a_phase_goes_from_one_op_to_another() -> None:
    found = of(guest(*FINE))
    assert [(w.index, w.label, w.begin_ns // MS, w.end_ns // MS) for w in found] == [
        (0, "BASELINE", 100, 600), (1, "Step[0]", 600, 1600), (2, "Step[1]", 1600, 2600),
    ]  # fmt: skip
    assert [w.words for w in found[1:]] == ["in Step[0] 'warm' (600 to 1600 ms)", "in Step[1] (1600 to 2600 ms)"]


def test_a_phase_that_was_cut_short_is_none() -> None:
    assert [w.index for w in of(guest(*FINE, stimuli=STIMULI[:3]))] == [0, 1]


def test_workers_of_the_backdrop_are_in_every_phase_and_those_of_a_step_in_theirs() -> None:
    found = of(guest(*FINE))
    assert [{n: [p.report.index for p in parts] for n, parts in w.parts.items()} for w in found] == [
        {0: [0]}, {0: [0]}, {0: [0], 1: [1, 2]},
    ]  # fmt: skip


def test_how_much_of_a_phase_a_worker_had_follows_from_how_long_it_lived() -> None:
    """It began 2.1 s before it was stopped, as the last phase was over: 100 ms of BASELINE."""
    late = guest(*FINE, reports=(replace(LIFE, wall_time_ns=2_100 * MS), *OWN))
    assert [w.parts[0][0].lived_ns // MS for w in of(late)] == [100, 1000, 1000]


def test_what_was_told_is_of_the_time_between_checkpoints() -> None:
    """The first step's cgroups are taken down after its checkpoint: what was told of the second is of 1.05 s."""
    seen = guest(*FINE)
    assert seen.checkpoints is not None
    early = replace(seen.checkpoints[1], at_ns=1550 * MS)
    moved = replace(seen, checkpoints=(seen.checkpoints[0], early, seen.checkpoints[2]))
    assert [w.parts[0][0].lived_ns // MS for w in of(moved)] == [500, 950, 1050]


def test_several_checkpoints_of_a_phase_add_up() -> None:
    first = guest(*FINE)
    assert first.checkpoints is not None
    more = replace(first, checkpoints=(*first.checkpoints, Checkpoint(1500 * MS, 1, 6, (progress(max_gap_ns=9 * MS),))))
    (part,) = of(more)[1].parts[0]
    assert (part.iterations, part.cpu_time_ns, part.max_gap_ns) == (1000, S, 9 * MS)


# single workers


def test_a_worker_of_the_backdrop_without_work_in_a_whole_phase_starved() -> None:
    idle = progress(work_units=0, iterations=0, cpu_time_ns=0)
    (found,) = judged(guest(FINE[0], idle, FINE[2]))
    assert (found.verdict, found.kind, found.cgroup, found.worker) == (Verdict.FAIL, "Starved", "bg", 0)
    assert found.message == (
        "cgroup bg: worker 0 (tid 100, SpinWait, CPUs 0) starved in Step[0] 'warm' (600 to 1600 ms): 0 work units with"
        " 0.000 ms of CPU time, limit: more than 0 (default)"
    )
    assert judged(guest(FINE[0], replace(idle, work_units=1), FINE[2])) == []
    assert judged(guest(FINE[0], idle, FINE[2]), not_starved=False) == []


def test_one_that_sleeps_by_itself_did_not_starve_in_a_phase() -> None:
    idle = progress(work_units=0, iterations=0, cpu_time_ns=0)
    assert judged(guest(FINE[0], idle, FINE[2]), (WorkGroup(0, "bg", "Bursty", 1), STEP)) == []


def test_one_that_was_frozen_for_the_phase_did_not_starve_in_it() -> None:
    """From 600 to 1590 ms, 10 ms to thaw: none of 1000 is left. With 980 of 1000 a slice of 20 ms is."""
    idle = guest(FINE[0], progress(work_units=0, iterations=0, cpu_time_ns=0), FINE[2])

    def frozen(until_ms: float) -> list[Detail]:
        ops = told(600, "WriteCgroup", "bg cgroup.freeze=1"), told(until_ms, "WriteCgroup", "bg cgroup.freeze=0")
        return judged(replace(idle, stimuli=(*idle.stimuli, *ops)))

    assert frozen(1590) == []
    assert [d.kind for d in frozen(1540)] == ["Starved"]  # one slice for each of two that meet it later on


def test_charged_time_and_a_waiting_vcpu_excuse_it() -> None:
    charged = guest(FINE[0], progress(work_units=0, cpu_time_ns=10 * MS), FINE[2])
    assert [d.verdict for d in judged(charged)] == [Verdict.INCONCLUSIVE]
    idle = guest(FINE[0], progress(work_units=0, cpu_time_ns=0), FINE[2])
    assert [d.verdict for d in judged(idle, waits=(S, 0))] == [Verdict.INCONCLUSIVE]
    assert [d.verdict for d in judged(idle, waits=(S - 1, 0))] == [Verdict.FAIL]


def test_a_gap_that_is_not_the_longest_of_its_life_is_told_of_its_phase() -> None:
    def stuck(ms: int, **charged: int) -> list[Detail]:
        seen = guest(FINE[0], progress(max_gap_ns=ms * MS, **charged), progress(), reports=(life, *OWN))
        return judged(seen, max_gap_ms=20)

    life = replace(LIFE, max_gap_ns=900 * MS)
    assert stuck(20) == []
    (found,) = stuck(600, cpu_time_ns=100 * MS)
    assert (found.verdict, found.kind, found.value, found.limit) == (Verdict.FAIL, "Stuck", 600, 20)
    assert "stuck in Step[0] 'warm' (600 to 1600 ms): gap 600.000 ms > limit 20 ms (test)" in found.message
    # 250 ms of BASELINE and 330 of the step may be of the gap, and 20 are allowed.
    assert [d.verdict for d in stuck(600, cpu_time_ns=330 * MS)] == [Verdict.INCONCLUSIVE]
    assert [d.verdict for d in stuck(600, cpu_time_ns=329 * MS)] == [Verdict.FAIL]
    assert stuck(900) == []  # the longest: told of its life


def test_the_iteration_rate_of_a_phase_by_hand() -> None:
    slow = guest(FINE[0], progress(iterations=499), FINE[2])
    (found,) = judged(slow, min_iteration_rate=500)
    assert (found.verdict, found.kind, found.value) == (Verdict.FAIL, "Benchmark", 499)
    assert "499.0 iterations/s in Step[0] 'warm' (600 to 1600 ms) < limit 500 iterations/s (test)" in found.message
    assert judged(slow, min_iteration_rate=499) == []
    # 499 in half a second of CPU time: an emulated CPU does 998.
    assert [d.verdict for d in judged(slow, accel="icount", min_iteration_rate=999)][1] is Verdict.INCONCLUSIVE


# cgroups


def test_the_throughput_of_a_cgroup_over_its_life_and_in_each_phase() -> None:
    """The step's two do 2048000 units in 990 ms: 2068686.9/s. The backdrop's 1280000 in 2.5 s, 512000 in each."""
    assert judged(guest(*FINE), min_throughput=500_000) == []
    slow = judged(guest(FINE[0], progress(work_units=400_000), FINE[2]), min_throughput=500_000)
    assert [(d.verdict, d.cgroup, d.value) for d in slow] == [(Verdict.FAIL, "bg", 400_000)]
    assert slow[0].message == (
        "cgroup bg in Step[0] 'warm' (600 to 1600 ms): 1 worker(s) did 400000 work units in 1000.000 ms, 400000.0 work"
        " units/s < limit 500000 work units/s (test)"
    )
    high = judged(guest(*FINE), min_throughput=2_000_000)
    assert [d.cgroup for d in high] == ["bg"] * 4
    above = judged(guest(*FINE), min_throughput=2_068_687)
    assert ("a", "cgroup a of Step[1]") in {(d.cgroup, d.message.split(":")[0]) for d in above}


def test_a_throughput_that_no_emulated_cpu_reaches_is_inconclusive() -> None:
    """Two workers with half a CPU each: two whole emulated CPUs do 4096000."""
    reached = [d for d in judged(guest(*FINE), accel="icount", min_throughput=4_096_000) if d.cgroup == "a"]
    beyond = [d for d in judged(guest(*FINE), accel="icount", min_throughput=4_096_001) if d.cgroup == "a"]
    assert [d.verdict for d in (*reached, *beyond)] == [Verdict.FAIL, Verdict.INCONCLUSIVE]


def test_the_utilisation_of_a_cgroup_by_hand() -> None:
    """The step's two had 1000 of 2 * 990 ms: 50.51 %. The backdrop's one had 1000 of 2500 ms, 50 % in each phase."""
    assert judged(guest(*FINE), (STEP,), min_utilisation_pct=50.5) == []
    (found,) = judged(guest(*FINE), (STEP,), min_utilisation_pct=50.6)
    assert found.value == pytest.approx(50.505, abs=0.001)
    assert found.message == (
        "cgroup a of Step[1]: 2 worker(s) had 1000.000 ms of CPU time, 50.51 % of what 2 CPU(s) have in that time <"
        " limit 50.6 % (test)"
    )
    lazy = judged(guest(FINE[0], progress(cpu_time_ns=300 * MS), FINE[2]), min_utilisation_pct=39)
    assert [(d.cgroup, d.value) for d in lazy] == [("bg", 30)]


def test_cpus_that_were_offline_or_are_not_in_the_cpuset_are_none_to_use() -> None:
    one = WorkGroup(1, "a", "SpinWait", 2, (0,), step=2)  # 1000 of 990 ms
    fewer = WorkGroup(1, "a", "SpinWait", 2, step=2, fewest_cpus=1)
    assert (
        judged(guest(*FINE), (one,), min_utilisation_pct=100)
        == judged(guest(*FINE), (fewer,), min_utilisation_pct=100)
        == []
    )
    unknown = judged(replace(guest(*FINE), cpus=()), (STEP,), min_utilisation_pct=1)
    assert [d.verdict for d in unknown] == [Verdict.INCONCLUSIVE]


def test_a_cgroup_that_was_frozen_for_its_life_has_no_rates() -> None:
    """From 1600 to 2570 ms, 10 ms to thaw: 10 of 990 ms are left, and two on two CPUs have a slice of 20 ms each."""
    ops = told(1600, "WriteCgroup", "a cgroup.freeze=1"), told(2570, "WriteCgroup", "a cgroup.freeze=0")
    cold = tuple(replace(report, work_units=0, cpu_time_ns=0) for report in OWN)

    def rates(*done: Stimulus) -> list[Detail]:
        seen = guest(*FINE, reports=(LIFE, *cold), stimuli=(*STIMULI, *done))
        return judged(seen, (STEP,), min_throughput=1, min_utilisation_pct=1)

    assert rates(*ops) == []
    assert [d.verdict for d in rates()] == [Verdict.FAIL] * 2


def test_workers_without_a_report_have_no_rates() -> None:
    found = judged(guest(reports=()), (STEP,), min_utilisation_pct=1, min_throughput=1)
    assert [d.verdict for d in found] == [Verdict.INCONCLUSIVE] * 2


# statistics


def test_the_statistics_of_phases_by_hand() -> None:
    seen = guest(*FINE)
    groups = gather(WORKS, seen.workers)
    found = scenario_stats(groups, seen.stimuli, windows(SPANS, seen, groups))
    assert [(p.step_index, p.label, p.start_ms, p.end_ms) for p in found.phases] == [
        (0, "BASELINE", 100, 600), (1, "Step[0]", 600, 1600), (2, "Step[1]", 1600, 2600),
    ]  # fmt: skip
    assert [sorted(p.per_cgroup) for p in found.phases] == [["bg"], ["bg"], ["a", "bg"]]
    assert found.phases[2].metrics == {
        "total_phase_duration_sec": 1.0, "total_phase_iterations": 2500, "iteration_rate": 2500.0,
    }  # fmt: skip
    bg, own = found.phases[2].per_cgroup["bg"], found.phases[2].per_cgroup["a"]
    assert (bg.num_workers, bg.total_iterations, bg.total_cpu_time_ns, bg.max_gap_ms, bg.max_gap_cpu) == (
        1, 500, S // 2, 40, None,
    )  # fmt: skip
    assert (bg.off_cpu_pcts, bg.wake_latencies_ns, bg.wake_sample_total, bg.cpus_used) == ((50.0,), (), 0, ())
    assert (own.num_workers, own.total_iterations, own.max_gap_cpu, own.run_delays_ns) == (2, 2000, 0, (S, S))
    # 250 + 500 + 2500 iterations in 2.5 s
    assert found.ext_metrics["total_phase_iterations"] == 3250
    assert (found.ext_metrics["total_phase_duration_sec"], found.ext_metrics["iteration_rate"]) == (2.5, 1300.0)
