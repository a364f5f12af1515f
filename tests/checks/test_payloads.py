"""Judging payloads: how they ended, and what they printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ktstr.checks.judge import Expected, judge
from ktstr.checks.payloads import MAX_METRICS, gather_payloads, judge_payloads, printed
from ktstr.checks.thresholds import merge
from ktstr.checks.verdict import Detail
from ktstr.config.model import PayloadCheck, PayloadDecl, PayloadMetric
from ktstr.record.guest import GuestRecord, PayloadEvent, PayloadLog
from ktstr.record.outcome import Outcome
from ktstr.record.sidecar import TargetValue
from tests.checks.reports import heard, record

JSON = '{"run": {"iops": 120.5}, "load": 2}'


def payload(**changes: Any) -> PayloadDecl:
    return PayloadDecl("bench", Path("/x/bench"), **changes)


def ran(*events: tuple[str, int], output: str = "", errors: str = "", index: int = 0) -> GuestRecord:
    told = tuple(PayloadEvent(n, index, kind, code) for n, (kind, code) in enumerate(events))  # type: ignore[arg-type]
    texts = (("stdout", output), ("stderr", errors))
    logs = tuple(PayloadLog(index, text, stream) for stream, text in texts if text)  # type: ignore[arg-type]
    return heard(kernel_release="7.2.0", ended=True, payload_events=told or None, payload_logs=logs or None)


def judged(declared: PayloadDecl, guest: GuestRecord, accel: str = "icount", **more: bool) -> list[Detail]:
    return judge_payloads(gather_payloads({0: declared}, guest), accel, **more)


def words(details: list[Detail]) -> list[tuple[str, str]]:
    assert {detail.kind for detail in details} <= {"Payload"}
    return [(detail.verdict.word, detail.message) for detail in details]


CHECKS = (
    PayloadCheck("run.iops", low=100),
    PayloadCheck("load", 0.5, 1.5),
    PayloadCheck("run.iops", high=120),
    PayloadCheck("run.iops"),
    PayloadCheck("lat.p99"),
)


def test_every_check_that_does_not_hold_is_told() -> None:
    hints = (PayloadMetric("run.iops", "higher", "1/s"),)
    guest = ran(("started", 0), ("exited", 0), output=JSON)
    found = words(judged(payload(output="json", metrics=hints, checks=CHECKS), guest))
    assert found == [
        ("fail", "payload bench: load is 2, expected 0.5 to 1.5"),
        ("fail", "payload bench: run.iops is 120.5, expected at most 120 1/s"),
        ("fail", "payload bench: printed no number lat.p99"),
    ]


def test_limits_are_within_the_range() -> None:
    checks = (PayloadCheck("load", 2, 2), PayloadCheck("load", low=2), PayloadCheck("load", high=2))
    assert judged(payload(output="json", checks=checks), ran(("started", 0), ("exited", 0), output=JSON)) == []


def test_a_wrong_exit_code_fails_alone_with_the_end_of_what_it_said() -> None:
    guest = ran(("started", 0), ("exited", 3), output="{}", errors="x" * 5000 + "\nno such\x1b[1m table\n")
    (detail,) = judged(payload(output="json", checks=CHECKS), guest)
    assert (detail.verdict.word, detail.value, detail.limit) == ("fail", 3, 0)
    assert detail.message.startswith("payload bench: exited with 3, expected exit code 0; it said: xxx")
    assert detail.message.endswith("| no such table") and len(detail.message) < 1200


def test_the_first_run_with_a_wrong_exit_code_counts() -> None:
    guest = ran(("started", 0), ("exited", 0), ("started", 0), ("exited", 4), ("started", 0), ("exited", 5))
    assert words(judged(payload(), guest)) == [
        ("fail", "payload bench: exited with 4, expected exit code 0; it said nothing on standard error")
    ]


def test_a_signal_is_no_exit_code() -> None:
    guest = ran(("started", 0), ("signaled", 11))
    assert "was ended by SIGSEGV, expected exit code 0" in judged(payload(), guest)[0].message
    assert judged(payload(exit_code=None), guest) == []


def test_an_exit_code_may_be_another_or_any() -> None:
    guest = ran(("started", 0), ("exited", 3))
    assert judged(payload(exit_code=3), guest) == judged(payload(exit_code=None), guest) == []
    assert "exited with 3, expected exit code 4" in judged(payload(exit_code=4), guest)[0].message


def test_one_that_was_ended_with_its_step_has_no_exit_code_but_its_numbers_count() -> None:
    declared = payload(output="json", checks=(PayloadCheck("load", high=1),))
    killed = ran(("started", 0), ("killed", 0), output=JSON)
    assert words(judged(declared, killed)) == [("fail", "payload bench: load is 2, expected at most 1")]


def test_what_it_could_not_print_before_it_was_ended_is_inconclusive() -> None:
    declared = payload(output="json", checks=(PayloadCheck("load"),))
    (detail,) = judged(declared, ran(("started", 0), ("killed", 0)))
    assert detail.verdict.word == "inconclusive" and detail.message.endswith("it was ended before it was done")


def test_one_that_could_not_be_started_is_the_environments_fault() -> None:
    declared = payload(output="json", checks=CHECKS)
    assert words(judged(declared, ran(("spawn_failed", 2)))) == [
        (
            "inconclusive",
            "payload bench: its program could not be started in the guest (No such file or directory)",
        )
    ]


def test_one_that_never_ran_is_not_passed_over() -> None:
    assert words(judged(payload(), ran())) == [("inconclusive", "payload bench: was never started")]
    assert judged(payload(), ran(), whole=False) == []


@pytest.mark.parametrize(("accel", "verdict"), [("icount", "fail"), ("kvm", "fail"), ("tcg", "inconclusive")])
def test_a_wait_that_timed_out_fails_unless_the_host_can_be_the_cause(accel: str, verdict: str) -> None:
    guest = ran(("started", 0), ("timed_out", 0), ("killed", 0))
    (detail,) = judged(payload(), guest, accel)
    assert detail.verdict.word == verdict and "still ran when the wait" in detail.message


def test_standard_error_counts_only_when_the_output_gave_nothing() -> None:
    both = ran(("started", 0), ("exited", 0), output='{"a": 1}', errors='{"b": 2}')
    only = ran(("started", 0), ("exited", 0), output="text", errors='log {"b": 2}')
    for guest, expected in ((both, [("a", "Stdout")]), (only, [("b", "Stderr")])):
        (found,) = gather_payloads({0: payload(output="json")}, guest)
        assert [(metric.name, metric.stream) for metric in found.results().metrics] == expected


def test_what_is_known_of_a_metric_goes_with_it() -> None:
    hints = (
        PayloadMetric("run.iops", "higher", "1/s"),
        PayloadMetric("load", "target", target=1.5),
        PayloadMetric("x", "lower"),
    )
    guest = ran(("started", 0), ("exited", 0), output='{"run": {"iops": 1}, "load": 2, "x": 3, "y": 4}', index=2)
    (found,) = gather_payloads({2: payload(output="json", metrics=hints)}, guest)
    results = found.results()
    assert [(one.name, one.polarity, one.unit) for one in results.metrics] == [
        ("run.iops", "HigherBetter", "1/s"), ("load", TargetValue(1.5), ""), ("x", "LowerBetter", ""),
        ("y", "Unknown", ""),
    ]  # fmt: skip
    assert (results.payload_index, results.exit_code, results.name) == (2, 0, "bench")


@pytest.mark.parametrize(
    ("end", "code"), [(("exited", 7), 7), (("signaled", 9), -1), (("killed", 0), None), (("timed_out", 0), None)]
)
def test_the_exit_code_of_the_sidecar_is_the_programs_own(end: tuple[str, int], code: int | None) -> None:
    (found,) = gather_payloads({0: payload()}, ran(("started", 0), end))
    assert found.results().exit_code == code


def test_of_very_many_numbers_the_sidecar_has_the_declared_ones_and_the_first() -> None:
    text = "[" + "1," * (MAX_METRICS + 10) + "5]"
    last = str(MAX_METRICS + 10)
    declared = payload(output="json", checks=(PayloadCheck(last, low=5),))
    guest = ran(("started", 0), ("exited", 0), output=text)
    (found,) = gather_payloads({0: declared}, guest)
    names = [metric.name for metric in found.results().metrics]
    assert (names[0], names[-1], len(names)) == ("0", last, MAX_METRICS)
    assert judged(declared, guest) == []


def test_no_numbers_of_a_payload_that_is_judged_by_its_exit_code() -> None:
    (found,) = gather_payloads({0: payload()}, ran(("started", 0), ("exited", 0), output=JSON))
    assert found.results().metrics == ()


def test_what_was_printed_can_be_read_as_it_came() -> None:
    guest = ran(("started", 0), ("exited", 0), output="one\x1b[31m\ntwo", errors="oh\n", index=1)
    assert printed({0: payload(), 1: payload()}, guest) == (
        "==> bench (1), standard output <==\none\ntwo\n==> bench (1), standard error <==\noh\n"
    )
    assert printed({0: payload()}, guest) == ""


def test_a_cell_fails_for_what_its_payload_did_and_keeps_its_numbers() -> None:
    guest = ran(("started", 0), ("exited", 0), output=JSON)
    declared = payload(output="json", checks=(PayloadCheck("load", high=1),))
    expected = Expected((), None, "icount", payloads={0: declared})
    judgement = judge(record(guest), merge({}, {}), expected)
    assert judgement.outcome is Outcome.FAIL
    assert judgement.reasons == ("payload bench: load is 2, expected at most 1",)
    (results,) = judgement.payloads
    assert [metric.name for metric in results.metrics] == ["run.iops", "load"]
