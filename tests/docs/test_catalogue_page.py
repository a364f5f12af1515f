"""docs/catalogue.md is made of the declarations."""

from __future__ import annotations

from tests.docs import catalogue_page


def test_the_page_is_the_one_made_from_the_declarations() -> None:
    assert catalogue_page.PAGE.read_text(encoding="utf-8") == catalogue_page.render()
