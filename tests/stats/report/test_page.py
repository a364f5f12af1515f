"""What a page is made of, without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ktstr.results.store import CellStore
from ktstr.stats.report.cells import read_run
from ktstr.stats.report.comparison import ComparisonReport, LeftOut, comparison_page
from ktstr.stats.report.distribution import MetricSpread, Samples, Scenario, Shift, Side
from ktstr.stats.report.run import MAX_FAILURES, MAX_ROWS, Surroundings, run_page
from tests.results.cells import sidecar
from tests.stats.pools import put
from tests.stats.report.runs import HOSTILE, SIZE, failed, fill, hostile

TEMPLATES = Path(__file__).parents[3] / "ktstr/stats/report/templates"
VOID = {"meta", "link", "br", "wbr", "input", "line", "circle", "rect", "path"}


class Outline(HTMLParser):
    """Tags with their attributes, and what is closed in the wrong order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def surroundings(root: Path) -> Surroundings:
    return Surroundings(CellStore(root / ".cells"), root, "./doit")


def page_of(root: Path, name: str = "r") -> str:
    return run_page(read_run(root / name), surroundings(root))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("runs")
    return page_of(root, fill(root).name)


def test_every_tag_is_closed_and_every_id_is_one(whole: str) -> None:
    outline = Outline(whole)
    assert (outline.wrong, outline.open) == ([], [])
    ids = [str(attributes["id"]) for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a["href"])[1:] for a in outline.all("a")}
    labelled = {str(attributes["aria-labelledby"]) for _, attributes in outline.tags if "aria-labelledby" in attributes}
    assert links | labelled <= set(ids)


def test_what_failed_is_first_with_its_reason_and_the_command_that_repeats_it(whole: str) -> None:
    first = whole[whole.index("<article") : whole.index("</article>")]
    assert "Evicted" in first and "task stall" in first
    assert "doit test test=stalls preset=numa kernel=default scheduler=scx_ktstr accel=icount seed=0 rerun=1" in first
    assert "10 of 10 fail, seeds 0-9" in first and "5 of 10 fail, seeds 1,3,5,7,9" in first
    assert whole.index("<article") < whole.index('id="map"') < whole.index('id="cells"')


def test_the_verdicts_are_counted(whole: str) -> None:
    tally = whole[whole.index('class="tally"') : whole.index("</ul>")]
    assert re.findall(r"<b>(\d+)</b>", tally) == [str(SIZE), "25", "5", "170"]


def test_tables_have_captions_and_header_cells_a_scope(whole: str) -> None:
    outline = Outline(whole)
    assert len(outline.all("caption")) == len(outline.all("table")) > 5
    assert all(attributes.get("scope") in ("row", "col", "rowgroup") for attributes in outline.all("th"))


def test_every_drawing_has_a_name_or_is_decoration(whole: str) -> None:
    drawings = Outline(whole).all("svg")
    assert drawings
    for attributes in drawings:
        assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"])


def test_nothing_is_fetched_from_anywhere(whole: str) -> None:
    assert not re.search(r"""(src|href|action|url)\s*[=(]\s*["']?(https?:|//|file:|/)""", whole)
    assert "@import" not in whole and "@font-face" not in whole


def test_what_strangers_wrote_is_text(tmp_path: Path) -> None:
    for at in range(2):
        put(tmp_path, f"r/{at}", hostile())
    put(tmp_path, "r/bad<img>", b"<script>{")
    page = page_of(tmp_path)
    outline = Outline(page)
    assert (outline.wrong, outline.open) == ([], [])
    assert len(outline.all("script")) == 1 and not outline.all("img")
    assert not [name for _, attributes in outline.tags for name in attributes if name.startswith("on")]
    assert "1337" not in page and "{{ 7 * 191 }}" in page  # a template in a name is not run
    assert not re.search("[\u2028\u202e\x1b\x00]", page)
    assert len(HOSTILE) > 100 and page.count("&lt;script&gt;window.pwned") > 10


def test_a_comparison_of_strangers_is_text() -> None:
    samples = Samples((1.0, 2.0), 2, 1.5, 1.0, 2.0)
    sides = (Side(HOSTILE, samples), Side(HOSTILE, samples, Shift(0.0, -1.0, 1.0)))
    spread = MetricSpread(HOSTILE, HOSTILE, None, sides, "regressed", HOSTILE)
    report = ComparisonReport(
        a=HOSTILE, b=HOSTILE, a_runs=2, b_runs=2, overall=HOSTILE,
        scenarios=(Scenario(HOSTILE, ("A", "B"), (spread,)),),
        common=(HOSTILE,), why=(HOSTILE,), left_out=(LeftOut(HOSTILE, HOSTILE),), hosts=(HOSTILE,), notes=(HOSTILE,),
    )  # fmt: skip
    outline = Outline(comparison_page(report))
    assert (outline.wrong, outline.open, len(outline.all("script")), outline.all("img")) == ([], [], 1, [])


def test_a_narrow_column_may_break_a_name_and_still_escapes_it(tmp_path: Path) -> None:
    put(tmp_path, "r/a", sidecar(test_name="long_name_of_<b>"))
    assert '<th scope="row">long_<wbr>name_<wbr>of_<wbr>&lt;b&gt;</th>' in page_of(tmp_path)


def test_a_run_without_failures_says_so_and_one_without_results_too(tmp_path: Path) -> None:
    put(tmp_path, "good/a", sidecar())
    put(tmp_path, "empty/a", b"")
    assert "Nothing: every cell that was run passed." in page_of(tmp_path, "good")
    empty = page_of(tmp_path, "empty")
    assert "No cell was measured." in empty and "empty/a.ktstr.json" in empty


def test_a_huge_run_says_what_it_leaves_out(tmp_path: Path) -> None:
    run = read_run(put(tmp_path, "r/a", failed("Unfair", "x")).parent)
    (cell,) = run.cells
    cells = tuple(
        replace(cell, test=f"t{at % (MAX_FAILURES + 7)}", seed=at, path=Path(str(at))) for at in range(MAX_ROWS + 5)
    )
    page = run_page(replace(run, cells=cells), surroundings(tmp_path))
    assert f"The worst {MAX_ROWS} are listed; 5 more are not." in page
    assert f"The 7 entries after the first {MAX_FAILURES}" in page
    assert len(page) < 5_000_000


def colours(mode: int) -> dict[str, str]:
    """The colours of style.css in light (0) or dark (1)."""
    css = (TEMPLATES / "style.css").read_text()
    pairs = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", css)
    assert len(pairs) > 10
    return {name: both[mode] for name, *both in pairs}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def pairs() -> Iterator[tuple[str, str, float]]:
    """Foreground, background, and the contrast that WCAG's level AA wants: 4.5 for text, 3 for drawings."""
    for text in ("text", "muted", "accent", "fail", "warn", "pass"):
        yield from ((text, ground, 4.5) for ground in ("page", "panel"))
    yield from (("fail", "fail-fill", 4.5), ("warn", "warn-fill", 4.5), ("text", "warn-fill", 4.5))
    yield from ((tone, "panel", 3.0) for tone in ("tone1", "tone2", "tone3"))


def test_contrast_by_hand() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known near miss


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "ground", "least"), list(pairs()))
def test_colours_can_be_told_apart(mode: int, front: str, ground: str, least: float) -> None:
    found = colours(mode)
    assert contrast(found[front], found[ground]) >= least
