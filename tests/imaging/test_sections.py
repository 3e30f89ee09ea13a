"""Pieces on a slide: which there are, in which order, and what a section is told about itself."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging.plan import Drawn
from sevhisto.imaging.tissue import find_cavity, find_pieces, trim_rim
from sevhisto.types import SlideError

SETTINGS = ImagingSettings()
UM = 8.0


def glass(h, w, seed=0):
    return np.random.default_rng(seed).normal(10, 1, (2, h, w)).astype(np.float32)


def add_disc(image, y, x, r, level=400.0):
    yy, xx = np.mgrid[0 : image.shape[1], 0 : image.shape[2]]
    image[:, np.hypot(yy - y, xx - x) < r] += level


def centres(pieces):
    return [(round((p.y0 + p.y1) / 2), round((p.x0 + p.x1) / 2)) for p in pieces]


def test_pieces_come_in_rows_from_the_top_and_each_row_from_the_left():
    image = glass(420, 620)
    rows = [[(90, 100), (105, 300), (80, 500)], [(310, 110), (295, 290), (320, 510)]]  # a row is never quite straight
    for y, x in (rows[1][2], rows[0][1], rows[1][0], rows[0][0], rows[1][1], rows[0][2]):
        add_disc(image, y, x, 50)
    pieces, mask = find_pieces(image, UM, SETTINGS)
    assert np.abs(np.array(centres(pieces)) - np.array(rows[0] + rows[1])).max() <= 1
    assert not any(p.touches_edge for p in pieces)
    assert mask.sum() == pytest.approx(6 * np.pi * 50**2, rel=0.05)


def test_crumbs_are_no_sections_and_a_cut_piece_says_that_it_is_cut():
    image = glass(300, 400)
    add_disc(image, 150, 130, 60)
    add_disc(image, 150, 399, 60)
    add_disc(image, 40, 250, 6)
    pieces, _ = find_pieces(image, UM, SETTINGS)
    assert [p.touches_edge for p in pieces] == [False, True]


def test_empty_glass_and_a_constant_image_hold_no_piece():
    for level in (0, 7, 154, 1000.3):
        pieces, mask = find_pieces(np.full((2, 300, 300), level, np.float32), UM, SETTINGS)
        assert pieces == []
        assert not mask.any()


def test_a_hole_is_cavity_when_it_is_large_enough_and_inside():
    outline = np.zeros((200, 200), bool)
    outline[20:180, 20:180] = True
    mask = outline.copy()
    mask[90:110, 90:120] = False  # 600 px
    mask[50:52, 50:52] = False  # too small
    mask[20:24, 60:140] = False  # a notch in the border
    cavity = find_cavity(mask, outline, 4.0, SETTINGS)
    assert 596 <= cavity.sum() <= 600  # the opening may round its corners
    assert cavity[91:109, 91:119].all()
    assert not find_cavity(outline, outline, 4.0, SETTINGS).any()


def test_the_rim_that_is_left_out_has_the_asked_width():
    outline = np.zeros((100, 120), bool)
    outline[10:90, 10:110] = True
    assert trim_rim(outline, 5.0, 0.0) is outline
    assert np.argwhere(trim_rim(outline, 5.0, 50.0)).min(0).tolist() == [20, 20]


def two_sections(bench):
    """Two sections side by side on one slide, and what each is alone."""
    parts = [bench.section(seed, um_per_px=3.0, cord_um=(1000.0, 800.0), rotation_deg=0).image for seed in (51, 52)]
    h = max(p.shape[1] for p in parts)
    padded = [np.pad(p, ((0, 0), (0, h - p.shape[1]), (0, 0)), constant_values=154) for p in parts]
    return np.concatenate(padded, axis=2), bench.panel(("DAPI", "GFAP", "CD68", "CD206", "AF"))


def test_each_piece_is_a_section_of_its_own_and_none_asked_for_is_all(bench):
    slide, panel = two_sections(bench)
    one, two, both = (bench.record(slide, 3.0, panel, piece=p) for p in (1, 2, None))
    assert one.meta["corner_px"][1] < two.meta["corner_px"][1]
    assert "pieces_joined" in both.meta["flags"]
    assert "pieces_joined" not in one.meta["flags"]
    assert both.counts[2].sum() == one.counts[2].sum() + two.counts[2].sum()
    assert len(both.cells["y_um"]) == pytest.approx(len(one.cells["y_um"]) + len(two.cells["y_um"]), rel=0.02)
    with pytest.raises(SlideError, match="only 2 pieces") as error:
        bench.record(slide, 3.0, panel, piece=3)
    assert "slides.csv" in error.value.problems[0].remedy


def test_an_outline_on_one_piece_leaves_the_other_to_the_program(bench):
    slide, panel = two_sections(bench)
    drawn = np.zeros(slide.shape[1:], bool)  # at 3 um a pixel the overview is the slide
    two = bench.record(slide, 3.0, panel, piece=2)
    y, x = two.meta["corner_px"]
    drawn[y + 100 : y + 140, x + 130 : x + 180] = True
    first, second = (bench.record(slide, 3.0, panel, piece=p, drawn=Drawn(drawn, None)) for p in (1, 2))
    assert "contour_drawn" not in first.meta["flags"]
    assert "contour_drawn" in second.meta["flags"]


def test_no_tissue_is_a_record_of_zeros(bench):
    panel = bench.panel(("DAPI", "GFAP", "CD68", "CD206", "fibronectin", "AF"), [("CD68", "CD206")])
    record = bench.record(np.full((6, 500, 700), 154, np.uint16), 2.0, panel)
    assert {"no_tissue", "no_lesion", "no_cells"} <= set(record.meta["flags"])
    assert record.counts.sum() == record.sums.sum() == record.cavity_px.sum() == record.masked_px.sum() == 0
    assert len(record.cells["y_um"]) == 0
    assert "CD68_ring" in record.cells
    assert not record.masks["tissue"].any()
    assert record.joint["CD68", "CD206"].sum() == 0
    assert record.fibres["fibronectin"].sum() == 0


def test_a_channel_at_the_top_of_its_range_is_told(bench):
    section = bench.section(53, um_per_px=3.0, cord_um=(1000.0, 800.0))
    image = section.image.copy()
    tissue = section.truth.anatomy.tissue > 0
    image[2][tissue & (np.arange(image.shape[2]) % 100 == 0)] = 65535
    image[3][:] = 154
    record = bench.record(image, 3.0, bench.panel(section.spec.markers))
    assert {"saturated", "constant_channel"} <= set(record.meta["flags"])
    assert record.meta["saturated_px"][0] == 0
    assert record.meta["saturated_px"][2] > 0
