"""Nuclei: where they are and which pixels are theirs; and the cell table of one block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from sevhisto.config import ImagingSettings
from sevhisto.imaging.kernels import centroids, group_by_label, medians, rings
from sevhisto.registry import Registry
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray, IntArray

Segmenter = Callable[[FloatArray, float, float, ImagingSettings], IntArray]
"""(nuclear intensity (h, w), um per pixel, contrast threshold, settings) -> labels (h, w), 0 for background. A label may depend on pixels
within REACH typical diameters only: blocks of one section must agree on the nuclei at their border."""
REACH = 5.0
_BLOB_OF_THRESHOLD = 1.3  # blob signal of a bright nucleus over the contrast threshold, as synthetic sections show it

segmenters: Registry[Segmenter] = Registry("segmenter")


def blob_signal(image: FloatArray, um: float, diameter_um: float) -> FloatArray:
    """Return how much each pixel stands out at the scale of a nucleus: a difference of Gaussians, grey levels, shape (h, w)."""
    # a disc answers most where the inner Gaussian has sigma = radius / sqrt(2)
    sigma = max(diameter_um / 2 / np.sqrt(2) / um, 0.7)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * 0.8) - cv2.GaussianBlur(image, (0, 0), sigma * 2.0), np.float32)


def local_contrast(image: FloatArray, um: float, diameter_um: float) -> FloatArray:
    """Return intensity above the surroundings of about three nuclei, grey levels, shape (h, w)."""
    quiet = cv2.GaussianBlur(image, (0, 0), max(0.08 * diameter_um / um, 0.5))
    size = max(round(1.5 * diameter_um / um), 1) * 2 + 1
    floor = cv2.erode(quiet, cv2.getStructuringElement(cv2.MORPH_RECT, (size, size)))  # a square takes the same time at any size
    # a mean over a box ends where the box does: what lies beyond REACH diameters cannot tell
    return np.asarray(quiet - cv2.blur(floor, (size, size)), np.float32)


def contrast_threshold(samples: list[FloatArray]) -> float:
    """Return the contrast that separates nuclei from their surroundings, by Otsu over sample tiles of one section; inf without contrast."""
    values = np.concatenate([s.ravel() for s in samples]) if samples else np.zeros(0, np.float32)
    if values.size == 0 or float(np.ptp(values)) == 0:
        return float("inf")
    return float(threshold_otsu(values))


@segmenters.register("watershed")
def segment_watershed(image: FloatArray, um: float, threshold: float, settings: ImagingSettings) -> IntArray:
    """Label nuclei: contrast above `threshold`, split at the valleys between blobs of about the typical nucleus."""
    diameter = settings.nucleus_diameter_um
    mask = local_contrast(image, um, diameter) > threshold
    if not mask.any():
        return np.zeros(image.shape, np.int64)
    blobs = blob_signal(image, um, 0.8 * diameter)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) * um
    # shape and brightness both tell touching nuclei apart
    landscape = cv2.GaussianBlur(depth, (0, 0), max(0.08 * diameter / um, 0.5)) / diameter
    landscape += blobs / max(_BLOB_OF_THRESHOLD * threshold, 1e-6)  # one scale for the section, not one per block
    reach = max(round(0.3 * diameter / um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    peaks = mask & (landscape >= cv2.dilate(landscape, kernel)) & (blobs > 0)
    _, seeds = cv2.connectedComponents(peaks.astype(np.uint8), connectivity=8)
    labels = watershed(-landscape, seeds, mask=mask)
    smallest = np.pi / 4 * (0.4 * diameter / um) ** 2
    sizes = np.bincount(labels.ravel())
    labels[(sizes < smallest)[labels]] = 0
    return np.asarray(labels, np.int64)


@dataclass
class CellBlock:
    """Cells of one block: columns of equal length, positions in pixels of the block; `labels` are their numbers in the segmentation."""

    y: DoubleArray
    x: DoubleArray
    area_px: FloatArray
    nucleus: FloatArray
    ring: FloatArray
    labels: IntArray


def measure_cells(labels: IntArray, channels: FloatArray, um: float, ring_um: float, owned: BoolArray, step: int = 1) -> CellBlock:
    """Return centroid, area and median intensities in nucleus and ring of each label whose centroid falls on `owned`.

    Parameters
    ----------
    labels : (h, w) int, 0 for background
    channels : (c, h, w) float32, corrected intensity
    owned : (h * step, w * step) bool or larger, pixels whose cells are counted here (the block without its halo, inside tissue)
    step : pixels of `owned` per pixel of `labels`

    Returns
    -------
    CellBlock with ``nucleus`` and ``ring`` of shape (c, n_cells). A nucleus without free surroundings has its own median as ring.
    """
    n = int(labels.max(initial=0)) + 1
    area, cy, cx = centroids(labels, n)
    keep = area > 0
    keep[0] = False
    keep &= owned[containing_pixel(cy, step), containing_pixel(cx, step)]
    chosen = np.flatnonzero(keep)
    nucleus_level = _medians(labels, channels, chosen, n)
    ring_level = _medians(rings(labels, max(ring_um / um, 1.0)), channels, chosen, n)
    ring_level = np.where(np.isnan(ring_level), nucleus_level, ring_level)
    return CellBlock(cy[chosen], cx[chosen], area[chosen].astype(np.float32), nucleus_level, ring_level, chosen)


def _medians(labels: IntArray, channels: FloatArray, chosen: IntArray, n: int) -> FloatArray:
    """Return the upper median of every channel over the pixels of each chosen label, (c, n) float32; NaN for a label without pixels.

    It reaches a threshold exactly where at least half of the pixels do, so that a bright neighbour at the edge of a ring does not count.
    """
    start, pixels = group_by_label(labels, n)
    out = np.empty((len(channels), len(chosen)), np.float32)
    for c, channel in enumerate(channels):
        out[c] = medians(channel.ravel(), start, pixels, chosen)
    return out


def containing_pixel(place: AnyArray, step: int = 1) -> IntArray:
    """Return the full-resolution pixel of a centroid on a grid of `step` pixels. Halves go up: with rounding to even, the owner would
    depend on where a block starts."""
    return np.asarray(np.floor((np.asarray(place, np.float64) + 0.5) * step), np.int64)


def cell_step(um: float, diameter_um: float) -> int:
    """Return the side in pixels of the means in which cells are seen: the largest that leaves a nucleus 8 of them across, at least 1.

    A finer scan shows no more nuclei; the same grid at every magnification makes them comparable.
    """
    return max(1, int(diameter_um / um / 8))
