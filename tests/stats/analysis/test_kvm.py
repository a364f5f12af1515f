"""KVM's counters, averaged."""

from __future__ import annotations

from ktstr.stats.analysis.extras import Extras
from ktstr.stats.analysis.kvm import summarize_kvm, to_text

FULL = {
    "exits": 1001, "halt_exits": 20, "halt_wait_ns": 1_500_000, "halt_successful_poll": 3, "halt_attempted_poll": 8,
    "preemption_reported": 0, "signal_exits": 2, "hypercalls": 0,
}  # fmt: skip


def machine(*vcpus: dict[str, int]) -> Extras:
    return Extras("t", "1n1l1c1t", (), (), vcpus)


def test_without_a_machine_or_an_exit_there_is_nothing_to_say() -> None:
    assert summarize_kvm([]) is summarize_kvm([Extras("t", "x", (), (), None)]) is None
    assert summarize_kvm([machine(), machine({"exits": 0})]) is None
    assert to_text(None) == ""


def test_means_are_whole_numbers_of_whole_numbers() -> None:
    found = summarize_kvm([machine({"exits": 3}, {"exits": 4}), machine({"exits": 6}, {})])
    # 7 // 2 = 3 and 6 // 2 = 3
    assert found is not None
    assert (found.vms, found.exits) == (2, 3)


def test_the_text_is_as_documented() -> None:
    assert to_text(summarize_kvm([machine(FULL), machine(FULL)])) == (
        "\n=== KVM STATS (avg across 2 VMs) ===\n\n"
        "  exits/vcpu     1001   halt/vcpu        20   halt_wait_ms     1.5\n"
        "  poll_ok%      37.5%   preempted/vcpu    0   signal/vcpu        2\n"
    )


def test_hypercalls_have_a_row_only_when_there_are_any() -> None:
    text = to_text(summarize_kvm([machine({**FULL, "hypercalls": 7})]))
    assert text.endswith("\n  hypercalls/vcpu    7\n")


def test_preemptions_are_warned_of_by_their_total() -> None:
    found = summarize_kvm(
        [machine({**FULL, "preemption_reported": 3}, FULL), machine(FULL, {**FULL, "preemption_reported": 5})]
    )
    # means 3 // 2 = 1 and 5 // 2 = 2, of which the mean is 1; the total is 8
    assert found is not None
    assert (found.preempted, found.preemptions) == (1, 8)
    assert to_text(found).endswith("\n\n  WARNING: 8 host preemptions detected -- timing results may be unreliable\n")


def test_polls_are_pooled_over_machines_and_none_attempted_is_0() -> None:
    many, few = {"halt_attempted_poll": 97, "halt_successful_poll": 97}, {"halt_attempted_poll": 3}
    found = summarize_kvm([machine({"exits": 1, **many}), machine({"exits": 1, **few})])
    assert found is not None
    assert found.poll_ok_pct == 97.0
    none = summarize_kvm([machine({"exits": 1, "halt_attempted_poll": 0})])
    assert none is not None
    assert none.poll_ok_pct == 0.0


def test_what_this_kvm_does_not_count_is_a_dash() -> None:
    found = summarize_kvm([machine({"exits": 5})])
    assert found is not None
    assert found.halt_exits is found.poll_ok_pct is None
    assert to_text(found).splitlines()[3:] == [
        "  exits/vcpu        5   halt/vcpu         -   halt_wait_ms       -",
        "  poll_ok%         -%   preempted/vcpu    -   signal/vcpu        -",
    ]
