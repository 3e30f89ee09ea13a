"""Gaps in a section: fields without data, and tears."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.blobs import elongation, half_width, large, parts
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.imaging.surroundings import SOFTEN_UM
from sevhisto.types import BoolArray, FloatArray

MIN_FAULT_UM2 = 1500.0
"""About the area of thirty nuclei: smaller things are structure."""
FILLED_BOX = 0.95
FLAT = 1e-5
"""Means of one value differ from it by rounding."""
SLIT, CRACK = 2.0, 4.0


def missing_data(raw: FloatArray, outline: BoolArray, um: float) -> BoolArray:
    """Return fields that were not written, in or beside the outline: patches of one value in a channel, with straight sides, (h, w) bool.

    No camera gives one value over a patch, whatever it looks at. The dark of a processed 8-bit image does, and what saturates; but they
    have the shape of what is there, not of a field. A channel that is empty all over the section is no missing field.
    """
    found = np.zeros_like(outline)
    cell = np.ones((3, 3), np.uint8)
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    for channel in raw:
        flat = cv2.dilate(channel, cell) - cv2.erode(channel, cell) <= FLAT * np.abs(channel)
        for box, part in parts(large(cv2.dilate(flat.astype(np.uint8), cell) > 0, MIN_FAULT_UM2 / um**2)):
            y, x = (np.flatnonzero(part.any(axis=k)) for k in (1, 0))
            whole = (y[-1] - y[0] + 1) * (x[-1] - x[0] + 1)
            over_all = whole >= (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
            if part.sum() > FILLED_BOX * whole and not over_all and (dilated(part, 1) & outline[box]).any():
                found[box] |= part
    return found


def tears(cavity: BoolArray, outline: BoolArray, um: float) -> tuple[BoolArray, bool]:
    """Return the slits among the cavities, (h, w) bool, and whether a round one opens to the outside.

    A tear that opens to it is at least twice as long as wide, a crack inside at least four times: cysts are round or oval. A round hole at
    the border may be a cyst or lost tissue; no picture tells which.
    """
    torn = np.zeros_like(cavity)
    opened = False
    near = dilated(~outline, max(round(SOFTEN_UM / um), 1))
    near[[0, -1]] |= outline[[0, -1]]
    near[:, [0, -1]] |= outline[:, [0, -1]]
    for box, part in parts(cavity):
        outside = bool((dilated(part, 1) & near[box]).any())
        if elongation(part) >= SLIT and (outside or _is_crack(part)):
            torn[box] |= part
        else:
            opened |= outside
    return torn, opened


def _is_crack(part: BoolArray) -> bool:
    """Return whether a hole is at least `CRACK` times as long as wide, by its area and by the rectangle around it: not ragged, not bent."""
    points = np.argwhere(part).astype(np.float32)
    sides = sorted(cv2.minAreaRect(points)[1])
    return elongation(part) >= CRACK and sides[1] + 1 >= 0.7 * CRACK * (sides[0] + 1)


def notches(outline: BoolArray, um: float) -> BoolArray:
    """Return gaps that reach from the outside between two sides of the tissue, (h, w) bool.

    They are what a closing with a disc of 100 um fills, at least 150 um deep and twice as deep as wide: the ventral fissure of a rodent
    cord, a natural notch, is shallower where it is open.
    """
    radius = max(round(100 / um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(outline, radius + 1).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius + 1 : -radius - 1, radius + 1 : -radius - 1] > 0
    gap = closed & ~outline
    depth = np.asarray(ndimage.distance_transform_edt(filled(closed)), np.float32) * um
    out = np.zeros_like(outline)
    for box, part in parts(dilated(eroded(gap, 1), 1) & gap):
        wide = 2 * half_width(part) * um
        deep = float(depth[box][part].max())
        if deep >= 150 and deep >= 2 * wide:
            out[box] |= part
    return out
