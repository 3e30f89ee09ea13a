"""Puncta: spots of labelled vesicles as local maxima of a difference of Gaussians; the compiled form, and the plain one beside it.

The filter is written out here so that a pixel's contrast has the same bits whichever block it is computed in: neighbouring blocks then
agree on every spot at their border.
"""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.imaging.tally import HIGHEST_QUANTUM, LOWEST_QUANTUM, intensity_bin, quantise
from sevhisto.types import N_DISTANCE, N_INTENSITY, QUANTUM, AnyArray, BoolArray, FloatArray, IntArray

INNER, OUTER = 0.8, 2.0
"""Sigmas of the two Gaussians, in those of the blob that a spot is."""
_PER_GREY = int(1 / QUANTUM)


def is_resolved(um: float, diameter_um: float) -> bool:
    """Return whether pixels of `um` can tell spots apart: two of them in a diameter, or more."""
    return um <= diameter_um / 2


def reach_um(diameter_um: float) -> float:
    """Return how far from a pixel its contrast looks: four sigmas of the wider Gaussian."""
    return float(4 * OUTER * diameter_um / 2 / np.sqrt(2))


def gaussian_weights(sigma_px: float) -> FloatArray:
    """Return a Gaussian out to four sigmas on either side, float32, of odd length and sum 1."""
    reach = int(np.ceil(4 * sigma_px))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)


def contrast(image: FloatArray, um: float, diameter_um: float) -> FloatArray:
    """Return how much each pixel stands out at the scale of a spot, grey levels, (h, w) float32; mirrored at the edges.

    A difference of Gaussians: a disc answers most where the scale is radius / sqrt(2).
    """
    sigma = diameter_um / 2 / np.sqrt(2) / um
    inner, outer = gaussian_weights(INNER * sigma), gaussian_weights(OUTER * sigma)
    padded = np.pad(image, len(outer) // 2, mode="reflect")
    spare = (len(outer) - len(inner)) // 2
    near = padded[spare : padded.shape[0] - spare, spare : padded.shape[1] - spare]
    return np.asarray(_smoothed(near, inner) - _smoothed(padded, outer), np.float32)


@compiled
def _smoothed(padded: FloatArray, weights: FloatArray) -> FloatArray:
    """Return an image, padded by half the weights on every side, smoothed along both axes; see `smoothed`."""
    n = len(weights)
    h, w = padded.shape[0] - n + 1, padded.shape[1] - n + 1
    out = np.zeros((h, w), np.float32)
    line = np.empty(padded.shape[1], np.float32)
    for y in range(h):
        line[:] = np.float32(0)
        for k in range(n):
            for x in range(len(line)):
                line[x] += weights[k] * padded[y + k, x]
        for k in range(n):
            for x in range(w):
                out[y, x] += weights[k] * line[x + k]
    return out


def smoothed(padded: FloatArray, weights: FloatArray) -> FloatArray:
    """Return an image, padded by half the weights on every side, smoothed along both axes: the plain form of `_smoothed`."""
    n = len(weights)
    h, w = padded.shape[0] - n + 1, padded.shape[1] - n + 1
    lines = np.zeros((h, padded.shape[1]), np.float32)
    for k in range(n):
        lines += weights[k] * padded[k : k + h]
    out = np.zeros((h, w), np.float32)
    for k in range(n):
        out += weights[k] * lines[:, k : k + w]
    return out


@compiled
def spots_into(contrast: FloatArray, margin_y: int, margin_x: int, place: AnyArray, bin_of: AnyArray, counts: IntArray) -> None:
    """Add a block's spots to counts (2 * N_DISTANCE, N_INTENSITY); see `spots` and `spot_tally`.

    `contrast` holds one pixel and more around the block, but where the image ends. The block starts at (margin_y, margin_x) of it.
    `bin_of` : tally.BIN_OF_QUANTUM.
    """
    h, w = contrast.shape
    for y in range(place.shape[0]):
        m = y + margin_y
        for x in range(place.shape[1]):
            n = x + margin_x
            value = contrast[m, n]
            quantum = np.int64(np.rint(value * np.float32(_PER_GREY)))
            if place[y, x] < 0 or quantum < 1:
                continue
            highest = True
            for j in range(max(m - 1, 0), min(m + 2, h)):
                for i in range(max(n - 1, 0), min(n + 2, w)):
                    earlier = j < m or (j == m and i < n)
                    if contrast[j, i] > value or (earlier and contrast[j, i] == value):
                        highest = False
            if highest:
                counts[place[y, x], bin_of[min(quantum, np.int64(HIGHEST_QUANTUM)) - np.int64(LOWEST_QUANTUM - 1)]] += 1


def spots(contrast: FloatArray) -> BoolArray:
    """Return where spots are: pixels above zero that no neighbour (3x3) exceeds, the first of equal ones, in rows from the top.

    Above zero is half a quantum of contrast (1/32 grey level) and more: less than that is the rounding of the filter.
    """
    around = np.pad(contrast, 1, constant_values=-np.inf)
    h, w = contrast.shape
    found: BoolArray = quantise(contrast) > 0
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            beside = around[1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w]
            if (dy, dx) < (0, 0):
                found &= contrast > beside
            else:
                found &= contrast >= beside
    return found


def spot_tally(place: AnyArray, contrast: FloatArray) -> IntArray:
    """Return the number of spots in examined tissue by side, distance and contrast, (2, N_DISTANCE, N_INTENSITY) int64.

    `place` : (h, w), side * N_DISTANCE + distance bin where examined, below zero elsewhere.
    """
    at = spots(contrast) & (place >= 0)
    index = place[at].astype(np.int64) * N_INTENSITY + intensity_bin(quantise(contrast[at]))
    return np.bincount(index, minlength=2 * N_DISTANCE * N_INTENSITY).reshape(2, N_DISTANCE, N_INTENSITY).astype(np.int64)
