"""Reports in a real browser: headless Chromium from the distribution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktstr.record.statistics import NOTHING_RAN
from tests.results.cells import sidecar
from tests.stats.pools import put
from tests.stats.report.browser import Page, load, opened
from tests.stats.report.runs import SIZE, fill, hostile
from tests.stats.report.test_page import page_of

TAB, ENTER, SPACE = ("Tab", 9), ("Enter", 13, "\r"), (" ", 32, " ")
SEEDS_SHOWN = "[...document.querySelectorAll('#cells-table tbody tr:not([hidden])')].map(r => r.cells[6].textContent)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of 200 cells."""
    root = tmp_path_factory.mktemp("runs")
    file = root / "report.html"
    file.write_text(page_of(root, fill(root).name), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser: Page, report: Path) -> Page:
    """The report, just loaded, 1280 pixels wide, light, with nothing chosen before."""
    browser.resize(1280, 900)
    browser.prefer("light")
    load(browser, report)
    browser.run("localStorage.clear()")
    load(browser, report)
    return browser


def complaints(page: Page) -> list[dict[str, Any]]:
    """What the console has, and scripts that failed."""
    return page.of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


def test_a_run_of_200_cells_is_small_quick_quiet_and_alone(browser: Page, report: Path) -> None:
    assert SIZE == 200
    assert report.stat().st_size < 5_000_000
    assert min(load(browser, report) for _ in range(3)) < 2
    assert browser.run("document.querySelectorAll('#cells-table tbody tr').length") == SIZE
    assert complaints(browser) == []
    assert [asked["request"]["url"] for asked in browser.of("Network.requestWillBeSent")] == [report.as_uri()]


def test_what_strangers_wrote_does_not_run(browser: Page, tmp_path: Path) -> None:
    for at in range(3):
        put(tmp_path, f"r/{at}", hostile())
    file = tmp_path / "report.html"
    file.write_text(page_of(tmp_path), encoding="utf-8")
    load(browser, file)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run("typeof window.pwned") == "undefined"
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert complaints(browser) == []
    assert len(browser.of("Network.requestWillBeSent")) == 1


def test_a_script_that_got_in_would_be_refused(browser: Page, report: Path, tmp_path: Path) -> None:
    """The second line of defence, tried by breaking the first."""
    text = report.read_text(encoding="utf-8")
    file = tmp_path / "broken.html"
    file.write_text(text.replace("<footer>", "<script>window.pwned = 1</script><footer onclick='1'>"), encoding="utf-8")
    load(browser, file)
    assert browser.run("typeof window.pwned") == "undefined"
    assert any("Content Security Policy" in entry["entry"]["text"] for entry in browser.of("Log.entryAdded"))


def test_a_column_is_sorted_by_the_keyboard(page: Page) -> None:
    page.run("document.querySelector('#cells-table th:nth-child(7) button').focus()")
    page.press(*ENTER)
    numbers = [int(text) for text in page.run(SEEDS_SHOWN)]
    assert numbers == sorted(numbers)
    assert page.run("document.querySelector('#cells-table th:nth-child(7)').getAttribute('aria-sort')") == "ascending"
    page.press(*SPACE)
    assert [int(text) for text in page.run(SEEDS_SHOWN)] == sorted(numbers, reverse=True)
    page.run("document.querySelector('#cells-table th:nth-child(2) button').focus()")
    page.press(*ENTER)
    sorted_by = page.run("[...document.querySelectorAll('#cells-table [aria-sort]')].map(th => th.textContent).join()")
    assert sorted_by == "test"


def test_what_was_not_measured_is_sorted_last_both_ways(browser: Page, tmp_path: Path) -> None:
    put(tmp_path, "r/a", sidecar(seed=1))
    put(tmp_path, "r/b", sidecar(seed=2, stats=NOTHING_RAN))
    file = tmp_path / "report.html"
    file.write_text(page_of(tmp_path), encoding="utf-8")
    load(browser, file)
    for _ in range(2):
        browser.run("document.querySelector('#cells-table th:nth-child(8) button').click()")
        assert browser.run(SEEDS_SHOWN) == ["1", "2"]


