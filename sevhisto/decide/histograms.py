"""What a histogram of corrected intensity tells, as if intensity were spread evenly inside each bin; no pixel is needed."""

from __future__ import annotations

import numpy as np

from sevhisto.types import INTENSITY_EDGES, N_INTENSITY, DoubleArray, IntArray

_MIDDLE = np.concatenate([INTENSITY_EDGES[:1], (INTENSITY_EDGES[:-1] + INTENSITY_EDGES[1:]) / 2, INTENSITY_EDGES[-1:]])


def histogram_quantile(counts: IntArray, share: float) -> float:
    """Return the intensity (grey levels) below which `share` of the pixels lie.

    `counts` : (N_INTENSITY,) pixels by intensity bin. Underflow counts as the lowest edge, overflow as the highest.
    """
    below = np.cumsum(counts)[:-1].astype(np.float64)  # pixels below each edge
    target = share * float(counts.sum())
    i = int(np.searchsorted(below, target, side="left"))
    if i == 0:
        return float(INTENSITY_EDGES[0])
    if i == len(below):
        return float(INTENSITY_EDGES[-1])
    part = (target - below[i - 1]) / (below[i] - below[i - 1])
    return float(INTENSITY_EDGES[i - 1] + part * (INTENSITY_EDGES[i] - INTENSITY_EDGES[i - 1]))


def histogram_median_mad(counts: IntArray) -> tuple[float, float]:
    """Return the median and the median absolute deviation from it (grey levels, unscaled) of a histogram, (N_INTENSITY,)."""
    median = histogram_quantile(counts, 0.5)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    total = float(counts.sum())
    reach = np.concatenate([[0.0], np.unique(np.abs(INTENSITY_EDGES - median))])
    upper = np.interp(median + reach, INTENSITY_EDGES, below, right=total)
    lower = np.interp(median - reach, INTENSITY_EDGES, below, left=0.0)
    inside: DoubleArray = np.maximum.accumulate(upper - lower)  # piecewise linear in reach
    i = int(np.searchsorted(inside, total / 2, side="left"))
    if i == 0 or i == len(inside):
        return median, float(reach[min(i, len(reach) - 1)])
    part = (total / 2 - inside[i - 1]) / (inside[i] - inside[i - 1])
    return median, float(reach[i - 1] + part * (reach[i] - reach[i - 1]))


def histogram_otsu(counts: IntArray | DoubleArray) -> float:
    """Return the bin edge that parts a histogram (N_INTENSITY,) best in two [Otsu 1979]; NaN where all lies in one bin or none."""
    pixels = counts.astype(np.float64)
    below, above = np.cumsum(pixels)[:-1], pixels.sum() - np.cumsum(pixels)[:-1]
    first = np.cumsum(pixels * _MIDDLE)[:-1]
    both = (below > 0) & (above > 0)
    if not both.any():
        return float("nan")
    mean_below = first[both] / below[both]
    mean_above = ((pixels @ _MIDDLE) - first[both]) / above[both]
    between = below[both] * above[both] * (mean_above - mean_below) ** 2
    best = np.flatnonzero(between == between.max())  # several where nothing lies between the two: the middle one
    return float(INTENSITY_EDGES[both][best[len(best) // 2]])


def threshold_bin(value: float) -> int:
    """Return the first intensity bin at or above a threshold that is a bin edge; one past the last for NaN."""
    if np.isnan(value):
        return N_INTENSITY
    edge = int(np.searchsorted(INTENSITY_EDGES, value))
    if edge == len(INTENSITY_EDGES) or INTENSITY_EDGES[edge] != value:
        raise ValueError(f"{value} is no edge of the intensity bins; use types.snap_threshold")
    return edge + 1
