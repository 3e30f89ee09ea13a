"""Whole cells of any shape, such as ramified microglia, outlined in the image of a marker that fills them."""

from __future__ import annotations

import cv2
import numpy as np

from sevhisto.imaging.nuclear_parts import basins, highest, joined
from sevhisto.imaging.nuclei import contrast_noise, contrast_threshold, local_contrast
from sevhisto.types import FloatArray, IntArray

BODY_UM = 4.0  # diameter of the smallest body; processes are thinner
_USUAL_UM = 40.0  # a ramified cell with its processes, which tells how far around its surroundings are sought
_DIP = 0.3  # how far the brightness falls, of the dimmer body's, between two cells
_PART, _CELL = 0.3, 0.15  # of the typical cell's area: what is smaller is no cell beside another; what is smaller is none at all


def body_diameter(samples: list[FloatArray], um: float) -> float:
    """Return the diameter in um of a circle as large as the typical cell with its processes; NaN where nothing stands out.

    Typical is the cell that the median pixel is in, where cells are parted by brightness alone.

    Parameters
    ----------
    samples : images (h, w) of one section, intensity in any unit
    um : micrometres per pixel
    """
    contrast = [local_contrast(np.asarray(s, np.float32), um, _USUAL_UM) for s in samples if s.size]
    threshold = contrast_threshold(contrast)
    areas = [np.bincount(_parted(c, um, threshold, np.pi / 4 * (BODY_UM / um) ** 2).ravel())[1:] for c in contrast]
    sizes = np.concatenate([np.zeros(0, np.int64), *areas])
    return float(np.sqrt(4 / np.pi * np.median(np.repeat(sizes, sizes)))) * um if sizes.any() else float("nan")


def _parted(contrast: FloatArray, um: float, threshold: float, smallest_px: float) -> IntArray:
    """Label the cells of contrast above a threshold (h, w): pixels fall to the bodies, bright at the scale of BODY_UM, from which they
    descend; what is smaller than `smallest_px` is part of the cell that it touches."""
    mask = contrast > threshold
    if not mask.any():
        return np.zeros(contrast.shape, np.int64)
    bodies = np.asarray(cv2.GaussianBlur(np.sqrt(np.maximum(contrast, 0)), (0, 0), max(BODY_UM / 2 / um, 0.5)), np.float32)
    parts, n = basins(bodies, mask)
    return np.asarray(joined(parts, n, bodies, highest(bodies, parts, n), _DIP, smallest_px)[parts], np.int64)


def segment_bodies(image: FloatArray, um: float, diameter_um: float, threshold: float) -> IntArray:
    """Label cells of contrast above `threshold`; fragments are told by the area of a typical cell. Arguments: segmenters.Segmenter."""
    typical = np.pi / 4 * (diameter_um / um) ** 2
    labels = _parted(local_contrast(image, um, diameter_um), um, threshold, _PART * typical)
    sizes = np.bincount(labels.ravel())
    labels[(sizes < _CELL * typical)[labels]] = 0
    return labels


def body_noise(image: FloatArray, um: float, diameter_um: float) -> tuple[float, float]:
    """Return the noise of contrast as nuclei.contrast_noise: processes differ finely everywhere, so its first estimate counts twice."""
    noise = contrast_noise(image, um, diameter_um)[0]
    return noise, noise


def find_cells(image: FloatArray, um: float) -> IntArray:
    """Return labels (h, w) of the cells in one image of a whole field, 0 for background."""
    image = np.asarray(image, np.float32)
    diameter = body_diameter([image], um)
    if np.isnan(diameter):
        return np.zeros(image.shape, np.int64)
    threshold = contrast_threshold([local_contrast(image, um, diameter)], body_noise(image, um, diameter))
    return segment_bodies(image, um, diameter, threshold)
