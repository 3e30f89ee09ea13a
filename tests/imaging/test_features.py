from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sevhisto.imaging.features import derivatives, feature_names, features, grid_step, reach_px, smoothed

SCALES = (1.5, 3.0, 6.0)


def whole(image: np.ndarray) -> tuple[slice, slice]:
    return slice(0, image.shape[0]), slice(0, image.shape[1])


def test_a_pixel_has_the_same_features_to_the_last_bit_wherever_the_image_was_cut():
    rng = np.random.default_rng(1)
    images = [rng.normal(100, 30, (140, 120)).astype(np.float32) for _ in range(2)]
    everything = features(images, 1.1, SCALES, whole(images[0]))
    assert everything.shape[0] == len(feature_names(("a", "b"), SCALES)) == 32
    reach = reach_px(1.1, SCALES)
    for y0, y1, x0, x1 in ((40, 70, 0, 33), (0, 20, 60, 120), (77, 140, 51, 52)):
        a, b, c, d = max(y0 - reach, 0), min(y1 + reach, 140), max(x0 - reach, 0), min(x1 + reach, 120)
        part = [np.ascontiguousarray(i[a:b, c:d]) for i in images]
        found = features(part, 1.1, SCALES, (slice(y0 - a, y1 - a), slice(x0 - c, x1 - c)))
        assert np.array_equal(found, everything[:, y0:y1, x0:x1])


def test_smoothing_is_a_mirrored_gaussian():
    image = np.random.default_rng(2).normal(0, 1, (50, 31)).astype(np.float32)
    half = np.exp(-0.5 * (np.arange(9) / 2.5) ** 2)
    kernel = np.concatenate([half[:0:-1], half])
    kernel /= kernel.sum()
    reference = ndimage.convolve1d(ndimage.convolve1d(image.astype(float), kernel, 0, mode="reflect"), kernel, 1, mode="reflect")
    assert np.allclose(smoothed(image, kernel[8:].astype(np.float32)), reference, atol=1e-5)


def test_derivatives_of_a_polynomial_are_exact():
    y, x = np.mgrid[:12, :14].astype(np.float32)
    image = (2 * x * x - 3 * x * y + y * y + x).astype(np.float32)
    fx, fy, slope, valley, ridge = derivatives(image, np.float32(2))
    inner = np.s_[2:-2, 2:-2]
    assert np.allclose(fx, 2 * (4 * x - 3 * y + 1)[inner], atol=1e-3)
    assert np.allclose(fy, 2 * (2 * y - 3 * x)[inner], atol=1e-3)
    assert np.allclose(slope, np.hypot(fx, fy), rtol=1e-5)
    high, low = np.linalg.eigvalsh(4 * np.array([[4, -3], [-3, 2]]))[::-1]
    assert np.allclose(valley, high, atol=2e-3) and np.allclose(ridge, low, atol=2e-3)


@pytest.mark.parametrize("step", [2, 4])
def test_features_hardly_depend_on_the_pixel_size(step):
    """Blobs and bars drawn at 0.25 um, averaged to larger pixels: every feature keeps its value within 8 % of its range."""
    rng = np.random.default_rng(3)
    fine = ndimage.gaussian_filter(rng.normal(0, 1, (480, 480)), (10, 24)) * 3000 + 200
    coarse = fine.reshape(480 // step, step, 480 // step, step).mean((1, 3)).astype(np.float32)
    reference = features([fine.astype(np.float32)], 0.25, SCALES, np.s_[100:380, 100:380])
    reference = reference.reshape(len(reference), 280 // step, step, 280 // step, step).mean((2, 4))
    start = slice(100 // step, 380 // step)
    found = features([coarse], 0.25 * step, SCALES, (start, start))
    for name, a, b in zip(feature_names(("image",), SCALES), found, reference, strict=True):
        assert np.abs(a - b).mean() < 0.08 * b.std(), name


@pytest.mark.parametrize(("um", "step"), [(0.25, 6), (0.5, 3), (0.65, 2), (1.0, 1), (1.5, 1), (2.6, 1)])
def test_a_pixel_of_the_grid_is_no_larger_than_the_finest_scale(um, step):
    assert grid_step(um, SCALES) == step
