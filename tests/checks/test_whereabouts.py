from __future__ import annotations

from ktstr.checks.verdict import Detail, Verdict
from ktstr.checks.whereabouts import account, explained
from tests.checks.reports import worker
from tests.checks.sampled import LOCAL, cpu, ext, task, view

NAMES = {100: "/ktstr/a", 101: "/ktstr/a", 102: "/ktstr/b"}
# Worker 0 (tid 100) waits on CPU 0 in three samples, runs in one and sleeps in one.
SEEN = view(
    [cpu(task(102), ext(100, LOCAL, allowed="0-1")), cpu()],
    [cpu(task(102), ext(100, LOCAL, allowed="0-1")), cpu(task(101))],
    [cpu(task(101), ext(100, 5, allowed="0-1")), cpu(task(102))],
    [cpu(task(100, allowed="0-1")), cpu()],
    [cpu(), cpu()],
    names=NAMES,
)


def test_a_worker_that_waited_is_told_with_where_and_behind_whom() -> None:
    assert account(SEEN, 100) == (
        "samples: of 5 samples it ran in 1, waited in 3 and slept in 1: in CPU 0's local DSQ 67 %, in DSQ 0x5 33 %;"
        " meanwhile its CPUs 0-1 ran worker/102[102] of /ktstr/b 50 %, worker/101[101] of /ktstr/a 33 %,"
        " nothing (idle) 17 %"
    )


def test_one_that_was_hardly_seen_is_not_told_of() -> None:
    assert account(SEEN, 999) is None


def reason(index: int | None, kind: str = "Starved", cgroup: str = "a") -> Detail:
    return Detail(Verdict.FAIL, kind, "starved", cgroup, index)  # type: ignore[arg-type]


def test_the_first_reason_of_a_kind_in_a_cgroup_is_explained() -> None:
    reports = [worker(0), worker(1)]
    details = [reason(0), reason(0), reason(0, kind="Unfair"), reason(0, kind="Isolation"), reason(None), reason(7)]
    told = [detail.message != "starved" for detail in explained(details, reports, SEEN)]
    assert told == [True, False, True, False, False, False]
    assert explained(details, reports, None) == details
