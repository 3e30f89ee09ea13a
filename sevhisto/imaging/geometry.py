"""Where each overview pixel lies: tissue, cavity, lesion core, signed distance and side; and the way from there to full resolution."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.kernels import CAVITY, MASKED, SECOND, TISSUE
from sevhisto.types import DISTANCE_EDGES_UM, DISTANCE_STEP_UM, NO_DISTANCE, AnyArray, BoolArray, FloatArray, IntArray


@dataclass
class Layout:
    """One section at overview resolution.

    Attributes
    ----------
    factor : full-resolution pixels per overview pixel
    um : size of an overview pixel
    tissue : (h, w) bool, the section's outline, filled
    cavity, masked : (h, w) bool, inside tissue; cavity is tissue-free, masked is excluded by a person or a fault
    core : (h, w) bool, lesion core including its cavity; empty without a lesion
    distance : (h, w) float32, signed distance to the core's border in um, negative inside; NaN without a core
    side : (h, w) uint8, 0 or 1
    faults : {name: (h, w) bool}, parts of `masked` that the program found
    """

    factor: int
    um: float
    tissue: BoolArray
    cavity: BoolArray
    masked: BoolArray
    core: BoolArray
    distance: FloatArray
    side: AnyArray
    faults: dict[str, BoolArray] = field(default_factory=dict)

    @property
    def has_core(self) -> bool:
        """Whether the section has a lesion core."""
        return bool(self.core.any())


def class_codes(layout: Layout) -> AnyArray:
    """Return what each overview pixel is, (h, w) uint8: sums of kernels.TISSUE, CAVITY, MASKED and SECOND."""
    codes = layout.tissue * np.uint8(TISSUE) + layout.cavity * np.uint8(CAVITY)
    return np.asarray(codes + layout.masked * np.uint8(MASKED) + (layout.side > 0) * np.uint8(SECOND), np.uint8)


def signed_distance(core: BoolArray, um: float) -> FloatArray:
    """Return the distance of every pixel centre to the core's border in um, negative inside; NaN everywhere without a core."""
    if not core.any():
        return np.full(core.shape, np.nan, np.float32)
    # not OpenCV's: with one thread and with several its results differ in the last bit
    distance = np.asarray(ndimage.distance_transform_edt(~core), np.float64) - 0.5
    (box,) = ndimage.find_objects(core.astype(np.uint8))
    inside = ndimage.distance_transform_edt(np.pad(core[box], 1))[1:-1, 1:-1]  # a core that touches the image edge ends there
    distance[box] = np.where(core[box], 0.5 - inside, distance[box])
    return np.asarray(distance * um, np.float32)


BORDER_SMOOTHING_UM = 20.0
ELONGATED = 1.1
"""A shape whose long axis is less than this many times its short one has no axis."""


def border_turn(distance: FloatArray, um: float) -> FloatArray:
    """Return the direction of the nearest border's normal, (2, h, w) float32: cosine and sine of twice its angle from x towards y (down).

    The normal is the gradient of the signed distance, smoothed with sigma 20 um. Where that is under a half, no border is the nearest, and
    both are 0. Empty (2, 0, 0) without a core. `distance` : as `signed_distance` gives it; `um` : size of a pixel.
    """
    if np.isnan(distance).all():
        return np.zeros((2, 0, 0), np.float32)
    soft = cv2.GaussianBlur(distance, (0, 0), max(BORDER_SMOOTHING_UM / um, 0.5), borderType=cv2.BORDER_REPLICATE)
    if min(soft.shape) < 2:
        return np.zeros((2, *soft.shape), np.float32)
    dy, dx = np.gradient(soft, um)
    length = dx * dx + dy * dy
    near = length >= 0.25
    scale = np.where(near, 1 / np.where(near, length, 1), 0)
    return np.asarray(np.stack([(dx * dx - dy * dy) * scale, 2 * dx * dy * scale]), np.float32)


def long_axis_deg(tissue: BoolArray) -> float:
    """Return the direction of a shape's long axis, degrees from x towards y (down), 0 to 180; NaN where it is hardly longer than wide."""
    if np.count_nonzero(tissue) < 2:
        return float("nan")
    spread, axes = np.linalg.eigh(np.cov(np.stack(np.nonzero(tissue)).astype(np.float64)))
    if spread[1] <= 0 or spread[0] * ELONGATED**2 > spread[1]:
        return float("nan")
    return float(np.degrees(np.arctan2(axes[0, 1], axes[1, 1])) % 180)


