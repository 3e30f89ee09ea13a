"""Nuclei: where they are and which pixels are theirs; and the cell table of one block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.imaging.kernels import centroids, group_by_label, levels, rings
from sevhisto.imaging.labels import Known
from sevhisto.imaging.nuclear_parts import basins, highest, merged
from sevhisto.imaging.nuclear_size import typical_diameter
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray

REACH = 5.0
"""Typical diameters within which a nucleus depends on pixels."""
ACROSS_PX = 7.0
"""Pixels across a typical nucleus: no fewer are needed, and more are kept only where reducing would leave fewer."""
SIGNIFICANT = (6.0, 8.0)
"""Standard deviations of noise: contrast is measured from the lowest of the surroundings, which noise alone puts four of them down."""
TWO_POPULATIONS = 0.75
"""Share of the variance that Otsu's cut explains where values are evenly spread."""
_QUIET = 0.06  # smoothing of the contrast, in diameters
_HALF = 0.45  # a nucleus ends where this share of its contrast is left
_SMALLEST = 0.12  # of the typical area
_MEDIAN = np.array([5])
_BOUNDS = np.array([2, 8])  # a cell is surely positive where four fifths of its ring are, and possibly where one fifth is
_FLOOR = 1.5  # half side in diameters of the square in which the surroundings are sought


def local_contrast(image: FloatArray, um: float, diameter_um: float) -> FloatArray:
    """Return intensity above the surroundings of about three nuclei, grey levels, shape (h, w)."""
    quiet = _soft(image, _QUIET * diameter_um / um)
    size = max(round(_FLOOR * diameter_um / um), 1) * 2 + 1
    floor = cv2.erode(quiet, cv2.getStructuringElement(cv2.MORPH_RECT, (size, size)))  # a square takes the same time at any size
    # a mean over a box ends where the box does: what lies beyond REACH diameters cannot tell
    return np.asarray(quiet - cv2.blur(floor, (size, size)), np.float32)


def _soft(image: FloatArray, sigma_px: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.5)), np.float32)


def contrast_noise(image: FloatArray, um: float, diameter_um: float) -> tuple[float, float]:
    """Return two estimates of the standard deviation of noise in `local_contrast`, grey levels: how it differs from twice its smoothing.

    The first leaves out whatever is no noise, the second only the largest 5 % of the differences. White noise smoothed with s and with 2 s
    differs by sqrt(1 + 1/4 - 4/5) = 0.671 of what is left of it after s; the lower 95 % of normal values have 0.871 of their deviation.
    """
    sigma = max(_QUIET * diameter_um / um, 0.5)
    fine = np.abs(_soft(image, sigma) - _soft(image, 2 * sigma)).ravel()
    rest = fine[fine <= np.percentile(fine, 95)].astype(np.float64)
    return 1.4826 * float(np.median(fine)) / 0.671, float(np.sqrt(np.mean(rest**2))) / (0.871 * 0.671)


