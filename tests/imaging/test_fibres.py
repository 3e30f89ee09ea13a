"""Drawn fibres of known direction, width and length, through the whole pass."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.decide.fibres import coherency, fibre_angle, level_set
from sevhisto.imaging.geometry import Layout, border_turn, long_axis_deg, signed_distance
from sevhisto.imaging.measure import measure
from sevhisto.imaging.reader import MarkerReader
from sevhisto.types import JOINT_EDGES, Correction

PANEL = PanelSettings(channels=[ChannelSettings(channel=1, marker="FN", role="ecm")])
READER = MarkerReader((0,), lambda raw: raw, np.inf, -np.inf)
SIDE, UM, FACTOR = 600, 0.65, 6
YY, XX = np.mgrid[:SIDE, :SIDE].astype(np.float64) - SIDE / 2


class Image:
    """One channel in memory, as a PixelSource."""

    channels, um_per_px = ("FN",), UM

    def __init__(self, image):
        self.image, self.shape = image, image.shape

    def read(self, channels, y0, y1, x0, x1):
        return self.image[None, y0:y1, x0:x1]


def sums_of(image, radius_um=0.0, noise=0.0):
    """Fibre sums over the image, which is tissue throughout, with a round core in its middle."""
    rng = np.random.default_rng(4)
    n = SIDE // FACTOR
    yy, xx = (np.mgrid[:n, :n] - (n - 1) / 2) * UM * FACTOR
    core = np.hypot(yy, xx) < radius_um
    none = np.zeros((n, n), bool)
    layout = Layout(FACTOR, UM * FACTOR, ~none, none, none, core, signed_distance(core, UM * FACTOR), np.zeros((n, n), np.uint8))
    noisy = (image + rng.normal(0, noise, image.shape)).astype(np.float32)
    settings, plain = ImagingSettings(), Correction(np.zeros(1), np.eye(1), ("glass",))
    return measure(Image(noisy), READER, layout, PANEL, settings, plain).fibres["FN"].sum(axis=(0, 1))


def soft_edge(distance_px):
    """500 inside a strip (distance below 0), 0 outside, with an edge of one pixel."""
    return 500 * np.clip(0.5 - distance_px, 0, 1)


def strips(deg, width_um, apart_um):
    """Parallel strips along a direction, degrees from x towards y."""
    a = np.radians(deg)
    across = (YY * np.cos(a) - XX * np.sin(a)) % (apart_um / UM)
    return soft_edge(np.abs(across - apart_um / UM / 2) - width_um / UM / 2)


def tensor(sums, columns):
    bright = np.concatenate([[-np.inf], JOINT_EDGES]) >= 100
    return sums[bright][:, columns].sum(axis=0).astype(float)


@pytest.mark.parametrize("deg", [0, 17, 45, 80, 90, 131])
def test_direction_within_three_degrees_with_noise(deg):
    xx, yy, xy = tensor(sums_of(strips(deg, 5, 15), noise=60), [0, 1, 2])
    assert abs((np.degrees(0.5 * np.arctan2(2 * xy, yy - xx)) + deg + 90) % 180 - 90) < 1  # atan2 counts from x away from y
    assert fibre_angle(xx, yy, xy) == pytest.approx(min(deg, 180 - deg), abs=1)
    assert coherency(xx, yy, xy) > 0.9


@pytest.mark.parametrize("deg", [0, 30, 45])
@pytest.mark.parametrize(("width_um", "apart_um"), [(5, 18), (8, 25), (16, 40)])
def test_width_and_length_of_strips_in_every_direction(deg, width_um, apart_um):
    sums = sums_of(strips(deg, width_um, apart_um), noise=15)
    area, outline = (v[0] * k for v, k in zip(level_set(sums[None, :, 5], sums[None, :, 6], 250.0), (UM**2, UM), strict=True))
    assert 2 * area / outline == pytest.approx(width_um, rel=0.1)
    assert outline / 2 / (SIDE * UM) ** 2 == pytest.approx(1 / apart_um, rel=0.1)


def test_rings_lie_along_the_border_and_spokes_across_it_although_neither_has_a_direction():
    r, angle = np.hypot(YY, XX) * UM, np.arctan2(YY, XX)
    rings, spokes = soft_edge((np.abs(r % 16 - 8) - 3) / UM), 250 + 250 * np.cos(24 * angle)
    for image, want in ((rings, 0), (spokes, 90)):
        sums = sums_of(np.where(r > 20, image, 0), radius_um=80)
        xx, yy, xy, nn, nt = tensor(sums, [0, 1, 2, 3, 4])
        assert coherency(xx, yy, xy) < 0.05
        assert coherency(xx + yy - nn, nn, nt) > 0.9
        assert fibre_angle(xx + yy - nn, nn, nt) == pytest.approx(want, abs=2)


def test_spirals_cross_the_border_at_their_own_angle():
    r, angle = np.hypot(YY, XX) * UM + 1e-9, np.arctan2(YY, XX)
    for deg in (20, 50, 70):  # a logarithmic spiral meets every circle at one angle
        wave = np.cos(20 * (angle * np.tan(np.radians(deg)) - np.log(r)) * np.cos(np.radians(deg)))
        whole = round(20 * np.sin(np.radians(deg)))  # so that it closes
        wave = np.cos(whole * angle - whole / np.tan(np.radians(deg)) * np.log(r))
        sums = sums_of(np.where(r > 40, 250 + 250 * wave, 0), radius_um=80)
        xx, yy, _, nn, nt = tensor(sums, [0, 1, 2, 3, 4])
        assert fibre_angle(xx + yy - nn, nn, nt) == pytest.approx(deg, abs=3)


def test_without_a_core_the_frame_of_the_border_tells_nothing():
    xx, yy, _, nn, nt = tensor(sums_of(strips(30, 5, 15)), [0, 1, 2, 3, 4])
    assert nn == pytest.approx((xx + yy) / 2, rel=1e-4) and nt == 0


def test_the_normal_of_a_round_core_points_outwards():
    yy, xx = np.mgrid[:120, :160] - np.array([60, 70])[:, None, None]
    r = np.hypot(yy, xx)
    turn = border_turn(signed_distance(r < 25, 4.0), 4.0)
    there = (r > 10) & (r < 45)
    found = 0.5 * np.arctan2(turn[1], turn[0])
    off = (np.degrees(found - np.arctan2(yy, xx)) + 90) % 180 - 90
    assert np.abs(off[there]).max() < 3
    assert np.hypot(*turn)[there] == pytest.approx(1, abs=1e-5)
    assert border_turn(signed_distance(np.zeros((9, 9), bool), 4.0), 4.0).size == 0


@pytest.mark.parametrize("deg", [0, 30, 89, 90, 150])
def test_the_long_axis_of_an_ellipse(deg):
    yy, xx = np.mgrid[:200, :200] - 100.0
    a = np.radians(deg)
    u, v = xx * np.cos(a) + yy * np.sin(a), yy * np.cos(a) - xx * np.sin(a)
    found = long_axis_deg((u / 80) ** 2 + (v / 55) ** 2 < 1)
    assert abs((found - deg + 90) % 180 - 90) < 1
    assert np.isnan(long_axis_deg((u / 80) ** 2 + (v / 78) ** 2 < 1))
    assert np.isnan(long_axis_deg(np.zeros((5, 5), bool)))
