"""The report in a real browser: Chromium without a screen. Left out, saying so, where Chromium or playwright is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


def until(page: Any, condition: str) -> None:
    """Wait until a condition holds; playwright's own waiting needs eval, which the page forbids."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"not within 5 s: {condition}")


@pytest.fixture
def look(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a report from a file; what it asks for and what goes wrong is written down."""
    contexts = []

    def opened(text: str, **options: Any) -> Any:
        path = tmp_path / "report #1.html"
        path.write_text(text, "utf-8")
        context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.wrong = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("dialog", lambda dialog: page.wrong.append(f"dialog {dialog.message}"))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: page.wrong.append(message.text))
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


def cards(page: Any) -> int:
    return int(page.locator(".gallery figure:visible").count())


def test_it_opens_from_a_file_and_asks_for_nothing(look: Open, clean: str) -> None:
    page = look(clean)
    page.mouse.wheel(0, 30000)  # pictures load when they come into sight
    until(page, "document.images[0].complete && document.images[0].naturalWidth > 100")
    assert [url for url in page.asked if not url.startswith(("file:", "data:image/"))] == []
    assert len([url for url in page.asked if url.startswith("file:")]) == 1
    assert page.wrong == []


def test_hostile_names_stay_text_and_nothing_else_runs(look: Open, attacked: str, nasty: tuple[str, ...]) -> None:
    page = look(attacked)
    assert page.title().startswith(nasty[0])
    assert page.wrong == []
    assert page.evaluate("document.scripts.length") == 1
    words = page.inner_text("body")
    assert nasty[0] in words and nasty[1] in words
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.evaluate("window.ran") is None
    assert all(url.startswith(("file:", "data:image/")) for url in page.asked)


def test_sections_are_filtered_by_words_status_and_flag(look: Open, clean: str) -> None:
    page = look(clean)
    assert (cards(page), page.inner_text(".count")) == (4, "4 sections")
    page.select_option("select[name=status]", "failed")
    assert (cards(page), page.inner_text(".count")) == (1, "1 of 4 sections")
    page.select_option("select[name=status]", "")
    page.select_option("select[name=flags]", "saturated")
    assert cards(page) == 1
    page.fill("input[name=words]", "R01")
    assert (cards(page), page.inner_text(".count")) == (0, "0 of 4 sections")
    page.click(".filter button")
    assert cards(page) == 4
    page.fill("input[name=words]", "outline DRAWN r02")
    assert cards(page) == 1
    page.evaluate("location.hash = '#s0'")  # a link of the map leads to its section, hidden or not
    until(page, "!document.querySelector('#s0').hidden")


def test_sections_are_enlarged_and_turned_over_by_keyboard(look: Open, clean: str) -> None:
    page = look(clean)
    small = page.locator("button.frame img").first.bounding_box()["width"]
    page.locator("button.frame").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").bounding_box()["width"] > 2 * small
    assert "R01 / s03" in page.inner_text("dialog b")
    page.keyboard.press("ArrowRight")
    assert "R02 / s04" in page.inner_text("dialog b") and "Verdict: review. blur" in page.inner_text("dialog p")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert "R03 / s05" in page.inner_text("dialog b")  # round the corner, past the section without a picture
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    until(page, "document.activeElement.getAttribute('aria-label') === 'Enlarge R03 / s05, panel A'")


def test_everything_can_be_reached_by_keyboard(look: Open, clean: str) -> None:
    page = look(clean)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.className || document.activeElement.tagName"))
    assert {"words", "status", "flags", "frame", "A"} <= reached


def test_it_can_be_read_without_script(look: Open, clean: str) -> None:
    page = look(clean, java_script_enabled=False)
    assert cards(page) == 4
    assert not page.locator(".filter").is_visible() and not page.locator("dialog").is_visible()


def test_it_prints_what_is_folded_away_and_no_controls(look: Open, clean: str, tmp_path: Path) -> None:
    page = look(clean.replace("</main>", "<details><summary>more</summary><p>folded words</p></details></main>"))
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(page.pdf(prefer_css_page_size=True))
    assert page.locator("details").last.get_attribute("open") is None  # as it was
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext to read the pages with")
    words = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True).stdout
    assert "What was asked, and what was found" in words and "folded words" in words and "What was run" in words
    assert "Show all" not in words and "Skip to the findings" not in words


@pytest.mark.parametrize("width", [380, 1000, 1400])
def test_nothing_runs_out_of_the_window(look: Open, clean: str, width: int) -> None:
    page = look(clean)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
