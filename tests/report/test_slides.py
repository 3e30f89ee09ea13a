"""The slide viewer in a real browser: from a file and from a plain web server, with a mark in the picture whose place is known."""

from __future__ import annotations

import functools
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sevhisto.report.gallery import SectionCard
from sevhisto.report.html import part
from sevhisto.report.slides import (
    ASSETS,
    Channel,
    Drawn,
    Picture,
    SlidesPage,
    index_page,
    section_numbers,
    section_script,
    study_script,
    view_page,
)
from sevhisto.report.tiles import TILE_PX, Pyramid, jpeg

SIZE = (901, 1203)
MARK = (351, 551, 502, 702)  # y0, y1, x0, x1; the middle of the picture lies in it
WIDTH, HEIGHT = 1366, 768


def write_slides(folder: Path, name: Callable[[str], str] = str) -> Path:
    """A study of two sections with a picture and one without; `name` makes names of what there is to name."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = (y >= MARK[0]) & (y < MARK[1]) & (x >= MARK[2]) & (x < MARK[3])
    planes = [np.where(inside, 220, 20).astype(np.uint8), np.where((x // 40 + y // 40) % 2, 90, 0).astype(np.uint8)]
    markers = [name("DAPI"), name("CD68")]
    channels = [Channel(markers[0], 0.0, 120.0, (0.2, 0.38, 1.0)), Channel(markers[1], 2.0, 60.5, (1.0, 0.2, 0.75))]
    picture = Picture("abc", [0, 0, 2 * SIZE[0], 2 * SIZE[1]], list(SIZE), 2, 0.5, TILE_PX, channels)
    for number, plane in enumerate(planes):
        pyramid = Pyramid(SIZE)
        for top in range(0, SIZE[0], TILE_PX):
            for tile in pyramid.add(plane[top : top + TILE_PX]):
                path = folder / "tiles" / "abc" / str(number) / str(tile.level) / f"{tile.x}_{tile.y}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg(tile.pixels))
    (folder / "tiles" / "abc" / "small.jpg").write_bytes(jpeg(planes[0]))
    y0, y1, x0, x1 = MARK
    ring = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)
    cells = np.array([[400.0, 600.0], [450.0, 620.0], [300.0, 300.0]])
    positive = {markers[1]: np.array([True, False, False])}
    area = np.zeros((30, 30), bool)
    area[5:, 5:] = True  # the mark, on an overview whose pixels are 8 of the picture
    where = (y0 - 40.0, x0 - 40.0, 8.0)
    drawn = Drawn({"lesion": [[ring]]}, {100.0: [ring * 0.9 + 40]}, cells, np.full(3, 6.0), positive, {markers[0]: area}, where)
    cards = [
        SectionCard(name("R01"), "s01", "A", "sample", name("1"), 500.0, "ok", "keep", flags="contour_drawn", core_um2=4e4),
        SectionCard(name("R02"), name("s02"), "A", "sample", "1", 700.0, "flagged", "review", name("blur"), flags="saturated"),
        SectionCard(name("R02"), "s03", "B", "sample", "1", 900.0, "failed", reason=name("no pixel size in the file")),
    ]
    pictures = [picture, picture, None]
    rows = pd.DataFrame(
        [("core", m, 4e4, 1e4, 3.0) for m in markers] + [("core_rostral", markers[0], 1.0, 1.0, 0.0)],
        columns=["zone", "marker", "zone_um2", "positive_um2", "n_cells"],
    )
    page = SlidesPage(name("delivery"), [("Blinded.", "Codes.")], "2026-11-02", "Pictures have 1 µm per pixel; the slides have 0.5.")
    texts = {"index.html": index_page(page, cards, pictures), "view.html": view_page(page), "study.js": study_script(page, cards, pictures)}
    texts |= {file: part(source) for file, source in ASSETS.items()}
    for i in (0, 1):
        texts[f"data/s{i}.js"] = section_script(cards[i], i, picture, drawn.as_json(), section_numbers(rows, markers[0]))
    (folder / "data").mkdir()
    for file, text in texts.items():
        (folder / file).write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slides(tmp_path_factory.mktemp("study #1") / "slides")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Open a page; what it asks for and what goes wrong is written down."""
    contexts = []

    def opened(address: str) -> Any:
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        contexts.append(context)
        page = context.new_page()
        page.asked, page.wrong = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("requestfailed", lambda request: page.wrong.append(request.url))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: page.wrong.append(message.text))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()


def seen(page: Any) -> np.ndarray:
    """The picture's part of the window once all tiles came and it stands still, (h, w, 3)."""
    page.wait_for_load_state("networkidle")
    before, still = b"", 0
    for _ in range(80):
        now = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH - 345, "height": HEIGHT})
        still = still + 1 if now == before else 0
        if still == 2:
            break
        before = now
        page.wait_for_timeout(150)
    return np.asarray(Image.open(io.BytesIO(before)).convert("RGB")).astype(int)


def press(page: Any, keys: str) -> np.ndarray:
    for key in keys:
        page.keyboard.press(key)
    return seen(page)


@pytest.mark.parametrize("served", [False, True], ids=["file", "server"])
def test_it_opens_and_asks_for_nothing_from_elsewhere(visit: Callable[[str], Any], folder: Path, server: str, served: bool) -> None:
    base = server if served else folder.as_uri() + "/"
    page = visit(f"{base}index.html")
    assert page.locator(".gallery figure:visible").count() == 3
    page.locator("a.frame").first.click()
    shown = seen(page)
    assert page.inner_text("h1") == "R01 / s01, panel A"
    assert shown[384, 510].max() > 150  # the mark is in the middle
    assert page.evaluate("document.querySelector('#message').hidden")
    assert all(url.startswith(base) for url in page.asked) and any(url.endswith(".jpg") for url in page.asked)
    assert page.wrong == []
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"


