"""Whole cells of any shape, such as ramified microglia, outlined in the image of a marker that fills them."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.imaging.nuclear_parts import basins, highest, joined
from sevhisto.imaging.nuclei import contrast_threshold, local_contrast
from sevhisto.types import FloatArray, IntArray

BODY_UM = 4.0  # diameter of the smallest body; processes are thinner
_DIP = 0.3  # how far the brightness falls, of the dimmer body's, between two cells
_PART, _CELL = 0.3, 0.15  # of the typical cell's area: what is smaller is no cell beside another; what is smaller is none at all


def body_diameter(samples: list[FloatArray], um: float) -> float:
    """Return the diameter in um of a circle as large as the typical cell with its processes; NaN where nothing stands out.

    It is the connected piece that the median pixel is in, above Otsu's threshold on square roots over all samples.

    Parameters
    ----------
    samples : images (h, w) of one section, intensity in any unit
    um : micrometres per pixel
    """
    quiet = [cv2.GaussianBlur(np.asarray(s, np.float32), (0, 0), max(BODY_UM / 4 / um, 0.5)) for s in samples if s.size]
    if not quiet:
        return float("nan")
    values = np.concatenate([q.ravel() for q in quiet])
    floor = np.float32(np.percentile(values, 5))
    roots = np.sqrt(np.maximum(values - floor, 0))
    if float(np.ptp(roots)) == 0:
        return float("nan")
    level = np.float32(threshold_otsu(roots) ** 2) + floor
    facts = [cv2.connectedComponentsWithStats((q > level).astype(np.uint8), connectivity=4)[2] for q in quiet]
    areas = np.concatenate([f[1:, cv2.CC_STAT_AREA] for f in facts])
    return float(np.sqrt(4 / np.pi * np.median(np.repeat(areas, areas)))) * um


def segment_bodies(image: FloatArray, um: float, diameter_um: float, threshold: float) -> IntArray:
    """Label cells: contrast above `threshold` falls to the bodies, bright at the scale of BODY_UM, from which it descends.

    Arguments as in segmenters.Segmenter; fragments are told by the area of a typical cell.
    """
    contrast = local_contrast(image, um, diameter_um)
    mask = contrast > threshold
    if not mask.any():
        return np.zeros(image.shape, np.int64)
    typical = np.pi / 4 * (diameter_um / um) ** 2
    bodies = np.asarray(cv2.GaussianBlur(np.sqrt(np.maximum(contrast, 0)), (0, 0), max(BODY_UM / 2 / um, 0.5)), np.float32)
    parts, n = basins(bodies, mask)
    labels = joined(parts, n, bodies, highest(bodies, parts, n), _DIP, _PART * typical)[parts]
    sizes = np.bincount(labels.ravel())
    labels[(sizes < _CELL * typical)[labels]] = 0
    return np.asarray(labels, np.int64)


def find_cells(image: FloatArray, um: float) -> IntArray:
    """Return labels (h, w) of the cells in one image of a whole field, 0 for background."""
    image = np.asarray(image, np.float32)
    diameter = body_diameter([image], um)
    if np.isnan(diameter):
        return np.zeros(image.shape, np.int64)
    return segment_bodies(image, um, diameter, contrast_threshold([local_contrast(image, um, diameter)]))
