"""A figure of the view: pixels, places and lengths are those of the slide."""

from __future__ import annotations

import io
from pathlib import PurePath

import numpy as np
import pytest
from PIL import Image

from sevhisto.report.view_figure import DPI, MM_PER_IN, Channel, Field, Outline, Plane, View, figure_bytes, picture, view_figure

GREEN = np.linspace(0, 1, 256)[:, None] * [0.0, 1.0, 0.0]


def channel(values, um=2.0, corner=(0.0, 0.0), colours=GREEN, **more):
    return Channel("GFAP", Plane(np.asarray(values, np.float32), um, corner), colours=colours, **more)


def test_pixels_keep_place_colour_and_contrast():
    values = np.zeros((4, 6))
    values[1, 2] = 100
    shown = picture([channel(values, limits=(0, 50))], Field(-1, 7, -1, 11), (8, 12))
    bright = np.argwhere(shown[..., 1] == 255)
    assert bright.tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]] and not shown[..., [0, 2]].any()
    half = picture([channel(values, limits=(0, 200), gamma=0.5)], Field(-1, 7, -1, 11), (4, 6))
    assert abs(int(half[1, 2, 1]) - round(255 * 0.5**0.5)) <= 1


def test_smaller_pixels_are_averaged_and_outside_is_black():
    values = np.arange(64.0).reshape(8, 8)
    shown = picture([channel(values, 1.0, limits=(0, 255))], Field(-0.5, 7.5, -0.5, 11.5), (2, 3))
    assert np.allclose(shown[:, :2, 1], values.reshape(2, 4, 2, 4).mean((1, 3)), atol=1)
    assert not shown[:, 2].any()


def test_colour_lies_on_white():
    colour = Channel("colour", Plane(np.full((2, 2, 3), 51, np.uint8), 1.0, (0.0, 0.0)))
    shown = picture([colour], Field(-0.5, 1.5, -0.5, 3.5), (2, 4))
    assert (shown[:, :2] == 51).all() and (shown[:, 2:] == 255).all()


@pytest.fixture(scope="module")
def view():
    rng = np.random.default_rng(4)
    core = np.zeros((200, 300), np.uint8)
    core[50:120, 80:160] = 1
    outline = Outline("core", (1.0, 0.6, 0.0), Plane(core, 4.0, (0.0, 0.0)))
    cells = ("CD68+", (1.0, 0.0, 1.0), rng.uniform(100, 700, (20, 2)))
    field = Field(-2, 798, -2, 1198)
    return View(field, [channel(rng.uniform(0, 20, (200, 300)), 4.0, limits=(0, 255))], [outline], [cells])


def test_the_scale_bar_has_its_length_and_the_figure_its_width(view):
    figure = view_figure(view, 85.0)
    with Image.open(io.BytesIO(figure_bytes(figure, PurePath("a.png")))) as image:
        assert abs(image.width / DPI * MM_PER_IN - 85.0) < 0.2
        pixels = np.asarray(image.convert("RGB")).astype(int)
    white = (pixels[: round(pixels.shape[1] * 0.66)] >= 250).all(axis=2)
    longest = max(int(np.diff(np.flatnonzero(np.diff(np.pad(row.astype(int), 1))))[::2].max(initial=0)) for row in white)
    assert abs(longest * 1200 / pixels.shape[1] - 200) < 4  # um: a quarter of 1200 um, at most, is 200


def test_an_svg_keeps_its_text_and_the_same_view_is_the_same_bytes(view):
    first, again = (figure_bytes(view_figure(view), PurePath("a.svg")) for _ in range(2))
    text = first.decode()
    assert first == again and all(word in text for word in ("GFAP", "core", "CD68+", "200 µm", "<image"))
    with pytest.raises(ValueError, match="pdf"):
        figure_bytes(view_figure(view), PurePath("a.pdf"))


def test_an_inset_frames_what_it_magnifies_and_the_place_of_the_view(view):
    part = View(Field(200, 400, 300, 600), view.channels)
    for figure, framed_on in ((view_figure(view, 85.0, part), 0), (view_figure(part, 85.0, view), 1)):
        boxes = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in figure.axes[framed_on].patches]
        assert (300, 200, 300, 200) in boxes
        place = figure.axes[1].get_position()
        assert place.x0 > 0.6 and 0.9 < place.y1 <= 1
