"""Basins follow the steepest way up; parts are joined when they are more like one nucleus together."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging.nuclear_parts import basins, highest, joined, likeness, merged


def moments(mask):
    y, x = (v.astype(float) for v in np.nonzero(mask))
    return np.array([len(y), y.sum(), x.sum(), (y * y).sum(), (x * x).sum(), (x * y).sum()])


def disc(y, x, r, shape=(120, 160)):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(yy - y, xx - x) <= r


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_every_pixel_of_the_mask_has_one_connected_basin_with_one_summit(seed):
    rng = np.random.default_rng(seed)
    heights = rng.integers(0, 6, (17, 23)).astype(np.float32)  # many plateaus
    mask = rng.random((17, 23)) < 0.7
    labels, n = basins(heights, mask)
    assert np.array_equal(labels > 0, mask)
    assert set(np.unique(labels[mask])) == set(range(1, n))
    tops = highest(heights, labels, n)
    for k in range(1, n):
        assert cv2.connectedComponents((labels == k).astype(np.uint8), connectivity=8)[0] == 2
        assert tops[k] == heights[labels == k].max()


def test_a_disc_is_most_like_a_nucleus_then_its_half_then_two_that_touch():
    one = disc(60, 80, 20)
    half = one & (np.arange(160) < 80)
    two = disc(60, 60, 20) | disc(60, 100, 20)
    values = [likeness(moments(m), float(m.sum())) for m in (one, half, two)]
    assert values[0] == pytest.approx(1.0, abs=0.01)
    assert values[1] == pytest.approx(1 - 3 * 0.054, abs=0.02)
    assert values[2] == pytest.approx(1 - 3 * 0.106, abs=0.03)
    assert likeness(moments(one), one.sum() / 4.0) < values[0]
    assert likeness(np.zeros(6), 100.0) == 0


def parts_of(mask, landscape):
    labels, n = basins(landscape, mask)
    return labels, n, highest(landscape, labels, n)


def test_halves_are_joined_and_touching_discs_are_not():
    typical = np.pi * 20**2
    for mask, expected in ((disc(60, 80, 20), 1), (disc(60, 60, 20) | disc(60, 98, 20), 2)):
        # two summits, hardly parted: brightness alone does not tell one nucleus from two
        landscape = (10 + 0.02 * np.abs(np.arange(160) - 79.5) * np.ones((120, 1))).astype(np.float32)
        landscape[~mask] = 0
        labels, n, tops = parts_of(mask, landscape)
        found = merged(labels, n, landscape, tops, typical)[labels]
        assert len(np.unique(found)) - 1 == expected
        assert np.array_equal(found > 0, mask)


def test_joining_without_shape_looks_at_the_pass_and_the_size():
    mask = disc(60, 50, 25) | disc(60, 110, 25) | (disc(60, 80, 40) & (np.abs(np.arange(120) - 60) < 4)[:, None])
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    labels, n, tops = parts_of(mask, cv2.GaussianBlur(depth, (0, 0), 2.0))
    soft = cv2.GaussianBlur(depth, (0, 0), 2.0)
    assert len(np.unique(joined(labels, n, soft, tops, 0.3, 300.0)[labels])) - 1 == 2
    assert len(np.unique(joined(labels, n, soft, tops, 0.95, 300.0)[labels])) - 1 == 1
    assert len(np.unique(joined(labels, n, soft, tops, 0.0, 1e9)[labels])) - 1 == 1
