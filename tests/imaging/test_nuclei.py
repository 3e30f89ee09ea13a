"""Nuclei: touching ones are split, each is counted once, and the ring is its own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sevhisto.config import ImagingSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging.nuclei import (
    REACH,
    containing_pixel,
    contrast_threshold,
    find_nuclei,
    local_contrast,
    measure_cells,
    segment_watershed,
)
from sevhisto.types import Correction

UM = 0.5
DIAMETER = 8.0


def discs(shape, centres, radius_px, level=500.0):
    image = np.zeros(shape, np.float32)
    for y, x in centres:
        top, left = max(int(y - radius_px), 0), max(int(x - radius_px), 0)
        part = image[top : int(y + radius_px) + 2, left : int(x + radius_px) + 2]
        yy, xx = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
        part[np.hypot(yy + top - y, xx + left - x) <= radius_px] = level
    return np.asarray(gaussian_filter(image, 1.0) + 10, np.float32)


def label(image, um=UM):
    return segment_watershed(image, um, DIAMETER, contrast_threshold([local_contrast(image, um, DIAMETER)]))


def test_a_grid_of_nuclei_is_counted_exactly_and_its_places_are_right():
    centres = [(y, x) for y in range(20, 300, 28) for x in range(25, 400, 31)]
    image = discs((310, 420), centres, 8)
    labels = label(image)
    assert labels.max() == len(np.unique(labels)) - 1 == len(centres)
    cells = measure_cells(labels, image[None], UM, 2.0, np.ones(labels.shape, bool))
    found = np.array(sorted(zip(np.round(cells.y), np.round(cells.x), strict=True)))
    assert np.abs(found - np.array(centres)).max() <= 1
    assert cells.area_px.mean() == pytest.approx(np.pi * 8**2, rel=0.15)


@pytest.mark.parametrize("gap_px", [13, 15, 18])
def test_touching_nuclei_are_two(gap_px):
    image = discs((120, 120), [(60, 60 - gap_px / 2), (60, 60 + gap_px / 2)], 8)
    labels = label(image)
    assert len(np.unique(labels)) == 3
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes[sizes > 0].max() < 1.3 * sizes[sizes > 0].min()


@pytest.mark.parametrize("seed", range(3))
def test_noise_holds_no_nuclei_and_hides_none(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(100, 10, (300, 300)).astype(np.float32)
    assert not find_nuclei(noise, UM).any() and not find_nuclei(rng.poisson(8, noise.shape).astype(np.float32), UM).any()
    centres = [(60, 60), (200, 100), (120, 220)]
    assert len(np.unique(find_nuclei(discs(noise.shape, centres, 8, 100.0) + noise, UM))) == 4


def test_specks_are_no_nuclei_and_a_flat_image_has_none():
    image = discs((100, 100), [(50, 30)], 8)
    image[50, 70] += 900
    assert len(np.unique(label(image))) == 2
    flat = np.full((50, 60), 7.0, np.float32)
    assert contrast_threshold([local_contrast(flat, UM, 8.0)]) == float("inf")
    assert contrast_threshold([]) == float("inf")
    assert not segment_watershed(flat, UM, DIAMETER, 100.0).any()


def test_brightness_of_tissue_around_does_not_change_the_count():
    centres = [(y, x) for y in range(30, 200, 40) for x in range(30, 200, 40)]
    slope = np.linspace(0, 300, 220, dtype=np.float32)[None, :]
    assert len(np.unique(label(discs((220, 220), centres, 8) + slope))) - 1 == len(centres)


def test_a_label_depends_on_its_surroundings_only():
    rng = np.random.default_rng(2)
    image = discs((300, 300), rng.uniform(10, 290, (180, 2)), 7) + rng.normal(0, 5, (300, 300)).astype(np.float32)
    whole = segment_watershed(image, UM, DIAMETER, 150.0) > 0
    halo = int(REACH * DIAMETER / UM)
    cut = segment_watershed(np.ascontiguousarray(image[:, 100 - halo :]), UM, DIAMETER, 150.0) > 0
    assert np.array_equal(cut[:, halo:], whole[:, 100:])


def test_the_ring_leaves_out_other_nuclei_and_stays_narrow():
    labels = np.zeros((40, 60), np.int64)
    labels[15:25, 10:20] = 1
    labels[15:25, 22:32] = 2  # two pixels away
    channel = np.zeros((40, 60), np.float32)
    channel[labels == 1] = 100
    channel[labels == 2] = 1000
    owned = np.ones(labels.shape, bool)
    ring_um = 3 * UM
    cells = measure_cells(labels, channel[None], UM, ring_um, owned)
    assert cells.nucleus[0].tolist() == [100, 1000]
    assert cells.ring[0].tolist() == [0, 0]  # nothing of the neighbour, nothing of itself
    near = np.zeros_like(channel)
    near[12:28, 7:20] = 5  # what lies within three pixels of the first, on its left
    assert measure_cells(labels, near[None], UM, ring_um, owned).ring[0][0] > 3
    far = np.ones_like(channel)
    far[10:30, 5:37] = 0
    assert measure_cells(labels, far[None], UM, ring_um, owned).ring[0].tolist() == [0, 0]


def test_a_nucleus_without_free_surroundings_has_its_own_mean_as_ring():
    cells = measure_cells(np.ones((6, 6), np.int64), np.full((1, 6, 6), 3.0, np.float32), UM, 2.0, np.ones((6, 6), bool))
    assert cells.ring.tolist() == [[3.0]]


def test_only_cells_whose_centroid_is_owned_are_measured():
    labels = np.zeros((20, 20), np.int64)
    labels[2:6, 2:6], labels[12:16, 12:16] = 1, 2
    owned = np.zeros((20, 20), bool)
    owned[10:] = True
    cells = measure_cells(labels, np.zeros((1, 20, 20), np.float32), UM, 2.0, owned)
    assert cells.y.tolist() == [13.5]


def test_a_centroid_between_two_pixels_has_one_owner_wherever_the_block_starts():
    places = np.arange(0.5, 40.5)
    assert np.array_equal(containing_pixel(places), np.arange(1, 41))
    assert np.array_equal(containing_pixel(places + 7) - 7, containing_pixel(places))


def grid_section(bench, block, monkeypatch):
    """A lawn of nuclei with pairs across every possible border, measured in blocks of one size."""
    centres = [(y, x) for y in range(40, 660, 31) for x in range(40, 660, 37)]
    nuclei = discs((700, 700), centres, 8)
    other = np.asarray(np.random.default_rng(1).gamma(2, 40, nuclei.shape), np.float32)
    other[:20] = other[-20:] = other[:, :20] = other[:, -20:] = 0
    nuclei[:20] = nuclei[-20:] = nuclei[:, :20] = nuclei[:, -20:] = 0
    monkeypatch.setattr(grid, "BLOCK_PX", block)
    image = np.stack([nuclei, other]).astype(np.uint16)
    panel = bench.panel(("DAPI", "CD68"), [("DAPI", "CD68")])
    record = bench.record(image, UM, panel, ImagingSettings(blur_um=0), Correction(np.zeros(2), np.eye(2), ("glass",) * 2))
    return record, len(centres)


def test_cells_are_counted_once_whatever_the_blocks(bench, monkeypatch):
    whole, n = grid_section(bench, 4096, monkeypatch)
    assert len(whole.cells["y_um"]) == n
    for block in (256, 333, 512):
        cut, _ = grid_section(bench, block, monkeypatch)
        assert np.array_equal(cut.counts, whole.counts)
        assert np.array_equal(cut.sums, whole.sums)
        assert np.array_equal(cut.joint["DAPI", "CD68"], whole.joint["DAPI", "CD68"])
        assert cut.cells.keys() == whole.cells.keys()
        for name, values in whole.cells.items():
            assert np.allclose(cut.cells[name], values, rtol=1e-6, atol=1e-6, equal_nan=True), name


def test_the_record_tells_the_diameter_and_where_it_is_from(bench):
    centres = [(y, x) for y in range(40, 660, 31) for x in range(40, 660, 37)]
    nuclei = discs((700, 700), centres, 8)
    nuclei[:20] = nuclei[-20:] = nuclei[:, :20] = nuclei[:, -20:] = 0
    image = np.stack([nuclei, nuclei]).astype(np.uint16)
    for given_um, source in ((None, "estimated"), (6.0, "set")):
        settings = ImagingSettings(nucleus_diameter_um=given_um)
        record = bench.record(image, UM, bench.panel(("DAPI", "CD68")), settings, Correction(np.zeros(2), np.eye(2), ("glass",) * 2))
        assert record.meta["nucleus_diameter_source"] == source
        assert record.meta["nucleus_diameter_um"] == (given_um or pytest.approx(8.25, abs=1.0))
        assert len(record.cells["y_um"]) == len(centres)
