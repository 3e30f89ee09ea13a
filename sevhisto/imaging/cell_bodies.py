"""Whole cells of any shape, such as ramified microglia, outlined in the image of a marker that fills them."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.imaging.nuclear_parts import basins, highest, joined
from sevhisto.types import FloatArray, IntArray

BODY_UM = 4.0  # diameter of the smallest body; processes are thinner
_DIP = 0.3  # how far the brightness falls, of the dimmer body's, between two cells
_PART, _CELL = 0.3, 0.15  # of the typical cell's area: what is smaller is no cell beside another; what is smaller is none at all


def find_cells(image: FloatArray, um: float) -> IntArray:
    """Return labels (h, w) of the cells in one image, 0 for background.

    Pixels above Otsu's threshold on square roots (dim cells beside bright ones are cells too) fall to the bodies, bright at the scale of
    BODY_UM, from which they descend. The typical cell, by which fragments are told, is the connected piece that the median pixel is in.

    Parameters
    ----------
    image : (h, w), intensity in any unit, of a whole field: what is typical is taken from it
    um : micrometres per pixel
    """
    quiet = cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), max(BODY_UM / 4 / um, 0.5))
    root = np.sqrt(np.maximum(quiet - np.float32(np.percentile(quiet, 5)), 0))
    if float(np.ptp(root)) == 0:
        return np.zeros(image.shape, np.int64)
    mask = root > threshold_otsu(root)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = pieces[1:, cv2.CC_STAT_AREA]
    typical = float(np.median(np.repeat(areas, areas)))
    bodies = np.asarray(cv2.GaussianBlur(root, (0, 0), max(BODY_UM / 2 / um, 0.5)), np.float32)
    parts, n = basins(bodies, mask)
    labels = joined(parts, n, bodies, highest(bodies, parts, n), _DIP, _PART * typical)[parts]
    sizes = np.bincount(labels.ravel())
    labels[(sizes < _CELL * typical)[labels]] = 0
    return np.asarray(labels, np.int64)
