"""The typical nucleus is told by the image, whatever its size, brightness and pixel size; and nuclei are found with nothing set."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sevhisto.imaging.nuclear_size import reduction, typical_diameter
from sevhisto.imaging.nuclei import find_nuclei


def lawn(diameter_px, seed=0, side=480, spread=0.1, level=(150.0, 600.0)):
    """Return discs of about one size on a jittered grid, dim and bright ones, with noise; and their number."""
    rng = np.random.default_rng(seed)
    pitch = round(1.7 * diameter_px + 4)
    image = np.zeros((side, side), np.float32)
    places = [(y, x) for y in range(pitch, side - pitch // 2, pitch) for x in range(pitch, side - pitch // 2, pitch)]
    for y, x in places:
        centre = [round(16 * (v + rng.uniform(-0.1, 0.1) * diameter_px)) for v in (x, y)]
        radius = round(8 * diameter_px * (1 + spread * rng.uniform(-1, 1)))
        cv2.circle(image, centre, radius, float(rng.uniform(*level)), -1, cv2.LINE_AA, 4)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    return image + rng.normal(20, 6, image.shape).astype(np.float32), len(places)


@pytest.mark.parametrize("diameter_px", [8, 12, 20, 32, 47])
def test_the_diameter_is_found_without_a_setting(diameter_px):
    image, _ = lawn(diameter_px)
    found = typical_diameter([image], 0.5) / 0.5
    assert diameter_px - 1 < found < 1.1 * diameter_px + 2  # blur makes small ones look larger


@pytest.mark.parametrize("diameter_px", [6, 8, 12, 20, 32, 47])
def test_nuclei_of_any_size_are_counted_without_a_setting(diameter_px):
    image, n = lawn(diameter_px)
    labels = find_nuclei(image, 0.5)
    assert len(np.unique(labels)) - 1 == n


def test_the_diameter_does_not_depend_on_units_of_intensity_nor_on_a_few_bright_things():
    image, _ = lawn(14)
    usual = typical_diameter([image], 0.5)
    assert typical_diameter([1000 * image + 5000], 0.5) == pytest.approx(usual, rel=0.01)
    cv2.circle(image, (240, 240), 45, 4000.0, -1)
    assert typical_diameter([image], 0.5) == pytest.approx(usual, rel=0.1)


def test_samples_are_pooled_and_nothing_gives_nothing():
    image, _ = lawn(14)
    halves = [np.ascontiguousarray(image[:, :240]), np.ascontiguousarray(image[:, 240:])]
    assert typical_diameter(halves, 0.5) == pytest.approx(typical_diameter([image], 0.5), rel=0.05)
    assert np.isnan(typical_diameter([], 0.5))
    flat = np.full((64, 64), 9.0, np.float32)
    assert np.isnan(typical_diameter([flat], 0.5))
    assert not find_nuclei(flat, 0.5).any()


def test_a_diameter_that_is_set_is_used():
    image, n = lawn(12)
    assert len(np.unique(find_nuclei(image, 0.5, 6.0))) - 1 == n
    assert len(np.unique(find_nuclei(image, 0.5, 40.0))) - 1 < n / 2


def test_a_finer_scan_of_the_same_tissue_has_as_many_nuclei():
    fine, n = lawn(24, seed=4)
    coarse = cv2.resize(fine, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    found = [len(np.unique(find_nuclei(image, um))) - 1 for image, um in ((fine, 0.25), (coarse, 0.5))]
    assert found == [n, n]
    assert typical_diameter([coarse], 0.5) == pytest.approx(typical_diameter([fine], 0.25), rel=0.1)


def test_a_shifted_grid_has_as_many_nuclei():
    image, n = lawn(9, seed=5)
    assert [len(np.unique(find_nuclei(np.ascontiguousarray(image[k:, k:]), 1.0))) - 1 for k in range(4)] == [n] * 4


def test_an_image_is_reduced_only_as_far_as_the_smallest_nuclei_allow():
    assert [reduction(um) for um in (1.3, 0.5, 0.25, 0.1)] == [1, 1, 2, 5]
