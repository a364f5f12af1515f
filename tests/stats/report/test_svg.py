from __future__ import annotations

import math

import pytest

from ktstr.stats.report.svg import Scale, drawing, element, number, padded, ticks


def test_text_and_attributes_are_escaped() -> None:
    made = element("text", "<b>", "&", class_='"x', x=1)
    assert made == '<text class="&#34;x" x="1">&lt;b&gt;&amp;</text>'


def test_children_that_are_elements_stay_elements() -> None:
    assert element("g", element("line", x1=0.25, stroke_width=2, y1=None)) == (
        '<g><line x1="0.2" stroke-width="2"/></g>'
    )


def test_a_drawing_is_an_image_with_a_name() -> None:
    made = drawing(10, 5, "a <name>", [])
    assert 'role="img" aria-label="a &lt;name&gt;"' in made and 'viewBox="0 0 10 5"' in made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_coordinate_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        number(value)


def test_a_scale_maps_its_ends_and_keeps_what_lies_outside_on_the_edge() -> None:
    scale = Scale(10, 20, 100, 300)
    assert [scale(value) for value in (10, 15, 20, 5, 1e300)] == [100, 200, 300, 100, 300]


def test_values_that_are_all_the_same_are_in_the_middle() -> None:
    assert padded([7.0, 7.0], 0, 100)(7.0) == 50
    assert padded([0.0], 0, 100)(0.0) == 50
    assert Scale(3, 3, 0, 100)(3) == 50


@pytest.mark.parametrize(
    ("low", "high", "wanted", "expected"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (0, 2053, 8, [0, 500, 1000, 1500, 2000]),
        (-1, 1, 4, [-1, -0.5, 0, 0.5, 1]),
        (5, 5, 4, [5]),
        (0, math.inf, 4, [0]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: int, expected: list[float]) -> None:
    assert ticks(low, high, wanted) == pytest.approx(expected)
