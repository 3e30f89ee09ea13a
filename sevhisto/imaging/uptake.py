"""Spots of a tracer in cells: how many lie in each cell's nucleus and ring, by contrast; which of them count is decided later."""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.imaging.kernels import rings
from sevhisto.imaging.tally import BIN_OF_QUANTUM, COARSE_OF_FINE, HIGHEST_QUANTUM, LOWEST_QUANTUM, N_COARSE
from sevhisto.types import QUANTUM, AnyArray, FloatArray, IntArray

Contrast = tuple[FloatArray, tuple[int, int]]
"""Contrast of a tracer's spots in a part of what was read of a block, and where that part starts."""
_PER_GREY = int(1 / QUANTUM)


def reach_px(diameter_um: float, ring_um: float, um: float) -> int:
    """Return how far from its centre a cell with its ring can reach, in pixels: two typical diameters, and the ring."""
    return int(np.ceil((2 * diameter_um + ring_um) / um))


def footprints(labels: IntArray, chosen: IntArray, ring_px: float) -> tuple[IntArray, IntArray]:
    """Return whose nucleus or ring each pixel is, and the pixels of each.

    Parameters
    ----------
    labels : (h, w) int, 0 for background
    chosen : (n,) the labels of the cells
    ring_px : width of the ring; a pixel is of the nearest nucleus

    Returns
    -------
    owner : (h, w) int64, number of the cell from 1; 0 elsewhere
    area_px : (n,) int64
    """
    number = np.zeros(max(int(labels.max(initial=0)), int(chosen.max(initial=0))) + 1, np.int64)
    number[chosen] = np.arange(1, len(chosen) + 1)
    owner = number[np.where(labels > 0, labels, rings(labels, ring_px))]
    return owner, np.bincount(owner.ravel(), minlength=len(chosen) + 1)[1:]


@compiled
def spots_in_cells(
    contrast: FloatArray,
    corner: tuple[int, int],
    box: tuple[int, int, int, int],
    owner: IntArray,
    step: int,
    bin_of: AnyArray,
    coarse_of: IntArray,
    counts: IntArray,
) -> None:
    """Add the spots of a block to counts (n_cells, 64) by cell and coarse contrast; a spot is what puncta.spots says.

    Parameters
    ----------
    contrast : (h, w) float32, of a part of the frame that starts at `corner`
    box : y0, y1, x0, x1 of the frame, where spots are looked for
    owner : of each `step` x `step` pixels of the frame, the cell from 1; 0 for none
    """
    h, w = contrast.shape
    for y in range(box[0], min(box[1], owner.shape[0] * step)):
        m = y - corner[0]
        for x in range(box[2], min(box[3], owner.shape[1] * step)):
            cell = owner[y // step, x // step]
            n = x - corner[1]
            value = contrast[m, n]
            quantum = np.int64(np.rint(value * np.float32(_PER_GREY)))
            if cell == 0 or quantum < 1:
                continue
            highest = True
            for j in range(max(m - 1, 0), min(m + 2, h)):
                for i in range(max(n - 1, 0), min(n + 2, w)):
                    earlier = j < m or (j == m and i < n)
                    if contrast[j, i] > value or (earlier and contrast[j, i] == value):
                        highest = False
            if highest:
                counts[cell - 1, coarse_of[bin_of[min(quantum, np.int64(HIGHEST_QUANTUM)) - np.int64(LOWEST_QUANTUM - 1)]]] += 1


def sparse_spots(contrast: Contrast, near: tuple[slice, slice], owner: IntArray, step: int, n_cells: int) -> IntArray:
    """Return the spots in cells as rows of cell (from 0), coarse contrast bin and number, (n, 3) int64; see `spots_in_cells`.

    `near` : where spots are looked for
    """
    counts = np.zeros((n_cells, N_COARSE), np.int64)
    box = near[0].start, near[0].stop, near[1].start, near[1].stop
    spots_in_cells(*contrast, box, owner, step, BIN_OF_QUANTUM, COARSE_OF_FINE, counts)
    cell, contrast_bin = np.nonzero(counts)
    return np.stack([cell, contrast_bin, counts[cell, contrast_bin]], axis=1).astype(np.int64)
