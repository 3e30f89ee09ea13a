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
STANDS_OUT = 4.8
"""Times what a tenth of the lines exceeds. Less is the unevenness of the tissue, and the step is 0."""
NEIGHBOURS = 21
BARE_CORRELATION = 0.1
DUST = 4.0
"""Spreads of the noise."""
MIN_LIGHT, MIN_CHANNELS = 12.0, 2


def seam_step(light: FloatArray, solid: BoolArray, um: float) -> float:
    """Return the largest step of brightness along a straight line through the section, as a ratio above 1 less 1; NaN where too small.

    Parameters
    ----------
    light : (n_markers, h, w) float32, intensity above the glass
    solid : (h, w) bool, tissue that counts
    um : overview pixel size

    Of each row and column, the section is cut into segments of 160 um. The log ratio between the means of three pixels on both sides,
    as far as all channels share it (`common`), is the segment's step; its mean over the segments is the line's, less what lines
    beside it show.
    """
    # a step of a weak channel is less than the difference between two grey levels
    told = [c for c in light if solid.any() and np.median(c[solid]) > MIN_LIGHT]
    found: list[float] = []
    if len(told) < MIN_CHANNELS:
        return float("nan")
    for turn in (False, True):
        steps = [_line_steps(c.T if turn else c, solid.T if turn else solid, um) for c in told]
        shared = np.abs(common(np.stack(steps), apart=0))  # the stage moves for all channels: a step of one alone is structure
        known = np.isfinite(steps[0]).sum(axis=1)
        lines = np.flatnonzero(known >= max(MIN_SEGMENTS, known.max(initial=0) / 2))  # a seam goes through the section
        if len(lines) >= NEIGHBOURS:
            mean = shared[lines].sum(axis=1) / known[lines]
            beyond = mean - ndimage.median_filter(mean, NEIGHBOURS, mode="nearest")
            chance = STANDS_OUT * float(np.percentile(np.abs(beyond), 90))
            found.append(float(beyond.max()) if beyond.max() > chance else 0.0)
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

    What a slide shows extends over neighbouring pixels, noise does not: the correlation of neighbours, without what varies slowly, and
    without the height of what stands out, so that a few specks of dust do not make a section.
    """
    for channel in values:
        fine = channel - cv2.GaussianBlur(channel, (0, 0), 5)
        limit = DUST * 1.4826 * float(np.median(np.abs(fine)))
        fine = np.clip(fine, -limit, limit) if limit > 0 else fine
        variance = float(fine.var(dtype=np.float64))
        if variance > 0:
            across = float((fine[:, 1:] * fine[:, :-1]).mean(dtype=np.float64)), float((fine[1:] * fine[:-1]).mean(dtype=np.float64))
            if min(across) > BARE_CORRELATION * variance:
                return False
    return True
