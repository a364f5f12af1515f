"""README.md's table of bugs is made of the files of bugs/."""

from __future__ import annotations

from ktstr.config.bugdecl import bug_files
from tests.docs.bugs_table import PAGE, ROOT, with_table


def test_the_table_is_the_one_made_from_the_files() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text)
    assert all(f"| [{name}](bugs/{name}.yaml) |" in text for name in bug_files(ROOT))
