"""The payloads that ``include: ktstr:payloads`` brings, and what becomes of what they print."""

from __future__ import annotations

from pathlib import Path

from ktstr.checks.printed import matched
from ktstr.config.load import parse
from ktstr.config.model import PayloadDecl

TEXT = """\
include: ktstr:payloads
kernels: {k: 6.12}
tests: {t: {cgroups: [a], payloads: [stress-ng]}}
"""
# As stress-ng 0.15 prints it.
STRESS_NG = """\
stress-ng: info:  [9323] setting to a 1 second run per stressor
stress-ng: info:  [9323] dispatching hogs: 1 switch, 2 cpu
stress-ng: metrc: [9323] stressor       bogo ops real time  usr time  sys time   bogo ops/s     bogo ops/s
stress-ng: metrc: [9323]                           (secs)    (secs)    (secs)   (real time) (usr+sys time)
stress-ng: metrc: [9323] switch            27169      1.11      0.03      0.11     24472.11      198179.34
stress-ng: metrc: [9323] cpu                 100      1.00      1.00      0.00       100.50         100.00
stress-ng: metrc: [9323] miscellaneous metrics:
stress-ng: metrc: [9323] switch             40234.46 nanosecs per context switch (pipe method) (mean of 1 instances)
stress-ng: info:  [9323] successful run completed in 1.11s
"""
# As the pages of schbench show it.
SCHBENCH = """\
Wakeup Latencies percentiles (usec) runtime 10 (s) (14956 total samples)
          50.0th: 9          (7806 samples)
        * 99.0th: 201        (2590 samples)
Wakeup Latencies percentiles (usec) runtime 10 (s) (30212 total samples)
          50.0th: 7          (7806 samples)
          90.0th: 18         (8649 samples)
        * 99.0th: 175        (2590 samples)
          99.9th: 909        (271 samples)
          min=1, max=10224
Request Latencies percentiles (usec) runtime 10 (s) (30246 total samples)
          50.0th: 16864      (10050 samples)
        * 99.0th: 17248      (616 samples)
          min=9243, max=27964
RPS percentiles (requests) runtime 10 (s) (1 total samples)
        * 50.0th: 3020       (0 samples)
average rps: 3024.60
"""


def payloads() -> dict[str, PayloadDecl]:
    return parse(TEXT.encode(), Path("ktstr.yaml")).payloads


def test_there_are_four_each_with_the_command_that_gets_it() -> None:
    found = payloads()
    assert list(found) == ["stress-ng", "fio", "rt-app", "schbench"]
    assert all(one.install and one.path == Path(one.name) for one in found.values())
    assert (found["rt-app"].base / found["rt-app"].files[0]).is_file()


def test_the_lines_of_all_stressors_are_added_up() -> None:
    assert matched(STRESS_NG, payloads()["stress-ng"].metrics).values == {
        "bogo_ops": 27269.0, "bogo_ops_per_s": 24572.61,
    }  # fmt: skip


def test_the_last_percentiles_of_schbench_count() -> None:
    assert matched(SCHBENCH, payloads()["schbench"].metrics).values == {
        "wakeup_p50": 7.0, "wakeup_p99": 175.0, "request_p50": 16864.0, "request_p99": 17248.0, "rps": 3024.6,
    }  # fmt: skip


def test_a_payload_of_the_users_own_takes_the_place_of_one_of_these() -> None:
    own = TEXT + "payloads: {fio: {path: ./fio}}\n"
    assert parse(own.encode(), Path("/p/ktstr.yaml")).payloads["fio"].path == Path("/p/fio")
