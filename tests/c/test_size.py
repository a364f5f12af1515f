"""Every file and function of the C code can be read in one sitting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.c.objects import C_DIR

MOST_IN_FILE, MOST_IN_FUNCTION = 400, 40
FILES = sorted(
    path for folder in ("core", "guest", "include", "lab", "probe") for path in (C_DIR / folder).rglob("*.[ch]")
)


def functions(text: str) -> dict[str, int]:
    """Lines from a function's brace to the one that closes it, both in the first column as the kernel has them."""
    found: dict[str, int] = {}
    lines = text.splitlines()
    for opens in (i for i, line in enumerate(lines) if line == "{"):
        head = next(i for i in range(opens - 1, -1, -1) if re.match(r"[A-Za-z_]", lines[i]))
        name = re.search(r"(\w+)\(", re.sub(r"__attribute__\(\(.*?\)\)", "", lines[head]))
        assert name is not None, lines[head]
        found[name.group(1)] = lines.index("}", opens) - opens + 1
    return found


def test_lines_of_functions_are_counted() -> None:
    text = (
        "struct s {\n\tint a;\n};\n\n"
        "static int f(int a,\n\t     int b)\n{\n\tif (a) {\n\t\tb++;\n\t}\n\treturn b;\n}\n\n"
        "__attribute__((noreturn)) static void g(void)\n{\n}\n"
    )
    assert functions(text) == {"f": 6, "g": 2}


def test_the_functions_of_a_file_are_all_seen() -> None:
    text = (C_DIR / "core" / "gate.c").read_text(encoding="utf-8")
    assert {"gate_init", "enter_locked", "gate_wait"} < functions(text).keys()
    assert len(functions(text)) == len(re.findall(r"^\}$", text, re.MULTILINE))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(C_DIR)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_IN_FILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(C_DIR)))
def test_no_function_is_too_long(path: Path) -> None:
    found = functions(path.read_text(encoding="utf-8"))
    assert {name: lines for name, lines in found.items() if lines > MOST_IN_FUNCTION} == {}
