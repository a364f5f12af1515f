from __future__ import annotations

from typing import Any

import pytest

from ktstr.checks.model import WorkGroup, gather
from ktstr.checks.restraint import FREE, Quota, Restraint, Restraints, Stretch, restraints
from ktstr.checks.settings import Setting
from ktstr.record.guest import PayloadEvent, Stimulus
from tests.checks.reports import MS, cpus, heard, read, told

ONLINE = "/sys/devices/system/cpu/cpu1/online"


def write(at_ms: float, what: str, **changes: object) -> Stimulus:
    return told(at_ms, "WriteCgroup", what, **changes)


def held(*stimuli: Stimulus, cpu_count: int = 2, **changes: object) -> Restraints:
    return restraints(heard(stimuli=stimuli, cpus=cpus(cpu_count), end_ns=9_000 * MS, **changes), {})


def of(seen: Restraints, cgroup: str, *works: tuple[str, int]) -> Restraint:
    groups = gather([WorkGroup(i, name, "SpinWait", count) for i, (name, count) in enumerate(works)], ())
    return seen.of(next(group for group in groups if group.cgroup == cgroup), groups)


def test_what_was_not_limited_is_free() -> None:
    assert of(held(told(1, "AddCgroup", "a")), "a", ("a", 2)) == FREE
    assert of(held(write(1, "a cpu.max=max 100000")), "a", ("a", 2)) == FREE
    assert of(held(write(1, "ab cpu.max=1000 100000")), "a", ("a", 2), ("ab", 1)) == FREE


def test_the_pause_and_the_stretch_of_a_quota_by_hand() -> None:
    """50 ms in 200, on two CPUs at once: off for 200 - 25 ms, and a debt of two ticks of 10 ms takes 4 times that."""
    seen = held(write(1, "a cpu.max=50000 200000"))
    found = of(seen, "a", ("a", 3))
    assert seen.quotas == (Quota("a", 50_000, 200_000),)
    assert found.pause_ns == pytest.approx((175 + 80) * MS)
    assert (found.stretch, found.share) == (8.0, 0.875)
    assert found.lengthened(10 * MS) == pytest.approx((80 + 255) * MS)
    assert found.words(10 * MS) == ", lengthened to 335.000 ms by cpu.max of a"


def test_a_quota_that_cannot_be_reached_limits_nobody() -> None:
    assert of(held(write(1, "a cpu.max=200000 100000")), "a", ("a", 3)) == FREE
    assert of(held(write(1, "a cpu.max=100000 100000")), "a", ("a", 1)) == FREE
    assert of(held(write(1, "a cpu.max=100000")), "a", ("a", 2)).share == 0.5  # the kernel's own period


def test_limits_on_the_way_up_add_up_and_of_one_cgroup_the_strictest_counts() -> None:
    seen = held(
        write(1, "a cpu.max=50000 100000"), write(2, "a cpu.max=25000 100000"), write(3, "a/b cpu.max=50000 100000")
    )
    found = of(seen, "a/b", ("a/b", 1))
    assert found.pause_ns == pytest.approx((75 + 40 + 50 + 20) * MS)
    assert (found.cgroups, found.stretch) == (("a", "a/b"), 1.0)


def test_payloads_and_moved_workers_may_be_in_any_cgroup() -> None:
    beside = held(write(1, "a cpu.max=25000 100000"), payload_events=(PayloadEvent(1, 0, "started", 0),))
    assert of(beside, "a", ("a", 1)).stretch == 8.0  # with it, on both CPUs
    moved = held(write(1, "a cpu.max=25000 100000"), told(2, "Move"))
    assert of(moved, "b", ("b", 1)).cgroups == ("a",)


def test_a_cgroup_is_frozen_until_it_goes_on_and_what_is_in_it_too() -> None:
    seen = held(write(1000, "a cgroup.freeze=1"), write(1500, "a cgroup.freeze=0"), write(4000, "a/b cgroup.freeze=1"))
    found = of(seen, "a/b", ("a/b", 1))
    assert found.frozen == (Stretch(1000 * MS, 1510 * MS), Stretch(4000 * MS, 9000 * MS))  # 10 ms to thaw; to the end
    assert (found.longest_freeze_ns, found.frozen_ns) == (5000 * MS, 5510 * MS)
    assert found.frozen_within(1200 * MS, 4200 * MS) == 510 * MS
    assert of(seen, "a", ("a", 1)).frozen_ns == 510 * MS
    assert found.cause == "the freezer"


