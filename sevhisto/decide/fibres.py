"""Direction, width and length of fibres, from sums."""

from __future__ import annotations

import math

import numpy as np

from sevhisto.types import JOINT_EDGES, DoubleArray, IntArray

GRADIENT_QUANTUM = 1 / 64


def rotated(xx: DoubleArray, yy: DoubleArray, xy: DoubleArray, deg: float) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return a structure tensor in a frame whose first axis lies at `deg` from x towards y."""
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    return xx * c * c + yy * s * s + 2 * xy * c * s, xx * s * s + yy * c * c - 2 * xy * c * s, (yy - xx) * c * s + xy * (c * c - s * s)


def coherency(xx: float, yy: float, xy: float) -> float:
    """Return the coherency of a structure tensor, 0 (no direction) to 1 (all parallel); NaN where it has no energy.

    ``sqrt((yy - xx)^2 + 4 xy^2) / (xx + yy)``, as OrientationJ defines it, of the tensor summed over the whole region.
    """
    return math.hypot(yy - xx, 2 * xy) / (xx + yy) if xx + yy > 0 else math.nan


def fibre_angle(xx: float, yy: float, xy: float) -> float:
    """Return the angle between fibres and the first axis of a summed structure tensor, 0 (along it) to 90 degrees; NaN without direction.

    Fibres lie across the gradient: ``1/2 atan2(2 xy, yy - xx)`` [OrientationJ], without its sign.
    """
    return abs(math.degrees(0.5 * math.atan2(2 * xy, yy - xx))) if math.hypot(yy - xx, 2 * xy) > 0 else math.nan


def level_set(pixels: IntArray, slope: IntArray, threshold: float) -> tuple[DoubleArray, DoubleArray]:
    """Return area and outline of what is at or above a threshold, each (n_zones,) float64, in pixels and pixel lengths.

    By the coarea formula [Federer 1959], the gradient's length summed over all pixels between two intensities is the integral of the
    outline's length over the thresholds between them: in every direction the same, and known for any threshold. Between the middles of
    the coarse bins the outline is interpolated, and inside a bin the area.

    Parameters
    ----------
    pixels, slope : (n_zones, 64) int64, pixels and summed gradient (in 1/64 grey level per pixel) by coarse intensity
    threshold : grey levels, between the outermost coarse edges
    """
    k = int(np.searchsorted(JOINT_EDGES, threshold, side="right"))
    if k in (0, len(JOINT_EDGES)):
        return (np.full(len(pixels), np.nan),) * 2
    above = pixels[:, k + 1 :].sum(axis=1) + pixels[:, k] * (JOINT_EDGES[k] - threshold) / (JOINT_EDGES[k] - JOINT_EDGES[k - 1])
    width = np.diff(JOINT_EDGES)
    middle = JOINT_EDGES[:-1] + width / 2
    length = slope[:, 1:-1] * GRADIENT_QUANTUM / width
    return above, np.array([np.interp(threshold, middle, row) for row in length])
