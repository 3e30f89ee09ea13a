"""Matrix near vessels, told apart by the pass at any threshold of either marker."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging.geometry import Layout, border_turn
from sevhisto.imaging.measure import MarkerReader, blurred, measure
from sevhisto.imaging.sums import joint_pairs
from sevhisto.types import JOINT_EDGES, NEAR_VESSEL, Correction

SIDE, UM, FACTOR = 420, 0.8, 5
CHANNELS = [ChannelSettings(channel=1, marker="CD31", role="vessel"), ChannelSettings(channel=2, marker="FN", role="ecm")]
PANEL = PanelSettings(channels=CHANNELS)


class Image:
    """Channels in memory, as a PixelSource."""

    channels, um_per_px = ("CD31", "FN"), UM

    def __init__(self, image):
        self.image, self.shape = image, image.shape[1:]

    def read(self, channels, y0, y1, x0, x1):
        return self.image[list(channels), y0:y1, x0:x1]


@pytest.fixture
def image():
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    r = np.hypot((yy % 105) - 52, (xx % 105) - 52) * UM
    vessel = 600.0 * (np.abs(r - 12) < 2)  # rings
    matrix = 400.0 * ((np.abs(r - 15) < 2) | (np.abs(r - 36) < 2))  # a sheath around each, and a ring far from it
    return np.stack([vessel, matrix]).astype(np.float32) + rng.normal(0, 10, (2, SIDE, SIDE)).astype(np.float32)


def joint_of(image, settings):
    n = -(-SIDE // FACTOR)
    none, distance = np.zeros((n, n), bool), np.full((n, n), np.nan, np.float32)
    assert border_turn(distance, 4.0).size == 0
    layout = Layout(FACTOR, UM * FACTOR, ~none, none, none, none, distance, np.zeros((n, n), np.uint8))
    reader = MarkerReader((0, 1), lambda raw: raw, np.inf, -np.inf)
    sums = measure(Image(image), reader, layout, PANEL, settings, Correction(np.zeros(2), np.eye(2), ("glass",) * 2))
    return sums.joint["FN", NEAR_VESSEL].sum(axis=(0, 1))


@pytest.mark.parametrize("reach", [0.0, 3.0, 8.0])
def test_near_is_within_reach_of_a_positive_pixel_at_any_threshold(image, reach):
    settings = ImagingSettings(vessel_reach_um=reach)
    joint = joint_of(image, settings)
    smooth, soft = blurred(image[0], settings.fibre_sigma_um / UM), blurred(image[1], settings.blur_um / UM)
    for k in np.flatnonzero((JOINT_EDGES > 60) & (JOINT_EDGES < 350)):
        far = ndimage.distance_transform_edt(smooth < JOINT_EDGES[k])
        near = far <= int(reach / UM)
        assert joint[:, k + 1 :].sum() == pytest.approx(near.sum(), rel=0.03)  # the disc of OpenCV is not quite round
        positive = soft >= JOINT_EDGES[k]
        assert joint[k + 1 :, k + 1 :].sum() == pytest.approx((near & positive).sum(), rel=0.06, abs=60)


def test_sheaths_are_bound_and_rings_further_off_are_not(image):
    joint = joint_of(image, ImagingSettings())
    k = int(np.searchsorted(JOINT_EDGES, 150))
    bound, free = joint[k + 1 :, k + 1 :].sum(), joint[k + 1 :, : k + 1].sum()
    sheath, ring = 2 * np.pi * 15 * 4 * 16 / UM**2, 2 * np.pi * 36 * 4 * 16 / UM**2
    assert bound == pytest.approx(sheath, rel=0.1) and free == pytest.approx(ring, rel=0.1)


def test_it_is_the_same_whatever_the_blocks(image, monkeypatch):
    whole = joint_of(image, ImagingSettings())
    monkeypatch.setattr(grid, "BLOCK_PX", 100)
    assert np.array_equal(joint_of(image, ImagingSettings()), whole)


def test_without_a_vessel_marker_nothing_more_is_tallied():
    assert joint_pairs(PANEL) == [("FN", NEAR_VESSEL)]
    assert joint_pairs(PanelSettings(channels=CHANNELS[1:])) == []
