"""Light against that of the tissue around, and means over squares."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import AnyArray, BoolArray, FloatArray

SOFTEN_UM = 8.0
REFERENCE_UM = 64.0
REFERENCE_TILES = 7
"""Tissue around: the median over 7 x 7 squares of 64 um, so that a fold or rim, which is narrower than half of it, does not move it."""


def over_surroundings(light: FloatArray, solid: BoolArray, um: float, soften_um: float = SOFTEN_UM) -> FloatArray:
    """Return softened light over the median of the tissue around, (h, w) float32; 0 where there is none."""
    weight = solid.astype(np.float32)
    sigma = soften_um / um
    soft = cv2.GaussianBlur(np.where(solid, light, 0).astype(np.float32), (0, 0), sigma)
    soft /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    step = max(round(REFERENCE_UM / um), 1)
    mean, share = tile_means(np.where(solid, light, 0), step), tile_means(weight, step)
    level = np.where(share > 0.25, mean / np.maximum(share, 1e-3), np.nan)
    around = median_around(level, REFERENCE_TILES)
    fit = cv2.resize(np.nan_to_num(around), (around.shape[1] * step, around.shape[0] * step), interpolation=cv2.INTER_LINEAR)
    fit = fit[: light.shape[0], : light.shape[1]]
    return np.asarray(np.where(solid & (fit > 0), soft / np.maximum(fit, 1e-3), 0), np.float32)


def common(values: FloatArray, apart: int = 1) -> FloatArray:
    """Return what the members of the first axis share: the value nearest 0 where they are of one sign, else 0, and where unknown.

    Of four and more, `apart` may stand apart: cells of one stain shine through.
    """
    apart = apart if len(values) > 3 else 0
    ranked = np.sort(np.nan_to_num(values), axis=0)
    low, high = ranked[apart], ranked[-1 - apart]
    return np.asarray(np.where(low > 0, low, np.where(high < 0, high, 0)), np.float32)


def block_means(image: AnyArray, k: int) -> FloatArray:
    """Return means over squares of k pixels, (ceil(h / k), ceil(w / k)) float32; the last row and column stand in for what is beyond."""
    h, w = image.shape
    padded = np.pad(np.asarray(image, np.float32), ((0, -h % k), (0, -w % k)), mode="edge")
    return np.asarray(cv2.resize(padded, (padded.shape[1] // k, padded.shape[0] // k), interpolation=cv2.INTER_AREA), np.float32)


def tile_means(image: AnyArray, step: int) -> FloatArray:
    """Return means over squares of `step` pixels, (ceil(h / step), ceil(w / step)) float32; what lies beyond the image counts as 0."""
    h, w = image.shape
    padded = np.pad(np.asarray(image, np.float32), ((0, -h % step), (0, -w % step)))
    return np.asarray(padded.reshape(padded.shape[0] // step, step, -1, step).mean((1, 3)), np.float32)


def median_around(level: FloatArray, side: int) -> FloatArray:
    """Return the median of the known values in side x side squares, the nearest known one where there are none."""
    if not np.isfinite(level).any():
        return np.zeros_like(level)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(level, side // 2, constant_values=np.nan), (side, side))
    flat = np.sort(windows.reshape(*level.shape, -1), axis=-1)  # NaN last
    n = np.isfinite(flat).sum(axis=-1)
    middle = np.take_along_axis(flat, np.maximum(n - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    unknown = np.asarray(n == 0)
    if unknown.any():
        nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        middle = middle[tuple(nearest)]
    return np.asarray(middle, np.float32)
