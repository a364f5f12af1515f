from __future__ import annotations

import pytest

from ktstr.checks.settings import Setting, holds, judge_settings
from ktstr.checks.verdict import Verdict
from ktstr.record.guest import FileRead
from tests.checks.reports import heard


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("3000000\n", "3000000", True),
        ("2800000\n", "3000000", False),
        ("always [madvise] never\n", "madvise", True),
        ("always [madvise] never\n", "never", False),
        ("NO_GENTLE START_DEBIT RUN_TO_PARITY\n", "START_DEBIT", True),
        ("GENTLE NO_START_DEBIT\n", "START_DEBIT", False),
        ("0\t4 \n", "0 4", True),
        ("root\n", "root", True),
        ("root invalid (Parent is not a partition root)\n", "root", False),
        ("isolated invalid\n", "isolated", False),
    ],
)
def test_what_a_file_reads_is_what_was_written(text: str, value: str, expected: bool) -> None:
    assert holds(text, value) is expected


def test_a_setting_that_the_kernel_did_not_take_says_what_it_reads() -> None:
    settings = {1: Setting("/proc/sys/a", "1"), 3: Setting("/proc/sys/b", "2"), 9: Setting("/proc/sys/c", "3")}
    guest = heard(reads=(FileRead(5, 1, 2, "1\n"), FileRead(6, 3, 2, "7\n")))
    (detail,) = judge_settings(settings, guest)  # the third was never reached: what ended the run says why
    assert (detail.verdict, detail.kind) == (Verdict.INCONCLUSIVE, "Setup")
    assert detail.message.startswith("/proc/sys/b reads '7' after '2' was written to it")
