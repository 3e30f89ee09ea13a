"""Connected parts of a mask, and how long, wide and round they are."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import BoolArray

Box = tuple[slice, slice]


def large(mask: BoolArray, pixels: float) -> BoolArray:
    """Return the parts of a mask with at least so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return np.asarray(keep[labels], bool)


def parts(mask: BoolArray) -> list[tuple[Box, BoolArray]]:
    """Return the box of each connected part, one pixel wider where there is room, and the part inside it."""
    labels, n = ndimage.label(mask, np.ones((3, 3), int))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels, n), 1):
        wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        found.append(((wide[0], wide[1]), np.asarray(labels[wide] == number, bool)))
    return found


def half_width(part: BoolArray) -> float:
    """Return the radius of the largest disc inside a part, in pixels."""
    return float(cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5).max())


def elongation(part: BoolArray) -> float:
    """Return length over width of a strip, from its area and the widest disc inside: 0.8 for a disc, 1 for a square."""
    return float(part.sum()) / (2 * half_width(part)) ** 2


def roundness(part: BoolArray) -> float:
    """Return the area of a part over that of the disc about its centre that holds it: 1 for a disc, 0.64 for a square."""
    y, x = np.nonzero(part)
    reach = np.hypot(y - y.mean(), x - x.mean()).max() + 0.5
    return float(len(y) / (np.pi * reach**2))