def test_the_table_is_filtered_and_says_how_many_are_left(page: Page) -> None:
    page.run("document.querySelector('.filters input').focus()")
    page.call("Input.insertText", text="STALLS odd")
    assert page.run("document.querySelector('.filters output').textContent") == "10 of 200 shown"
    page.run("document.querySelector('.filters select').focus()")
    page.press("f", 70, "f")
    assert page.run(f"{SEEDS_SHOWN}.sort().join()") == "1,3,5,7,9"


def test_a_place_of_the_map_leads_to_its_run_even_when_that_is_filtered_out(page: Page) -> None:
    page.run("document.querySelector('.filters input').focus()")
    page.call("Input.insertText", text="no such cell")
    assert page.run(f"{SEEDS_SHOWN}.length") == 0
    page.run("document.querySelector('.heat a.fail').focus()")
    page.press(*ENTER)
    page.run("new Promise(done => setTimeout(done, 50))")
    assert page.run(f"{SEEDS_SHOWN}.length") == SIZE
    assert page.run("document.querySelector('tr:target').dataset.verdict") == "fail"


def test_the_first_stop_of_the_keyboard_skips_to_the_results_and_every_stop_is_seen(page: Page) -> None:
    page.press(*TAB)
    assert page.run("document.activeElement.className") == "skip"
    assert page.run("document.activeElement.getBoundingClientRect().top >= 0")
    for _ in range(12):
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.press(*TAB)
    page.run("document.querySelector('.skip').focus()")
    page.press(*ENTER)
    assert page.run("document.activeElement.id") == "main"


def background(page: Page) -> str:
    found: str = page.run("getComputedStyle(document.body).backgroundColor")
    return found


def test_light_and_dark_follow_the_system_until_the_reader_chooses(page: Page, report: Path) -> None:
    light = background(page)
    page.prefer("dark")
    dark = background(page)
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 26)")
    page.run("document.querySelector('.theme').focus()")
    page.press(*ENTER)
    assert (background(page), page.run("document.querySelector('.theme').textContent")) == (light, "Theme: light")
    load(page, report)  # the choice is kept
    assert background(page) == light
    page.run("document.querySelector('.theme').click()")
    page.prefer("light")
    assert background(page) == dark


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_itself_never_scrolls_sideways(page: Page, width: int) -> None:
    page.resize(width, 900)
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.run("document.documentElement.scrollWidth") == width


def test_what_scrolls_inside_is_reached_by_the_keyboard_and_has_a_name(page: Page) -> None:
    page.resize(390, 900)
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    wrong = page.run(
        "[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1"
        " && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX)"
        " && !(e.tabIndex === 0 && e.getAttribute('role') === 'region' && e.getAttribute('aria-label'))).length"
    )
    assert wrong == 0


def test_a_screen_reader_finds_landmarks_headings_and_names(page: Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = [role for role, _ in seen]
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    assert ("heading", "What failed, and why") in seen and ("searchbox", "Filter") in seen
    for role in ("button", "link", "image", "region", "table", "searchbox", "combobox", "DisclosureTriangle"):
        assert all(name for found, name in seen if found == role), role


def test_it_is_read_without_scripts_too(browser: Page, report: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.events.clear()
        browser.call("Page.navigate", url=report.as_uri())
        browser.wait_for("Page.loadEventFired")
        root = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        for dead in (".filters:not([hidden])", ".theme:not([hidden])", "th button"):
            assert browser.call("DOM.querySelector", nodeId=root, selector=dead)["nodeId"] == 0
        rows = browser.call("DOM.querySelectorAll", nodeId=root, selector="#cells-table tbody tr")["nodeIds"]
        assert len(rows) == SIZE
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_it_is_printed_in_light_and_without_controls(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert background(page) == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('.filters')).display") == "none"
    assert len(page.call("Page.printToPDF")["data"]) > 10_000
    page.call("Emulation.setEmulatedMedia", media="", features=[])
