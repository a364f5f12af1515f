"""The page about checks: its table is that of the checks, and its numbers are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from ktstr.checks.bandwidth import QUOTA_SLICE_NS
from ktstr.checks.breach import SLICE_NS
from ktstr.checks.formulas import MS
from ktstr.checks.restraint import THAW_NS, TICK_NS
from ktstr.checks.thresholds import TABLE, Check
from ktstr.config.fields import CHECKS
from ktstr.config.model import CheckValue

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def shown(value: CheckValue | None, check: Check) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else f"{value:g} {check.unit}".strip()


def plain(meaning: str) -> str:
    """Without the default in parentheses, which has a column of its own."""
    return re.sub(r" \([^()]*\)$", "", meaning)


def check_rows() -> list[str]:
    return [
        f"| `{name}` | {plain(CHECKS[name].about)} | {check.formula} | {shown(check.default, check)} |"
        f" {shown(check.release, check)} | {check.unknown} |".replace("|share - fair|", "\\|share - fair\\|").replace(
            "|usage - expected|", "\\|usage - expected\\|"
        )
        for name, check in TABLE.items()
    ]


def test_the_table_is_that_of_the_checks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == check_rows()


def test_the_allowances_are_those_of_the_code() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"a slice of {SLICE_NS // MS} ms" in text
    assert f"TICK is {TICK_NS // MS} ms" in text and f"SLICE {QUOTA_SLICE_NS // MS} ms" in text
    assert f"{THAW_NS // MS} ms to thaw" in text
