"""Stitching: steps of brightness, and shifts, along straight lines through a section. And slides that show nothing.

Nothing in tissue runs straight along rows or columns of pixels through a whole section; borders between camera fields do.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray

SEGMENT_UM = 160.0
"""A quarter of a camera field and less: each field has its own step."""
SIDE_PX = 3
MIN_SEGMENTS = 3
NEIGHBOURS = 21
BARE_CORRELATION = 0.1



def seam_step(light: FloatArray, solid: BoolArray, um: float) -> float:
    """Return the largest step of brightness along a straight line through the section, as a ratio above 1 less 1; NaN where too small.

    Parameters
    ----------
    light : (n_markers, h, w) float32, intensity above the glass
    solid : (h, w) bool, tissue that counts
    um : overview pixel size

    Of each row and column, the section is cut into segments of 160 um; the mean over the segments of the absolute log ratio between the
    means of three pixels on both sides is its step, less what rows and columns beside it show.
    """
    found = []
    for turn in (False, True):
        lines = [_line_steps(c.T if turn else c, solid.T if turn else solid, um) for c in light]
        weakest = np.min(lines, axis=0)  # the stage moves for all channels: a line of one alone is structure
        if np.isfinite(weakest).any():
            found.append(float(np.nanmax(weakest)))
    return float(np.expm1(max(found))) if found else float("nan")


def _line_steps(light: FloatArray, solid: BoolArray, um: float) -> DoubleArray:
    """Return the step across each line between two rows, in logs; NaN where unknown."""
    side = max(round(SEGMENT_UM / um), 8)
    n = light.shape[1] // side
    if n < MIN_SEGMENTS or len(light) < NEIGHBOURS:
        return np.full(1, np.nan)

    def sums(image: AnyArray) -> DoubleArray:
        rows = np.asarray(image[:, : n * side], np.float64).reshape(len(image), n, side).sum(axis=2)
        total = np.cumsum(np.pad(rows, ((1, 0), (0, 0))), axis=0)
        return np.asarray(total[SIDE_PX:] - total[:-SIDE_PX], np.float64)

    bright, pixels = sums(np.where(solid, light, 0)), sums(solid)
    mean = np.where(pixels > 0.8 * side * SIDE_PX, bright / np.maximum(pixels, 1), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.where(mean > 0, np.log(mean), np.nan)
    gap = SIDE_PX + 1  # the row in which the line lies has both sides
    step = np.abs(level[gap:] - level[:-gap])
    known = np.isfinite(step).sum(axis=1) >= MIN_SEGMENTS
    line = np.full(len(step), np.nan)
    if known.sum() >= NEIGHBOURS:
        shown = np.nanmean(step[known], axis=1)
        line[known] = shown - ndimage.median_filter(shown, NEIGHBOURS, mode="nearest")
    return line


def shows_nothing(values: FloatArray) -> bool:
    """Return whether an overview (n_markers, h, w) is noise and shading only: glass without tissue.

    What a slide shows extends over neighbouring pixels, noise does not: the correlation of neighbours, without what varies slowly.
    """
    for channel in values:
        fine = channel - cv2.GaussianBlur(channel, (0, 0), 5)
        variance = float(fine.var(dtype=np.float64))
        if variance > 0:
            across = float((fine[:, 1:] * fine[:, :-1]).mean(dtype=np.float64)), float((fine[1:] * fine[:-1]).mean(dtype=np.float64))
            if min(across) > BARE_CORRELATION * variance:
                return False
    return True
