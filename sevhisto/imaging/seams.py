"""Stitching: steps of brightness, and shifts, along straight lines through a section. And slides that show nothing.

Nothing in tissue runs straight along rows or columns of pixels through a whole section; borders between camera fields do.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.surroundings import common
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray

SEGMENT_UM = 160.0
"""A quarter of a camera field and less: each field has its own step."""
SIDE_PX = 3
MIN_SEGMENTS = 3
SPREADS = 8.0
"""Of the lines; what is less is the tissue's own unevenness, and the step is 0."""
NEIGHBOURS = 21
BARE_CORRELATION = 0.1



def seam_step(light: FloatArray, solid: BoolArray, um: float) -> float:
    """Return the largest step of brightness along a straight line through the section, as a ratio above 1 less 1; NaN where too small.

    Parameters
    ----------
    light : (n_markers, h, w) float32, intensity above the glass
    solid : (h, w) bool, tissue that counts
    um : overview pixel size

    Of each row and column, the section is cut into segments of 160 um. The log ratio between the means of three pixels on both sides, as far as
    all channels share it (`common`), is the segment's step; its mean over the segments is the line's, less what lines beside it show.
    """
    found = []
    for turn in (False, True):
        steps = [_line_steps(c.T if turn else c, solid.T if turn else solid, um) for c in light]
        shared = np.abs(common(np.stack(steps)))  # the stage moves for all channels: a step of one alone is structure
        known = np.isfinite(steps[0]).sum(axis=1)
        lines = np.flatnonzero(known >= max(MIN_SEGMENTS, known.max(initial=0) / 2))  # a seam goes through the section
        if len(lines) >= NEIGHBOURS:
            shown = shared[lines].sum(axis=1) / known[lines]
            beyond = shown - ndimage.median_filter(shown, NEIGHBOURS, mode="nearest")
            stands_out = beyond.max() > SPREADS * 1.4826 * np.median(np.abs(beyond))
            found.append(float(beyond.max()) if stands_out else 0.0)
    return float(np.expm1(max(found))) if found else float("nan")


def _line_steps(light: FloatArray, solid: BoolArray, um: float) -> FloatArray:
    """Return the step across each line between two rows in each segment, (lines, segments), in logs; NaN where unknown."""
    side = max(round(SEGMENT_UM / um), 8)
    n = light.shape[1] // side
    if n < MIN_SEGMENTS or len(light) < NEIGHBOURS:
        return np.full((1, 1), np.nan, np.float32)

    def sums(image: AnyArray) -> DoubleArray:
        rows = np.asarray(image[:, : n * side], np.float64).reshape(len(image), n, side).sum(axis=2)
        total = np.cumsum(np.pad(rows, ((1, 0), (0, 0))), axis=0)
        return np.asarray(total[SIDE_PX:] - total[:-SIDE_PX], np.float64)

    bright, pixels = sums(np.where(solid, light, 0)), sums(solid)
    mean = np.where(pixels > 0.8 * side * SIDE_PX, bright / np.maximum(pixels, 1), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.where(mean > 0, np.log(mean), np.nan)
    gap = SIDE_PX + 1  # the row in which the line lies has both sides
    return np.asarray(level[gap:] - level[:-gap], np.float32)


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
