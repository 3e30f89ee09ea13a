"""Focus: how much fine detail a section shows, from sums that add up over blocks; the compiled form, and the plain one beside it.

The measure is the energy of the Laplacian over the variance of the intensity: two of the operators that Pertuz, Puig and Garcia compare
(Analysis of focus measure operators for shape-from-focus, Pattern Recognition 46, 1415-1432, 2013: LAP1 and STA3), the second as scale of
the first. Neither brightness nor an offset changes it. It depends on what was stained and on the pixel size, and noise raises it (noise
alone gives 20): compare sections of one marker and scanner only.
"""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import QUANTUM, AnyArray, FloatArray, IntArray

ROW_STEP = 4
"""Every fourth row of the section is looked at: enough for one number, at a quarter of the time."""
_PER_GREY = float(1 / QUANTUM)


@compiled
def focus_sums(image: FloatArray, margin_y: int, margin_x: int, place: AnyArray, first: int) -> IntArray:
    """Return a block's pixels, and their sums of intensity, its square and the squared Laplacian: (4,) int64; see `plain_focus_sums`.

    Sums are in quanta of 1/16 (grey level, or its square).

    Parameters
    ----------
    image : corrected intensity of the block and what was read around it
    margin_y, margin_x : where the block starts in it
    place : (h, w), below zero where not examined
    first : row of the block to begin with; every fourth from there is looked at
    """
    bottom, right = image.shape[0] - 1, image.shape[1] - 1
    n, total, square, detail = 0, np.int64(0), np.int64(0), np.int64(0)
    for y in range(first, place.shape[0], ROW_STEP):
        m = y + margin_y
        if m == 0 or m == bottom:
            continue
        for x in range(place.shape[1]):
            k = x + margin_x
            if place[y, x] < 0 or k == 0 or k == right:
                continue
            value = np.float64(image[m, k])
            sides = np.float64(image[m - 1, k]) + np.float64(image[m + 1, k]) + np.float64(image[m, k - 1]) + np.float64(image[m, k + 1])
            bend = sides - 4 * value
            n += 1
            total += np.int64(np.rint(value * _PER_GREY))
            square += np.int64(np.rint(value * value * _PER_GREY))
            detail += np.int64(np.rint(bend * bend * _PER_GREY))
    return np.array([n, total, square, detail], np.int64)


def plain_focus_sums(image: FloatArray, place: AnyArray, first: int) -> IntArray:
    """Return the same of a whole image: pixels without four neighbours are left out."""
    v = image.astype(np.float64)
    bend = v[:-2, 1:-1] + v[2:, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] - 4 * v[1:-1, 1:-1]
    on = place[1:-1, 1:-1] >= 0
    on &= (np.arange(1, len(v) - 1) % ROW_STEP == first % ROW_STEP)[:, None]
    value, bend = v[1:-1, 1:-1][on], bend[on]
    sums = [np.rint(part * _PER_GREY).astype(np.int64).sum() for part in (value, value * value, bend * bend)]
    return np.array([on.sum(), *sums], np.int64)


def focus(sums: AnyArray) -> float | None:
    """Return the focus of a marker from its sums, rounded to six digits; None where nothing varies, or nothing was examined."""
    n, total, square, detail = (int(v) for v in sums)
    spread = n * square * int(_PER_GREY) - total * total  # whole numbers of any size: exact
    return round(detail * n * int(_PER_GREY) / spread, 6) if spread > 0 else None
