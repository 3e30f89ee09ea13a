"""Distance, sides, and the way from overview to full resolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging.geometry import distance_bin, side_map, signed_distance, upsample
from sevhisto.types import DISTANCE_EDGES_UM, NO_DISTANCE


def disc(h, w, y, x, r):
    yy, xx = np.mgrid[0:h, 0:w]
    return np.hypot(yy - y, xx - x) <= r


def test_the_distance_to_a_disc_is_right_within_a_pixel_and_changes_sign_at_its_border():
    um, r = 4.0, 30.3
    core = disc(120, 140, 60, 65, r)
    found = signed_distance(core, um)
    yy, xx = np.mgrid[0:120, 0:140]
    true = (np.hypot(yy - 60, xx - 65) - r) * um
    assert np.abs(found - true).max() < 0.75 * um
    assert ((found < 0) == core).all()
    # unbiased: area within any distance is what zones are made of
    assert abs(float((found - true).mean())) < 0.15 * um


def test_the_distance_is_that_of_a_search_over_all_border_pixels():
    rng = np.random.default_rng(3)
    core = rng.random((20, 23)) > 0.6
    found = signed_distance(core, 2.0)
    inside = np.argwhere(np.pad(core, 1)) - 1
    outside = np.argwhere(~np.pad(core, 1)) - 1
    for y, x in np.ndindex(core.shape):
        others = outside if core[y, x] else inside
        nearest = np.hypot(others[:, 0] - y, others[:, 1] - x).min() - 0.5
        assert found[y, x] == pytest.approx((-nearest if core[y, x] else nearest) * 2.0, abs=1e-5)


def test_without_a_core_there_is_no_distance():
    assert np.isnan(signed_distance(np.zeros((4, 5), bool), 4.0)).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 13])
def test_a_ramp_stays_a_ramp(factor):
    rows, cols = np.mgrid[0:20, 0:30].astype(np.float32)
    h, w = 20 * factor, 30 * factor
    found = upsample(2 * cols + 3 * rows, factor, 0, h, 0, w)
    y = np.clip((np.arange(h) + 0.5) / factor - 0.5, 0, 19)
    x = np.clip((np.arange(w) + 0.5) / factor - 0.5, 0, 29)
    assert found.shape == (h, w)
    assert np.allclose(found, 2 * x[None, :] + 3 * y[:, None], atol=2e-5)


@given(st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_a_pixel_does_not_depend_on_the_block_it_is_read_in(factor, data):
    values = np.random.default_rng(factor).normal(0, 100, (9, 11)).astype(np.float32)
    h, w = 9 * factor, 11 * factor
    whole = upsample(values, factor, 0, h, 0, w)
    y0, x0 = data.draw(st.integers(0, h - 1)), data.draw(st.integers(0, w - 1))
    y1, x1 = data.draw(st.integers(y0 + 1, h)), data.draw(st.integers(x0 + 1, w))
    assert np.array_equal(upsample(values, factor, y0, y1, x0, x1), whole[y0:y1, x0:x1])


def test_an_overview_of_one_pixel_is_constant_and_a_ragged_edge_holds_its_value():
    assert (upsample(np.array([[7.0]]), 5, 0, 5, 0, 3) == 7).all()
    assert (upsample(np.array([[1.0, 2.0]]), 4, 0, 2, 7, 8) == 2).all()


def test_a_mask_keeps_its_area():
    mask = disc(60, 60, 30.2, 29.7, 20)
    full = upsample(mask, 8, 0, 480, 0, 480) >= 0.5
    assert full.sum() == pytest.approx(mask.sum() * 64, rel=0.005)


def test_distance_bins_hold_their_lower_edge():
    edges = DISTANCE_EDGES_UM.astype(np.float32)
    assert np.array_equal(distance_bin(edges), np.arange(1, len(edges) + 1))
    assert np.array_equal(distance_bin(np.nextafter(edges, np.float32(-np.inf))), np.arange(len(edges)))
    assert distance_bin(np.array([-1e9, 1e9, np.nan], np.float32)).tolist() == [0, len(edges), NO_DISTANCE]
    every = np.linspace(-1700, 3200, 9001).astype(np.float32)
    assert np.array_equal(distance_bin(every), np.searchsorted(edges, every, side="right"))


def test_transverse_sections_are_split_through_their_middle():
    tissue = disc(50, 70, 25, 30, 15)
    side = side_map(tissue, np.zeros_like(tissue), longitudinal=False, flipped=False)
    assert set(np.unique(side)) == {0, 1}
    assert (side[:, :30] == 0).all()
    assert (side[:, 31:] == 1).all()
    assert np.array_equal(side_map(tissue, np.zeros_like(tissue), longitudinal=False, flipped=True), 1 - side)


@pytest.mark.parametrize("angle", [0, 25, -40])
def test_longitudinal_sections_are_split_across_their_axis_at_the_core(angle):
    yy, xx = np.mgrid[0:200, 0:300].astype(float)
    t = np.deg2rad(angle)
    along, across = (xx - 150) * np.cos(t) + (yy - 100) * np.sin(t), -(xx - 150) * np.sin(t) + (yy - 100) * np.cos(t)
    tissue = (np.abs(along) < 90) & (np.abs(across) < 20)
    core = np.hypot(along - 40, across) < 12
    side = side_map(tissue, core, longitudinal=True, flipped=False)
    want = along >= 40
    sure = tissue & (np.abs(along - 40) > 2)
    assert (side[sure] == want[sure]).mean() > 0.995  # rostral lies to the left
    flipped = side_map(tissue, core, longitudinal=True, flipped=True)
    assert np.array_equal(flipped, 1 - side)
    middle = side_map(tissue, np.zeros_like(core), longitudinal=True, flipped=False)
    assert middle[tissue].mean() == pytest.approx(0.5, abs=0.02)


def test_an_upright_longitudinal_section_has_rostral_above():
    tissue = np.zeros((90, 40), bool)
    tissue[5:85, 10:30] = True
    side = side_map(tissue, np.zeros_like(tissue), longitudinal=True, flipped=False)
    assert (side[:44] == 0).all()
    assert (side[46:] == 1).all()


def test_no_tissue_has_one_side():
    empty = np.zeros((5, 6), bool)
    assert (side_map(empty, empty, longitudinal=True, flipped=False) == 0).all()
