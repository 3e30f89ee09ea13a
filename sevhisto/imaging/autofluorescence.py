"""How much of what is positive is autofluorescence: what its subtraction moves, tallied by intensity before and after."""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.imaging.tally import BIN_OF_QUANTUM, HIGHEST_QUANTUM, JOINT_OF_DISTANCE, LOWEST_QUANTUM, intensity_bin, quantise
from sevhisto.types import N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE, QUANTUM, AnyArray, FloatArray, IntArray

ROW_STEP = 4
"""Every fourth row of the section is looked at, and counts for four."""
_PER_GREY = int(1 / QUANTUM)


@compiled
def moved_into(
    after: FloatArray, bins: AnyArray, blank: FloatArray, share: np.float32, place: AnyArray, first: int, bin_of: AnyArray, counts: IntArray
) -> None:
    """Add a block to counts (2, N_JOINT_DISTANCE, N_INTENSITY); see `moved`.

    `bin_of` : tally.BIN_OF_QUANTUM. `first` : the first row of the block that is looked at.
    """
    limit = np.float32(2.0**20)
    low, high = np.int64(LOWEST_QUANTUM - 1), np.int64(HIGHEST_QUANTUM)
    for y in range(first, place.shape[0], ROW_STEP):
        for x in range(place.shape[1]):
            here = place[y, x]
            if here < 0:
                continue
            before = min(max(after[y, x] + share * blank[y, x], -limit), limit)
            quantum = np.int64(np.rint(before * np.float32(_PER_GREY)))
            at = bin_of[(low if quantum < low else high if quantum > high else quantum) - low]
            if at != bins[y, x]:
                side = 1 if here >= N_DISTANCE else 0
                far = JOINT_OF_DISTANCE[here - side * N_DISTANCE]
                counts[side, far, at] += ROW_STEP
                counts[side, far, bins[y, x]] -= ROW_STEP


def audit_block(counts: IntArray, after: FloatArray, bins: AnyArray, blank: FloatArray, share: float, place: AnyArray, top: int) -> None:
    """Add a block whose first row is row `top` of the section to counts (2, N_JOINT_DISTANCE, N_INTENSITY); see `moved`."""
    moved_into(after, bins, blank, np.float32(share), place, -top % ROW_STEP, BIN_OF_QUANTUM, counts)


def moved(after: FloatArray, blank: FloatArray, share: float, place: AnyArray, first: int = 0) -> IntArray:
    """Return what subtracting autofluorescence moved, (2, N_JOINT_DISTANCE, N_INTENSITY) int64, by side, 50 um of distance and intensity.

    Pixels by their intensity before, minus pixels by their intensity after: summed over the bins from a threshold on, what was positive
    and no longer is (less what became positive where the blank channel is darker than its median).

    Parameters
    ----------
    after : (h, w) float32, the marker, corrected and smoothed as for the tally
    blank : (h, w) float32, the autofluorescence channel, likewise
    share : of it in the marker
    place : (h, w), side * N_DISTANCE + distance bin where examined, below zero elsewhere
    first : the first row that is looked at, then every fourth
    """
    rows = slice(first, None, ROW_STEP)
    here = place[rows] >= 0
    side, distance = np.divmod(place[rows][here].astype(np.int64), N_DISTANCE)
    row = (side * N_JOINT_DISTANCE + JOINT_OF_DISTANCE[distance]) * N_INTENSITY
    before = after[rows] + np.float32(share) * blank[rows]
    size = 2 * N_JOINT_DISTANCE * N_INTENSITY
    counts = [np.bincount(row + intensity_bin(quantise(v[here])), minlength=size) for v in (before, after[rows])]
    return np.asarray((counts[0] - counts[1]) * ROW_STEP, np.int64).reshape(2, N_JOINT_DISTANCE, N_INTENSITY)
