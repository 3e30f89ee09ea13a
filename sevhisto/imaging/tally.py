"""The tally in plain NumPy: what the compiled kernels of the pass must give, pixel for pixel, and the bins they share."""

from __future__ import annotations

import numpy as np

from sevhisto.types import (
    FIBRE_COLUMNS,
    INTENSITY_EDGES_Q,
    JOINT_EDGES,
    N_DISTANCE,
    N_INTENSITY,
    N_JOINT_DISTANCE,
    NO_DISTANCE,
    QUANTUM,
    DoubleArray,
    FloatArray,
    IntArray,
)

LOWEST_QUANTUM, HIGHEST_QUANTUM = int(INTENSITY_EDGES_Q[0]), int(INTENSITY_EDGES_Q[-1])
# one look-up per pixel instead of a search among the edges
BIN_OF_QUANTUM = np.searchsorted(INTENSITY_EDGES_Q, np.arange(LOWEST_QUANTUM - 1, HIGHEST_QUANTUM + 1), side="right").astype(np.int16)
N_COARSE = len(JOINT_EDGES) + 1
COARSE_OF_FINE: IntArray = np.concatenate([[0], np.searchsorted(JOINT_EDGES, INTENSITY_EDGES_Q * QUANTUM, side="right")]).astype(np.int64)
"""Coarse bin of each fine intensity bin; every coarse edge is a fine edge, so the mapping is exact."""
JOINT_OF_DISTANCE: IntArray = np.minimum((np.arange(N_DISTANCE) + 4) // 5, N_JOINT_DISTANCE - 2)
JOINT_OF_DISTANCE[NO_DISTANCE] = N_JOINT_DISTANCE - 1
GRADIENT_QUANTUM = 1 / 64


def quantise(intensity: FloatArray) -> IntArray:
    """Return intensity in whole quanta of 1/16 grey level, int64; overflow of the sums is impossible below 2**40 pixels."""
    return np.asarray(np.rint(np.clip(intensity, -(2.0**20), 2.0**20) / np.float32(QUANTUM)), np.int64)


def intensity_bin(quanta: IntArray) -> IntArray:
    """Return the fine intensity bin of each value in quanta; same as ``searchsorted(INTENSITY_EDGES_Q, quanta, side="right")``."""
    return np.asarray(BIN_OF_QUANTUM[np.clip(quanta, LOWEST_QUANTUM - 1, HIGHEST_QUANTUM) - (LOWEST_QUANTUM - 1)], np.int64)


def tally(place: IntArray, bins: IntArray, quanta: IntArray) -> tuple[IntArray, IntArray]:
    """Return counts and sums, each (2, N_DISTANCE, N_INTENSITY) int64.

    Parameters
    ----------
    place : (n,) int64, side * N_DISTANCE + distance bin of each examined pixel
    bins, quanta : (n,) int64, its intensity bin and value
    """
    index = place * N_INTENSITY + bins
    size = 2 * N_DISTANCE * N_INTENSITY
    counts = np.bincount(index, minlength=size)
    sums = np.bincount(index, weights=quanta.astype(np.float64), minlength=size)  # whole numbers below 2**53: exact
    shape = (2, N_DISTANCE, N_INTENSITY)
    return counts.reshape(shape).astype(np.int64), sums.astype(np.int64).reshape(shape)


def joint_tally(place: IntArray, bins_a: IntArray, bins_b: IntArray) -> IntArray:
    """Return counts of pixels by side, 50 um of distance and coarse intensity of two markers: (2, N_JOINT_DISTANCE, 64, 64) int64."""
    side, distance = np.divmod(place, N_DISTANCE)
    index = (side * N_JOINT_DISTANCE + JOINT_OF_DISTANCE[distance]) * N_COARSE + COARSE_OF_FINE[bins_a]
    index = index * N_COARSE + COARSE_OF_FINE[bins_b]
    shape = (2, N_JOINT_DISTANCE, N_COARSE, N_COARSE)
    return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape).astype(np.int64)