def test_the_outline_lies_on_the_mark_at_full_zoom(visit: Callable[[str], Any], folder: Path) -> None:
    page = visit(f"{folder.as_uri()}/view.html#section=s0")
    press(page, "2zcf+++")  # one channel, no zones; 1.5^3 screen pixels per pixel
    lined, bare = seen(page), press(page, "o")
    scale = 1.5**3
    for profile, lines in ((bare[384, :, 2], lined[384]), (bare[:, 510, 2], lined[:, 510])):
        steps = np.flatnonzero(np.abs(np.diff((profile > 128).astype(int))))
        assert len(steps) == 2 and abs((steps[1] - steps[0]) / scale - 200) <= 1  # the mark is 200 pixels wide and high
        orange = np.flatnonzero((lines[:, 0] > 200) & (lines[:, 2] < 60))
        middle = steps.mean()
        halves = [orange[orange < middle], orange[orange > middle]]
        for step, line in zip(steps, halves, strict=True):
            assert len(line) and abs(line.mean() - (step + 0.5)) <= scale  # within one pixel of the picture
            assert abs(line.mean() - (step + 0.5)) <= 1.5  # and of the screen, nearly


def test_the_positive_area_lies_on_the_mark(visit: Callable[[str], Any], folder: Path) -> None:
    page = visit(f"{folder.as_uri()}/view.html#section=s0")
    bare = press(page, "2zlf+++")
    page.get_by_role("checkbox", name="DAPI positive").check()
    lined = seen(page)
    for profile, line in ((bare[384, :, 2], lined[384]), (bare[:, 510, 2], lined[:, 510])):
        steps = np.flatnonzero(np.abs(np.diff((profile > 128).astype(int))))
        ring = np.flatnonzero((line[:, 0] > 120) & (line[:, 2] > 200))
        assert len(ring) and np.abs(ring[[0, -1]] - steps).max() <= 2.5  # of the screen; outside of the area


def test_channels_overlays_and_sections_are_switched_by_keys(visit: Callable[[str], Any], folder: Path) -> None:
    page = visit(f"{folder.as_uri()}/view.html#section=s0")
    both = press(page, "o")
    first = press(page, "2")
    mark, beside = (slice(380, 390), slice(505, 515)), (slice(200, 600), slice(150, 300))
    assert both[beside][..., 0].mean() > first[beside][..., 0].mean() + 20  # the second channel is red
    none = press(page, "1")
    assert none[mark].max() <= 8
    assert np.abs(press(page, "12") - both).max() <= 2
    outlined = press(page, "o")
    assert np.abs(outlined - both).max() > 100
    assert not page.get_by_role("checkbox", name="Cells 3").is_checked()
    assert np.abs(press(page, "c") - outlined).max() > 100
    press(page, "n")
    assert page.inner_text("h1") == "R02 / s02, panel A" and "verdict: review. blur" in page.inner_text("#verdict")
    press(page, "n")
    assert page.inner_text("h1") == "R01 / s01, panel A"  # past the one without a picture, and round
    assert page.locator("#report").get_attribute("href").endswith("report.html#s0")
    assert page.wrong == []


def test_next_stays_among_what_the_list_was_filtered_by(visit: Callable[[str], Any], folder: Path) -> None:
    page = visit(f"{folder.as_uri()}/index.html")
    page.select_option("select[name=animal]", "R02")
    assert page.locator(".gallery figure:visible").count() == 2
    page.select_option("select[name=flags]", "saturated")
    page.locator("a.frame:visible").click()
    seen(page)
    assert "1 of 1 sections" in page.inner_text("#count") and page.locator("#on").is_disabled()
    page.locator("#list").click()
    page.wait_for_timeout(300)
    assert page.locator(".gallery figure:visible").count() == 1


def test_the_scale_bar_and_the_numbers_are_true(visit: Callable[[str], Any], folder: Path) -> None:
    page = visit(f"{folder.as_uri()}/view.html#section=s0")
    press(page, "f")
    assert page.inner_text("#scale") == "200 µm"  # a pixel is 1 um, on one of the screen
    assert abs(page.locator("#scale i").bounding_box()["width"] - 200) <= 1
    words = page.locator("#numbers table").first.inner_text().split()
    assert words[-9:] == ["Zone,", "µm", "mm²", "DAPI", "CD68", "core", "0.0400", "25.0", "25.0"]  # no halves of zones
    assert "mean of 2 × 2 of the slide (0.5 µm)" in page.inner_text("#about")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight")


def test_a_missing_tile_is_told(visit: Callable[[str], Any], tmp_path: Path) -> None:
    folder = write_slides(tmp_path / "slides")
    for path in (folder / "tiles").rglob("0_0.jpg"):
        path.unlink()
    page = visit(f"{folder.as_uri()}/view.html#section=s0")
    seen(page)
    assert "A part of the picture is missing" in page.inner_text("#message")


def test_hostile_names_stay_text(visit: Callable[[str], Any], tmp_path: Path, nasty: tuple[str, ...]) -> None:
    names = iter(nasty * 3)
    known: dict[str, str] = {}
    folder = write_slides(tmp_path / "slides", lambda text: known.setdefault(text, next(names) + text))
    page = visit(f"{folder.as_uri()}/index.html")
    assert known["R01"] in page.inner_text("body") and known["delivery"] in page.title()
    page.locator("a.frame").first.click()
    seen(page)
    assert known["R01"] in page.inner_text("h1") and known["CD68"] in page.inner_text("#channels")
    press(page, "n")
    assert known["s02"] in page.inner_text("h1")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    assert page.evaluate("window.ran") is None
    assert all(url.startswith("file:") for url in page.asked)