_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def dilated(mask: BoolArray, steps: int) -> BoolArray:
    """Return a mask (h, w) grown by `steps` pixels, to its four neighbours each time."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _CROSS, iterations=steps, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0, bool)


def eroded(mask: BoolArray, steps: int) -> BoolArray:
    """Return a mask (h, w) worn off by `steps` pixels, also where the image ends."""
    return np.asarray(cv2.erode(mask.astype(np.uint8), _CROSS, iterations=steps, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0, bool)


def around(mask: BoolArray, margin: int) -> tuple[slice, slice]:
    """Return the box of a mask that is not empty, wider by `margin` pixels on every side where the image allows."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(max(rows[0] - margin, 0), rows[-1] + margin + 1), slice(max(columns[0] - margin, 0), columns[-1] + margin + 1)


def filled(mask: BoolArray) -> BoolArray:
    """Return a mask (h, w) with its holes filled."""
    background = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(background, connectivity=4)
    return np.asarray(labels[1:-1, 1:-1] != labels[0, 0], bool)


def side_map(tissue: BoolArray, core: BoolArray, longitudinal: bool, flipped: bool) -> AnyArray:
    """Return 0 (left, or rostral) or 1 (right, or caudal) for every pixel, shape (h, w) uint8.

    Transverse sections are split by the vertical through the tissue's centroid. Longitudinal ones are split across their long axis at the
    core's centroid (the tissue's without a core); rostral is to the left of the image, or the top of an upright section, unless `flipped`.
    """
    h, w = tissue.shape
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    if not tissue.any():
        return np.zeros((h, w), np.uint8)
    ty, tx = (float(v.mean()) for v in np.nonzero(tissue))
    if longitudinal:
        points = np.stack(np.nonzero(tissue)).astype(np.float64)
        axis = np.linalg.eigh(np.cov(points))[1][:, -1]
        if (axis[1] if abs(axis[1]) >= abs(axis[0]) else axis[0]) < 0:
            axis = -axis
        oy, ox = (float(v.mean()) for v in np.nonzero(core)) if core.any() else (ty, tx)
        second = (yy - oy) * axis[0] + (xx - ox) * axis[1] >= 0
    else:
        second = xx >= tx
    return np.asarray(second ^ flipped, np.uint8)


def upsample(values: AnyArray, factor: int, y0: int, y1: int, x0: int, x1: int) -> FloatArray:
    """Interpolate an overview map linearly at full-resolution pixel centres y0..y1, x0..x1; float32 (y1 - y0, x1 - x0).

    Each pixel depends on its own place only, to the last bit, so that blocks agree whatever their corners.
    """
    top, bottom, down = neighbours(values.shape[0], factor, np.arange(y0, y1))
    left, right, across = neighbours(values.shape[1], factor, np.arange(x0, x1))
    first = int(top[0])
    rows = np.asarray(values[first : int(bottom[-1]) + 1], np.float32)
    wide = rows[:, left] + (rows[:, right] - rows[:, left]) * across
    out = wide[top - first]
    out += (wide[bottom - first] - out) * down[:, None]
    return np.asarray(out, np.float32)


def upsample_at(values: AnyArray, factor: int, y: IntArray, x: IntArray) -> FloatArray:
    """Interpolate an overview map at the centres of single full-resolution pixels (n,), as `upsample` does; float32 (n,)."""
    top, bottom, down = neighbours(values.shape[0], factor, y)
    left, right, across = neighbours(values.shape[1], factor, x)
    values = np.asarray(values, np.float32)
    upper = values[top, left] + (values[top, right] - values[top, left]) * across
    lower = values[bottom, left] + (values[bottom, right] - values[bottom, left]) * across
    return np.asarray(upper + (lower - upper) * down, np.float32)


def neighbours(n: int, factor: int, pixels: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the overview pixels (of `n`) on both sides of each full-resolution pixel's centre, and the weight of the second."""
    place = np.clip((pixels + 0.5) / factor - 0.5, 0, n - 1)
    low = np.minimum(place.astype(np.int64), max(n - 2, 0))
    return low, np.minimum(low + 1, n - 1), np.asarray(place - low, np.float32)


def distance_bin(distance: FloatArray) -> IntArray:
    """Return the index of the signed-distance bin, NO_DISTANCE where the distance is NaN."""
    known = np.isfinite(distance)
    # divided first, in double precision: a pixel just inside the core must not be rounded out of it
    steps = np.floor(np.where(known, distance, 0).astype(np.float64) / DISTANCE_STEP_UM).astype(np.int64)
    steps += 1 - int(DISTANCE_EDGES_UM[0]) // DISTANCE_STEP_UM
    return np.where(known, np.clip(steps, 0, len(DISTANCE_EDGES_UM)), NO_DISTANCE)
