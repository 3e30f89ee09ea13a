"""Spots and focus: the compiled form is the plain one, blocks change nothing, and known spots and a known blur are found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging import kernels, puncta
from sevhisto.imaging.focus import ROW_STEP, focus, focus_sums, plain_focus_sums
from sevhisto.imaging.tally import BIN_OF_QUANTUM, intensity_bin, quantise
from sevhisto.types import INTENSITY_EDGES, N_DISTANCE, N_INTENSITY

TRACER = PanelSettings(channels=[ChannelSettings(channel=1, marker="sEV", role="tracer")])
UM = 0.25


def spotted(seed, n=400, side=700, amplitude=120.0, noise=0.0):
    """Gaussian spots of about 0.8 um on tissue that varies gently: the image (1, h, w), and where they are (n, 2)."""
    rng = np.random.default_rng(seed)
    cells = rng.choice((side - 40) // 14 * ((side - 40) // 14), n, replace=False)
    at = 20 + 14 * np.stack(np.divmod(cells, (side - 40) // 14), 1) + rng.uniform(3, 11, (n, 2))
    waves = np.sin(np.arange(side) / 16)
    image = 400 + 20 * (waves + waves[:, None])
    reach = np.arange(-8, 9)
    for y, x in at:
        i, j = round(y), round(x)
        image[i - 8 : i + 9, j - 8 : j + 9] += amplitude * np.exp(-((reach[:, None] + i - y) ** 2 + (reach + j - x) ** 2) / 2 / 1.2**2)
    return rng.normal(image, noise).clip(0, 65535).round().astype(np.uint16)[None], at


def plain_contrast(image, um, diameter_um):
    sigma = diameter_um / 2 / np.sqrt(2) / um
    parts = []
    for share in (puncta.INNER, puncta.OUTER):
        weights = puncta.gaussian_weights(share * sigma)
        parts.append(puncta.smoothed(np.pad(image, len(weights) // 2, mode="reflect"), weights))
    return parts[0] - parts[1]


@pytest.mark.parametrize("shape", [(40, 50), (3, 60), (1, 1)])
@pytest.mark.parametrize("um", [0.1, 0.325])
def test_contrast_is_the_plain_one_to_the_last_bit(shape, um):
    image = np.random.default_rng(1).gamma(2, 100, shape).astype(np.float32)
    found = puncta.contrast(image, um, 0.8)
    assert np.array_equal(found, plain_contrast(image, um, 0.8))
    sigma = 0.8 / 2 / np.sqrt(2) / um
    if min(shape) > 20:
        want = cv2.GaussianBlur(image, (0, 0), 0.8 * sigma) - cv2.GaussianBlur(image, (0, 0), 2 * sigma)
        assert found == pytest.approx(want, abs=0.5)


def test_contrast_has_no_offset_and_grows_with_the_image():
    image = np.random.default_rng(1).gamma(2, 100, (40, 40)).astype(np.float32)
    once = puncta.contrast(image, UM, 0.8)
    assert puncta.contrast(image + 500, UM, 0.8) == pytest.approx(once, abs=1e-2)
    assert np.array_equal(puncta.contrast(image * 2, UM, 0.8), once * 2)
    assert not puncta.spots(puncta.contrast(np.full((40, 40), 65535, np.float32), UM, 0.8)).any()


def tallied(contrast, place, margins=(0, 0)):
    counts = np.zeros((2 * N_DISTANCE, N_INTENSITY), np.int64)
    puncta.spots_into(contrast, *margins, place, BIN_OF_QUANTUM, counts)
    return counts.reshape(2, N_DISTANCE, N_INTENSITY)


@pytest.mark.parametrize("levels", [3, 1000])
def test_spot_tallies_are_the_plain_ones_with_many_ties_and_with_few(levels):
    rng = np.random.default_rng(levels)
    contrast = rng.integers(-levels, levels, (60, 70)).astype(np.float32) * np.float32(100 / levels)
    place = rng.integers(0, 2 * N_DISTANCE, contrast.shape).astype(np.int32)
    place[rng.random(place.shape) < 0.3] = kernels.OUTSIDE
    whole = tallied(contrast, place)
    assert np.array_equal(whole, puncta.spot_tally(place, contrast))
    assert whole.sum() > 50
    for cut in (1, 31, 59):  # blocks that see one row of their neighbour
        upper = tallied(contrast[: cut + 1], place[:cut])
        assert np.array_equal(upper + tallied(contrast[cut - 1 :], place[cut:], (1, 0)), whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4)])
def test_a_plateau_is_one_spot(size):
    contrast = np.zeros((12, 12), np.float32)
    contrast[5 : 5 + size[0], 4 : 4 + size[1]] = 9
    assert np.argwhere(puncta.spots(contrast)).tolist() == [[5, 4]]


def test_no_spot_at_or_below_zero_contrast():
    contrast = np.full((9, 9), -5, np.float32)
    contrast[2, 2], contrast[6, 6] = 0, -1
    assert not puncta.spots(contrast).any()
    assert tallied(contrast, np.zeros((9, 9), np.int32)).sum() == 0


def test_known_spots_are_counted(bench):
    image, at = spotted(7, noise=3.0)
    record = bench.record(image, UM, TRACER)
    tally = record.puncta["sEV"]
    assert tally.shape == (2, N_DISTANCE, N_INTENSITY) and tally.dtype == np.int64
    bright = intensity_bin(quantise(np.array([25.0])))[0]
    assert tally[..., bright:].sum() == len(at)
    assert "puncta_unresolved" not in record.meta["flags"]


def test_spots_are_the_same_whatever_the_blocks(bench, monkeypatch):
    image, _ = spotted(8, noise=10.0)
    found = []
    for block in (64, 97, 1024):
        monkeypatch.setattr(grid, "BLOCK_PX", block)
        record = bench.record(image, UM, TRACER)
        found.append((record.puncta["sEV"], record.meta["focus"]))
    assert all(np.array_equal(tally, found[0][0]) and sharp == found[0][1] for tally, sharp in found)
    whole = np.zeros((700, 700), np.int32), puncta.contrast(image[0].astype(np.float32) - np.float32(154), UM, 0.8)
    assert np.array_equal(found[0][0].sum((0, 1)), puncta.spot_tally(*whole)[0, 0])


def test_spots_too_small_for_the_pixels_are_not_counted_and_that_is_said(bench):
    image, _ = spotted(9)
    record = bench.record(image, 0.41, TRACER)
    assert record.puncta == {} and "puncta_unresolved" in record.meta["flags"]
    larger = bench.record(image, 0.41, TRACER, ImagingSettings(puncta_diameter_um=2.0))
    assert larger.puncta["sEV"].sum() > 0 and "puncta_unresolved" not in larger.meta["flags"]


def test_only_tracers_are_searched_for_spots(bench):
    image, _ = spotted(9)
    panel = PanelSettings(channels=[ChannelSettings(channel=1, marker="fibronectin", role="ecm")])
    record = bench.record(image, 0.5, panel)
    assert record.puncta == {} and "puncta_unresolved" not in record.meta["flags"]


# ---------------------------------------------------------------- focus


@pytest.mark.parametrize("first", range(ROW_STEP))
def test_focus_sums_are_the_plain_ones_and_add_up_over_blocks(first):
    rng = np.random.default_rng(first)
    image = rng.normal(50, 300, (41, 37)).astype(np.float32)
    place = rng.integers(-1, 3, image.shape).astype(np.int32)
    whole = focus_sums(image, 0, 0, place, first)
    assert np.array_equal(whole, plain_focus_sums(image, place, first))
    left = focus_sums(image[:, :21], 0, 0, place[:, :20], first)
    right = focus_sums(image[:17, 18:], 0, 2, place[:16, 20:], first)  # 16 rows: a whole number of steps
    right += focus_sums(image[13:, 18:], 3, 2, place[16:, 20:], first)
    assert np.array_equal(left + right, whole)


def test_focus_is_that_of_the_definition_and_of_neither_brightness_nor_offset():
    image = np.random.default_rng(3).normal(0, 500, (400, 400)).astype(np.float32)
    place = np.zeros(image.shape, np.int32)
    sharp = focus(focus_sums(image, 0, 0, place, 0))
    assert sharp == pytest.approx(20, rel=0.03)  # 4 x 1 + 4 x 4, for noise that no pixel shares with another
    for other in (image * 3, image + 2000, image * 0.1 - 70):
        assert focus(focus_sums(other, 0, 0, place, 0)) == pytest.approx(sharp, rel=1e-3)
    blurred = [focus(focus_sums(cv2.GaussianBlur(image, (0, 0), s), 0, 0, place, 0)) for s in (0.5, 1, 2, 4)]
    assert blurred == sorted(blurred, reverse=True)


def test_focus_of_nothing_is_none():
    assert focus(np.zeros(4, np.int64)) is None
    assert focus(focus_sums(np.full((9, 9), 7, np.float32), 0, 0, np.zeros((9, 9), np.int32), 0)) is None


def test_sums_beyond_63_bits_are_exact():
    assert focus(np.array([2**40, 0, 2**70, 2**71], object)) == 2.0


def test_a_blurred_section_is_less_sharp(bench):
    section = bench.section(66, um_per_px=1.0, cord_um=(800.0, 600.0))
    panel = bench.panel(section.spec.markers)
    soft = np.stack([cv2.GaussianBlur(plane, (0, 0), 2.0) for plane in section.image])
    sharp, dull = (bench.record(image, 1.0, panel).meta["focus"] for image in (section.image, soft))
    assert set(sharp) == set(panel.markers)
    for marker in panel.markers:
        assert dull[marker] < 0.3 * sharp[marker], marker


def test_contrast_bins_are_the_intensity_bins():
    contrast = np.zeros((5, 5), np.float32)
    contrast[2, 2] = INTENSITY_EDGES[300]
    assert tallied(contrast, np.zeros((5, 5), np.int32))[0, 0, 301] == 1