def test_times_that_overlap_count_once() -> None:
    seen = held(write(1000, "a cgroup.freeze=1"), write(1200, "a/b cgroup.freeze=1"), write(2000, "a cgroup.freeze=0"))
    assert of(seen, "a/b", ("a/b", 1)).frozen == (Stretch(1000 * MS, 9000 * MS),)


def test_isolated_partitions_are_known_by_their_write() -> None:
    seen = held(write(1, "a cpuset.cpus.partition=isolated"), write(2, "b cpuset.cpus.partition=root"))
    assert seen.partitions == {"a"}
    assert [seen.is_unbalanced(path) for path in ("/ktstr/a/x", "/ktstr/b", None)] == [True, False, True]


def test_a_repeat_freezes_for_longer_than_is_told() -> None:
    once = (write(1000, "a cgroup.freeze=1", index=4), write(1100, "a cgroup.freeze=0", index=5))
    again = of(held(*once, told(3000, "Repeat", index=3, iteration=7)), "a", ("a", 1))
    assert again.frozen_again and again.excuse() is not None
    assert not of(held(*once, told(3000, "Repeat", index=3, iteration=1)), "a", ("a", 1)).frozen_again
    assert not of(held(*once, told(3000, "Repeat", index=6, iteration=7)), "a", ("a", 1)).frozen_again


def test_a_cpu_is_offline_from_the_write_until_it_is_read_to_be_back() -> None:
    guest = heard(
        stimuli=(told(100, "Write", ONLINE, index=0), told(500, "Write", ONLINE, index=2)),
        reads=(read(110, 1, "0\n"), read(510, 3, "1\n"), read(700, 9, "0\n")),
        cpus=cpus(2),
        end_ns=1000 * MS,
    )
    found = restraints(guest, {1: Setting(ONLINE, "0"), 3: Setting(ONLINE, "1")})
    assert found.offline == {1: (Stretch(100 * MS, 510 * MS),)}
    assert [found.offline_at(ms * MS) for ms in (99, 100, 510, 511)] == [set(), {1}, {1}, set()]
    assert found.ever_offline() == {1} and found.uneven


def test_cpus_that_were_offline_before_stay_so_until_they_are_brought_back() -> None:
    guest = heard(reads=(read(510, 3, "1\n"),), cpus=cpus(3), end_ns=1000 * MS)
    found = restraints(guest, {3: Setting(ONLINE, "1")}, offline=(1, 2))
    assert found.offline == {1: (Stretch(0, 510 * MS),), 2: (Stretch(0, 1000 * MS),)}


def test_what_a_step_did_to_a_cpu_is_undone_when_it_is_over() -> None:
    """The step of the op at place 2 is over before the next one outside of it, at 900 ms."""
    inside: dict[str, Any] = {"scope": 3}
    stimuli = (
        told(100, "Scope", index=2, scope=0), told(150, "Write", ONLINE, index=3, **inside),
        told(160, "Read", ONLINE, index=4, **inside), told(500, "Checkpoint", index=5, **inside),
        told(900, "Scope", index=6, scope=0), told(950, "Hold", index=7, scope=7),
    )  # fmt: skip

    def times(text: str, *before: int) -> object:
        guest = heard(stimuli=stimuli, reads=(read(170, 4, text),), cpus=cpus(2), end_ns=1000 * MS)
        return restraints(guest, {4: Setting(ONLINE, text.strip())}, offline=before).offline

    assert times("0\n") == {1: (Stretch(150 * MS, 900 * MS),)}
    assert times("1\n", 1) == {1: (Stretch(0, 170 * MS), Stretch(900 * MS, 1000 * MS))}
    assert times("1\n") == {}


@pytest.mark.parametrize(
    "step", [write(1, "a cpu.weight=200"), told(1, "SetCpus", "a cpus=0"), told(1, "SetAffinity"), told(1, "Move")]
)
def test_what_decides_shares_is_known(step: Stimulus) -> None:
    assert held(step).weighted is ("weight" in step.detail)
    assert held(step).uneven and not held(told(1, "Hold")).uneven
