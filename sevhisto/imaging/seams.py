"""Stitching: steps of brightness, and shifts, along straight lines through a section. And slides that show nothing.

Nothing in tissue runs straight along rows or columns of pixels through a whole section; borders between camera fields do.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.surroundings import common
from sevhisto.types import BoolArray, FloatArray

SEGMENT_UM = 96.0
"""A small part of a camera field: each field has its own step."""
SIDE_PX = 4
MIN_SEGMENTS = 6
STANDS_OUT = 1.15
"""Times what single channels usually show there. Less is the unevenness of the tissue, and the step is 0."""
LEAST_STEP, UNKNOWN_STEP = 0.02, 0.05
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

    Of each row and column, the section is cut into segments of 96 um. The log ratio between the light of four pixels on both sides
    is the segment's step; the median over the segments of what all channels share of it is the line's, less what lines beside it show.
    """
    # a step of a weak channel is less than the difference between two grey levels
    told = [c for c in light if solid.any() and np.median(c[solid]) > MIN_LIGHT]
    found: list[float] = []
    if len(told) < MIN_CHANNELS:
        return float("nan")
    for turn in (False, True):
        steps = [_line_steps(c.T if turn else c, solid.T if turn else solid, um) for c in told]
        found.extend(_clear_steps(np.stack(steps)))
    return float(np.expm1(max(found))) if found else float("nan")


def _clear_steps(steps: FloatArray) -> list[float]:
    """Return the largest step of a line that all channels share and that is no unevenness of the tissue, of (n_markers, lines, segments).

    A step must be as large as what a channel usually shows in that segment, in the median of the segments.
    """
    known = np.isfinite(steps[0])
    n = known.sum(axis=1)
    lines = np.flatnonzero(n >= max(MIN_SEGMENTS, n.max(initial=0) / 2))  # a seam goes through the section
    if len(lines) < NEIGHBOURS:
        return []
    # the stage moves for all channels: a step of one alone is structure
    shared = np.where(known, np.abs(common(steps, apart=0)), np.nan)[lines]
    each = np.median(np.abs(np.nan_to_num(steps[:, lines])), axis=0)
    usual = ndimage.median_filter(np.where(known[lines], each, UNKNOWN_STEP), (2 * NEIGHBOURS - 1, 1), mode="nearest")
    stands_out = np.nanmedian(shared / np.maximum(usual, LEAST_STEP), axis=1) > STANDS_OUT
    step = np.nanmedian(shared, axis=1)
    step = step - ndimage.median_filter(step, NEIGHBOURS, mode="nearest")
    return [float(step[stands_out].max(initial=0))]


def _line_steps(light: FloatArray, solid: BoolArray, um: float) -> FloatArray:
    """Return the step across each line between two rows in each segment, (lines, segments), in logs; NaN where unknown.

    Of a row of a segment the median counts: cells of a stain do not move it.
    """
    side = max(round(SEGMENT_UM / um), 8)
    n = light.shape[1] // side
    if n < MIN_SEGMENTS or len(light) < NEIGHBOURS:
        return np.full((1, 1), np.nan, np.float32)
    shape = len(light), n, side
    inside = solid[:, : n * side].reshape(shape).all(axis=2)
    rows = np.median(np.where(solid, light, 0)[:, : n * side].reshape(shape), axis=2)
    rows = np.where(inside, rows, np.nan)
    mean = sum(rows[k : len(rows) - SIDE_PX + k + 1] for k in range(SIDE_PX)) / SIDE_PX
    level = np.log(np.where(mean > 0, mean, np.nan))
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