def contrast_threshold(samples: list[FloatArray], noise: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the contrast that separates nuclei from their surroundings; inf without contrast.

    Otsu over sample tiles of one section, on square roots: dim nuclei beside bright ones are nuclei too. Where there are none, Otsu parts
    the noise: what is under SIGNIFICANT times it (see `contrast_noise`) is no nucleus. Values that are no two populations may be noise
    altogether: then the second estimate counts.
    """
    values = np.concatenate([s.ravel() for s in samples]) if samples else np.zeros(0, np.float32)
    if values.size == 0 or float(np.ptp(values)) == 0:
        return float("inf")
    roots = np.sqrt(np.maximum(values, 0))
    level = float(threshold_otsu(roots))
    low = roots <= level
    share, variance = float(low.mean()), float(roots.var())
    between = share * (1 - share) * float(roots[low].mean() - roots[~low].mean()) ** 2 if 0 < share < 1 else 0.0
    two = between >= TWO_POPULATIONS * variance
    return max(level**2, SIGNIFICANT[0] * noise[0] if two else SIGNIFICANT[1] * noise[1])


def segment_watershed(image: FloatArray, um: float, diameter_um: float, threshold: float) -> IntArray:
    """Label nuclei: contrast above `threshold` falls into the basins of a landscape of brightness and depth, each of which ends where
    about half of its own contrast is left; basins that together are more like a nucleus than each alone are joined."""
    diameter = diameter_um / um
    if diameter < ACROSS_PX:  # on a coarse scan touching nuclei are told apart between its pixels
        return np.ascontiguousarray(segment_watershed(_finer(image), um / 2, diameter_um, threshold)[::2, ::2])
    contrast = local_contrast(image, um, diameter_um)
    mask = contrast > threshold
    if not mask.any():
        return np.zeros(image.shape, np.int64)
    bright = _soft(np.sqrt(np.maximum(contrast, 0)), 0.12 * diameter)
    landscape = _landscape(bright, mask, diameter, threshold)
    parts, n = basins(landscape, mask)
    mask &= contrast >= _HALF * (highest(bright, parts, n) ** 2)[parts]
    landscape = _landscape(bright, mask, diameter, threshold)
    parts, n = basins(landscape, mask)
    typical = np.pi / 4 * diameter**2
    labels = merged(parts, n, landscape, highest(landscape, parts, n), typical)[parts]
    sizes = np.bincount(labels.ravel())
    labels[(sizes < _SMALLEST * typical)[labels]] = 0
    return np.asarray(labels, np.int64)


def _finer(image: FloatArray) -> FloatArray:
    """Return an image interpolated at half the pixel size, (2 h - 1, 2 w - 1): every second pixel is one of the original."""
    size = (2 * image.shape[1] - 1, 2 * image.shape[0] - 1)
    half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, half, size, flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _landscape(bright: FloatArray, mask: BoolArray, diameter: float, threshold: float) -> FloatArray:
    """Return a height that is largest in the middle of nuclei: brightness and shape both tell touching ones apart."""
    depth = np.minimum(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), diameter)
    return _soft(depth, 0.08 * diameter) / np.float32(diameter) + bright / np.float32(3 * np.sqrt(threshold))


def find_nuclei(image: FloatArray, um: float, diameter_um: float | None = None) -> IntArray:
    """Return labels (h, w) of the nuclei of one image, 0 for background; their size is estimated where `diameter_um` is not given."""
    image = np.asarray(image, np.float32)
    diameter = typical_diameter([image], um) if diameter_um is None else diameter_um
    if np.isnan(diameter):
        return np.zeros(image.shape, np.int64)
    threshold = contrast_threshold([local_contrast(image, um, diameter)], contrast_noise(image, um, diameter))
    return segment_watershed(image, um, diameter, threshold)


@dataclass
class CellBlock:
    """Cells of one block: columns of equal length, positions in pixels of the block; `labels` are their numbers in the segmentation.

    `ring_low`, `ring_high` hold, for the channels with bounds, the values that four fifths and one fifth of the ring reach.
    """

    y: DoubleArray
    x: DoubleArray
    area_px: FloatArray
    nucleus: FloatArray
    ring: FloatArray
    ring_low: FloatArray
    ring_high: FloatArray
    labels: IntArray


def measure_cells(
    labels: IntArray,
    channels: FloatArray,
    um: float,
    ring_um: float,
    owned: BoolArray,
    step: int = 1,
    known: Known | None = None,
    bounded: Sequence[int] = (),
) -> CellBlock:
    """Return centroid, area and median intensities in nucleus and ring of each label whose centroid falls on `owned`.

    Parameters
    ----------
    labels : (h, w) int, 0 for background
    channels : (c, h, w) float32, corrected intensity
    owned : (h * step, w * step) bool or larger, pixels whose cells are counted here (the block without its halo, inside tissue)
    step : pixels of `owned` per pixel of `labels`
    known : area and centroid of each label from 0 on, where they are not those of its pixels here; a label may then have none, and
        takes the intensity at its centroid
    bounded : channels whose cells are counted with bounds

    Returns
    -------
    CellBlock with ``nucleus`` and ``ring`` of shape (c, n_cells). A nucleus without free surroundings has its own median as ring.
    """
    n = int(labels.max(initial=0)) + 1 if known is None else len(known[0])
    area, cy, cx = centroids(labels, n) if known is None else known
    keep = area > 0
    keep[0] = False
    chosen = np.flatnonzero(keep)
    chosen = chosen[owned[containing_pixel(cy[chosen], step), containing_pixel(cx[chosen], step)]]
    ((nucleus_level,),) = _levels(labels, chosen, n, (channels, _MEDIAN))
    if known is not None and channels.size:
        y, x = (np.clip(containing_pixel(c[chosen]), 0, side - 1) for c, side in zip((cy, cx), labels.shape, strict=True))
        nucleus_level = np.where(np.isnan(nucleus_level), channels[:, y, x], nucleus_level)
    around, rows = rings(labels, max(ring_um / um, 1.0)), list(bounded)
    (ring_level,), bounds = _levels(around, chosen, n, (channels, _MEDIAN), ([channels[i] for i in rows], _BOUNDS))
    ring_level = np.where(np.isnan(ring_level), nucleus_level, ring_level)
    low, high = np.where(np.isnan(bounds), nucleus_level[rows], bounds)
    return CellBlock(cy[chosen], cx[chosen], area[chosen].astype(np.float32), nucleus_level, ring_level, low, high, chosen)


def _levels(labels: IntArray, chosen: IntArray, n: int, *wanted: tuple[Iterable[FloatArray], IntArray]) -> list[FloatArray]:
    """Return, for each pair of channels and tenths, what the pixels of each chosen label reach, (len(tenths), c, n): see kernels.levels.

    The upper median reaches a threshold exactly where at least half of the pixels do: a bright neighbour at the edge does not count.
    """
    start, pixels = group_by_label(labels, n)
    out = []
    for channels, tenths in wanted:
        found = [levels(channel.ravel(), start, pixels, chosen, tenths) for channel in channels]
        out.append(np.stack(found, axis=1) if found else np.zeros((len(tenths), 0, len(chosen)), np.float32))
    return out


def containing_pixel(place: AnyArray, step: int = 1) -> IntArray:
    """Return the full-resolution pixel of a centroid on a grid of `step` pixels. Halves go up: with rounding to even, the owner would
    depend on where a block starts, as it would with the last bit of a division: a millionth of a pixel is added."""
    return np.asarray(np.floor((np.asarray(place, np.float64) + 0.5) * step + 1e-6), np.int64)


def cell_step(um: float, diameter_um: float, across_px: float = ACROSS_PX) -> int:
    """Return the side in pixels of the means in which cells are seen: the largest that leaves a cell `across_px` of them, at least 1.

    A finer scan shows no more nuclei; the same grid at every magnification makes them comparable.
    """
    return max(1, int(diameter_um / um / across_px))
