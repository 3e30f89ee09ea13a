"""Shifts of the stage: lines of pixels across which an image does not go on.

Neighbouring lines show nearly the same, save where one was laid beside its place, or lines between them are lost. Fine structure tells: the
correlation of each line with the next, over all channels. The overview is too coarse to be sure, and names a few lines only; windows at
full resolution along them decide.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray, PixelSource

FINE_UM = 12.0
"""Structures larger than a nucleus go on across a shift of a few um."""
BRIGHTEST = 2.5
"""Spreads at which fine structure is cut, so that single cells do not decide."""
NEIGHBOURS = 21
MIN_LINE_PX = 60
N_LINES = 8
"""In each direction: a section has a few seams, and the clearest is enough."""
N_WINDOWS, WINDOW_PX, AROUND_PX = 4, 160, 26
MIN_WINDOWS = 2
"""Of one alone, chance takes too much."""
N_CHANNELS = 3
"""Those whose lines share most; to read all would take as long again."""
LOSS, SPREADS = 0.8, 4.6
"""Nearly all that neighbouring lines share, and more than chance takes from any of the some hundred lines looked at."""
CLEAR = 0.25
"""Correlation that a single line cannot lose by chance."""
INSIDE = 0.6

Line = tuple[int, int, int]
"""Axis (0: between rows, 1: between columns), and the rows or columns of the overview (half-open) in which the line lies."""


def doubtful_lines(light: FloatArray, solid: BoolArray, um: float) -> tuple[list[Line], list[int]]:
    """Return the lines of an overview across which least goes on, and the markers that tell most of it.

    Parameters
    ----------
    light : (n_markers, h, w) float32
    solid : (h, w) bool, tissue that counts
    um : overview pixel size

    A seam may lie within a line of the overview, and then spoils two: losses of neighbours are added.
    """
    fine = np.stack([_fine(c, solid, um) for c in light])
    found: list[Line] = []
    told = np.zeros(len(light))
    for axis in (0, 1):
        turned, inside = (fine, solid) if axis == 0 else (fine.swapaxes(1, 2), solid.T)
        n = (inside[1:] & inside[:-1]).sum(axis=1)
        known = np.flatnonzero(n >= MIN_LINE_PX)
        if len(known) < NEIGHBOURS:
            continue
        shared, power = _shared(turned)
        told += np.median(shared[:, known] / np.maximum(power[:, known], 1e-9), axis=1)
        fall, _, _ = _falls(shared, power, known)
        two = (fall + np.maximum(np.append(fall[1:], 0), 0)) * np.sqrt(n[known])
        for _ in range(N_LINES):
            at = int(np.argmax(two))
            found.append((axis, int(known[at]) - 1, int(known[at]) + 3))
            two[max(at - 2, 0) : at + 3] = -np.inf
    return found, np.sort(np.argsort(-told, kind="stable")[:N_CHANNELS]).tolist()


def shift_at(source: PixelSource, channels: Sequence[int], tissue: BoolArray, factor: int, lines: Sequence[Line]) -> float:
    """Return the largest share of correlation that is lost at a line at full resolution, beyond chance; 0 where none is.

    Parameters
    ----------
    source : the section at full resolution
    tissue : (h, w) bool, at overview resolution, examined
    factor : full-resolution pixels per overview pixel
    lines : from `doubtful_lines`
    """
    worst = 0.0
    for line in lines:
        pixels = _windows(source, channels, tissue, factor, line)
        if len(pixels) < MIN_WINDOWS:
            continue
        shared, power = (np.sum(sums, axis=0) for sums in zip(*(_shared(w) for w in pixels), strict=True))
        rows = np.arange(len(shared[0]))
        fall, level, scatter = _falls(shared, power, rows)
        near = slice(AROUND_PX - 1, len(rows) - AROUND_PX + 1)
        at = near.start + int(np.argmax(fall[near]))
        loss = float(fall[at] / level[at]) if level[at] > 0 else 0.0
        if loss > LOSS and fall[at] > SPREADS * scatter and _by_all(shared / np.maximum(power, 1e-9), at):
            worst = max(worst, loss)
    return worst


def _by_all(correlation: DoubleArray, at: int) -> bool:
    """Return whether every channel with something to lose has lost half of it: structure that ends at a line ends in one stain."""
    usual = np.median(correlation, axis=1)
    return bool((correlation[:, at] < usual / 2)[usual > CLEAR].all())


def _windows(source: PixelSource, channels: Sequence[int], tissue: BoolArray, factor: int, line: Line) -> list[FloatArray]:
    """Return fine structure of windows along a line (turned, so that it lies between rows), (n_channels, rows, columns) each."""
    axis, first, last = line
    inside = tissue if axis == 0 else tissue.T
    height, width = source.shape if axis == 0 else source.shape[::-1]
    y0, y1 = first * factor - AROUND_PX, last * factor + AROUND_PX
    if y0 < 0 or y1 > height:
        return []
    side = max(WINDOW_PX // factor, 1)
    band = inside[y0 // factor : -(-y1 // factor)].mean(axis=0)
    starts = np.flatnonzero([band[x : x + side].mean() > INSIDE for x in range(0, len(band) - side + 1, side)]) * side
    chosen = starts[np.unique(np.linspace(0, max(len(starts) - 1, 0), N_WINDOWS).astype(int))] if len(starts) else starts
    found = []
    for x in chosen * factor:
        x1 = min(int(x) + side * factor, width)
        box = (y0, y1, int(x), x1) if axis == 0 else (int(x), x1, y0, y1)
        pixels = source.read(channels, *box).astype(np.float32)
        turned = pixels if axis == 0 else pixels.swapaxes(1, 2)
        rows = np.minimum(np.arange(y0, y1) // factor, len(inside) - 1)
        solid = inside[rows][:, np.minimum(np.arange(int(x), x1) // factor, inside.shape[1] - 1)]
        found.append(np.stack([_fine(c, solid, source.um_per_px) for c in turned]))
    return found


def _fine(channel: FloatArray, solid: BoolArray, um: float) -> FloatArray:
    """Return the fine structure of a channel in its own spread, 0 outside."""
    weight, sigma = solid.astype(np.float32), FINE_UM / um
    around = cv2.GaussianBlur(channel * weight, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    fine = np.where(solid, channel - around, 0)
    spread = float(np.sqrt((fine**2).sum() / max(int(solid.sum()), 1)))
    return np.asarray(np.clip(fine / max(spread, 1e-6), -BRIGHTEST, BRIGHTEST), np.float32)


def _shared(fine: FloatArray) -> tuple[DoubleArray, DoubleArray]:
    """Return the product of each line with the next and the geometric mean of their squares, each (n_channels, lines - 1)."""
    product = np.einsum("cij,cij->ci", fine[:, 1:], fine[:, :-1]).astype(np.float64)
    square = np.einsum("cij,cij->ci", fine, fine).astype(np.float64)
    return product, np.asarray(np.sqrt(square[:, 1:] * square[:, :-1]))


def _falls(shared: DoubleArray, power: DoubleArray, known: AnyArray) -> tuple[DoubleArray, DoubleArray, float]:
    """Return how far the correlation of each known line falls under that of the 21 around, its level there, and the spread of the falls.

    Channels count by what their lines share: one of noise has nothing to lose.
    """
    correlation = shared[:, known] / np.maximum(power[:, known], 1e-9)
    usual = ndimage.median_filter(correlation, (1, NEIGHBOURS), mode="nearest")
    weight = np.maximum(np.median(correlation, axis=1), 0)[:, None]
    fall = (weight * (usual - correlation)).sum(axis=0)
    return fall, (weight * usual).sum(axis=0), 1.4826 * float(np.median(np.abs(fall)))
