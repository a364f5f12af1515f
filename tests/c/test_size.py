"""The VMM stays small enough to be read in one sitting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.c.test_c import C_DIR

MOST_CODE, MOST_IN_FILE = 5000, 500
FILES = [*sorted((C_DIR / "core").glob("*.[ch]")), C_DIR / "include" / "ktstr_vmm.h"]


def code_lines(text: str) -> int:
    """Lines that are neither blank nor only comment."""
    bare = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL)
    return sum(bool(re.sub(r"//.*", "", line).strip()) for line in bare.splitlines())


def test_lines_of_code_are_counted() -> None:
    assert code_lines("// a\n\nint a; /* b */\n/* c\n d */\nint b; // c\n/* x */ int c;\n") == 3


def test_the_core_and_its_header_are_less_than_5000_lines_of_code() -> None:
    assert sum(code_lines(path.read_text(encoding="utf-8")) for path in FILES) < MOST_CODE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_has_more_than_500_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_IN_FILE
