"""How precise a Cavalieri volume is: the coefficient of error that one systematic series of sections tells of itself."""

from __future__ import annotations

import math

import numpy as np

from sevhisto.types import DoubleArray

ALPHA = (1 / 12, 1 / 240)
"""Factor of the variance for areas that change along the cord with steps (m = 0), or smoothly (m = 1)."""
FEWEST = 3
UNEVEN = 0.1
"""Largest difference between distances of sections that still count as equal, of their mean."""


def coefficient_of_error(area: DoubleArray, smoothness: int) -> float:
    """Return the standard error of a Cavalieri volume over the volume; NaN below 3 sections, without any area, or where undefined.

    ``sqrt(alpha (3 A - 4 B + C)) / sum(P)`` with A, B, C the sums of products of areas 0, 1 and 2 sections apart. Areas are segmented by
    pixel, so that no error of counted points enters.

    Parameters
    ----------
    area : (n,) areas of equally spaced sections in order, through the whole of the object
    smoothness : 0 or 1, the class m of the area as a function of place

    Notes
    -----
    After Gundersen, Jensen, Kieu and Nielsen, The efficiency of systematic sampling in stereology - reconsidered, J Microsc 193:199, 1999.
    """
    total = float(area.sum())
    if len(area) < FEWEST or not total > 0:
        return math.nan
    a, b, c = (float(area[k:] @ area[: len(area) - k]) for k in range(3))
    variance = ALPHA[smoothness] * (3 * a - 4 * b + c)
    return math.sqrt(variance) / total if variance >= 0 else math.nan


def equally_spaced(position_um: DoubleArray) -> bool:
    """Return whether sections lie at equal distances, none off by more than a tenth; False where a place is unknown."""
    steps = np.diff(np.sort(position_um))
    return bool(np.isfinite(steps).all() and (steps > 0).all() and np.ptp(steps) <= UNEVEN * steps.mean())