def scrambled_tally(place: IntArray, bins_a: IntArray, bins_b: IntArray, partner: IntArray) -> IntArray:
    """Return what `joint_tally` gives of pixels (n,) that are paired with the second marker of other pixels.

    Pairs on two sides, at two distances (50 um), or with a pixel that is not examined are left out.

    Parameters
    ----------
    place : side * N_DISTANCE + distance bin; below zero where a pixel is not examined
    partner : number of the other pixel, -1 for none
    """
    found = (place >= 0) & (partner >= 0) & (place[partner] >= 0)
    mine, other = place[found], place[partner[found]]
    (side, far), (there, away) = np.divmod(mine, N_DISTANCE), np.divmod(other, N_DISTANCE)
    alike = (side == there) & (JOINT_OF_DISTANCE[far] == JOINT_OF_DISTANCE[away])
    return joint_tally(mine[alike], bins_a[found][alike], bins_b[partner[found]][alike])


def count_places(place: IntArray) -> IntArray:
    """Return the number of pixels by side and distance bin, (2, N_DISTANCE) int64."""
    return np.bincount(place, minlength=2 * N_DISTANCE).reshape(2, N_DISTANCE).astype(np.int64)


def gradients(smooth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the derivatives of a smoothed image (h, w) along y and x by Sobel's masks, grey levels per pixel; mirrored at the edges."""
    s = np.pad(smooth, 1, mode="reflect").astype(np.float32)
    nw, n, ne, w, e, sw, south, se = s[:-2, :-2], s[:-2, 1:-1], s[:-2, 2:], s[1:-1, :-2], s[1:-1, 2:], s[2:, :-2], s[2:, 1:-1], s[2:, 2:]
    two, eighth = np.float32(2), np.float32(1 / 8)
    return ((sw - nw) + two * (south - n) + (se - ne)) * eighth, ((ne - nw) + two * (e - w) + (se - sw)) * eighth


def fibre_sums(place: IntArray, bins: IntArray, own_bins: IntArray, fy: FloatArray, fx: FloatArray, turn: FloatArray) -> IntArray:
    """Return what tells direction, width and length of fibres, by side, distance and coarse intensity: (2, N_DISTANCE, 64, 7) int64.

    Columns are those of FIBRE_COLUMNS: structure-tensor sums fx2, fy2, fx fy; in the frame of the lesion border fn2 and fn ft, with the
    normal n turned to the tangent t as x is to y; and by the intensity of the smoothed image itself its pixels and the sum of
    the gradient's length. Products are summed as whole multiples of 1/64.

    Parameters
    ----------
    place, bins : (n,) int64, as for `tally`
    own_bins : (n,) int64, intensity bin of the smoothed image whose gradients these are
    fy, fx : (n,) float32, grey levels per pixel
    turn : (2, n) float32, cosine and sine of twice the angle from x to the normal of the border; 0 where there is none
    """
    size = 2 * N_DISTANCE * N_COARSE
    xx, yy, xy = ((a * b).astype(np.float64) for a, b in ((fx, fx), (fy, fy), (fx, fy)))
    cos2, sin2 = turn.astype(np.float64)
    nn = 0.5 * ((xx + yy) + ((xx - yy) * cos2 + 2 * xy * sin2))
    nt = xy * cos2 - 0.5 * (xx - yy) * sin2
    out = np.empty((size, len(FIBRE_COLUMNS)), np.int64)
    for k, product in enumerate((xx, yy, xy, nn, nt, None, np.sqrt(xx + yy))):
        index = place * N_COARSE + COARSE_OF_FINE[bins if k < 5 else own_bins]
        whole: DoubleArray | None = None if product is None else np.rint(product / GRADIENT_QUANTUM)
        out[:, k] = np.bincount(index, weights=whole, minlength=size).astype(np.int64)
    return out.reshape(2, N_DISTANCE, N_COARSE, len(FIBRE_COLUMNS))
