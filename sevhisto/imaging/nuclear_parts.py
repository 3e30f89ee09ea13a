"""Compiled kernels that part a mask into nuclei: basins of a landscape, and which of them belong together."""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray

MOST_TYPICAL = 6.0  # nothing of more typical areas is one nucleus
_MISFIT, _SIZE, _LENGTH, _DIP = 3.0, 0.05, 0.1, 0.5  # what a shape loses; the result hardly depends on them (benchmarks/RESULTS.md)
_LONG = 2.0  # axes ratio up to which an ellipse is as good as a disc
_FEWEST_PX = 6


@compiled
def basins(landscape: FloatArray, mask: BoolArray) -> tuple[AnyArray, int]:
    """Return labels (h, w) int32 of the pixels of `mask` from which steepest ascent leads to the same summit, and their number plus one.

    Of equal neighbours the first in reading order is the higher, so every summit is one pixel and blocks agree with the whole.
    """
    h, w = landscape.shape
    up = np.full(h * w, -1, np.int32)
    for y in range(h):
        for x in range(w):
            if mask[y, x]:
                best, to = landscape[y, x], y * w + x
                for v in range(max(y - 1, 0), min(y + 2, h)):
                    for u in range(max(x - 1, 0), min(x + 2, w)):
                        if mask[v, u] and (landscape[v, u] > best or (landscape[v, u] == best and v * w + u < to)):
                            best, to = landscape[v, u], v * w + u
                up[y * w + x] = to
    labels = np.zeros(h * w, np.int32)
    n = 1
    for i in range(h * w):
        if up[i] == i:
            labels[i] = n
            n += 1
    for i in range(h * w):
        if up[i] >= 0 and labels[i] == 0:
            top = i
            while labels[top] == 0:
                top = up[top]
            at = i
            while labels[at] == 0:
                labels[at] = labels[top]
                at = up[at]
    return labels.reshape(h, w), n


@compiled
def highest(values: FloatArray, labels: AnyArray, n: int) -> FloatArray:
    """Return the largest value in each label, (n,) float32."""
    out = np.zeros(n, np.float32)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            k = labels[y, x]
            if k > 0 and values[y, x] > out[k]:
                out[k] = values[y, x]
    return out


@compiled
def _moments(labels: AnyArray, n: int) -> DoubleArray:
    """Return of each label: pixels, sums of y, x, y^2, x^2 and xy; (2 n, 6), with room for the unions."""
    out = np.zeros((2 * n, 6))
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            k = labels[y, x]
            if k > 0:
                out[k, 0] += 1
                out[k, 1] += y
                out[k, 2] += x
                out[k, 3] += y * y
                out[k, 4] += x * x
                out[k, 5] += x * y
    return out


@compiled
def borders(labels: AnyArray, landscape: FloatArray) -> tuple[AnyArray, AnyArray, FloatArray]:
    """Return every pair of neighbouring pixels with different labels: the two labels, and the lower of the two heights; highest first."""
    h, w = labels.shape
    n = 0
    for y in range(h):
        for x in range(w):
            k = labels[y, x]
            if k > 0:
                n += int(x + 1 < w and labels[y, x + 1] > 0 and labels[y, x + 1] != k)
                n += int(y + 1 < h and labels[y + 1, x] > 0 and labels[y + 1, x] != k)
    a, b, height = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.float32)
    n = 0
    for y in range(h):
        for x in range(w):
            k = labels[y, x]
            if k > 0:
                for v, u in ((y, x + 1), (y + 1, x)):
                    if v < h and u < w and labels[v, u] > 0 and labels[v, u] != k:
                        a[n], b[n], height[n] = k, labels[v, u], min(landscape[y, x], landscape[v, u])
                        n += 1
    order = np.argsort(-height, kind="mergesort")
    return a[order], b[order], height[order]


@compiled
def likeness(moments: DoubleArray, typical_px: float) -> float:
    """Return how much a shape is like one nucleus: 1 for an ellipse of typical area, less for other shapes and sizes.

    The area of an ellipse is 4 pi sqrt(det(covariance)); two touching discs have 0.89 of that, half a disc 0.95.
    """
    area = moments[0]
    if area < _FEWEST_PX:
        return 0.0
    y, x = moments[1] / area, moments[2] / area
    yy, xx, xy = moments[3] / area - y * y + 1 / 12, moments[4] / area - x * x + 1 / 12, moments[5] / area - x * y
    det = max(yy * xx - xy * xy, 1e-9)
    half = (yy + xx) / 2
    root = np.sqrt(max(half * half - det, 0.0))
    ratio = np.sqrt((half + root) / max(half - root, 1e-9))
    misfit = 1 - area / (4 * np.pi * np.sqrt(det))
    size = np.log(area / typical_px)
    return float(1 - _MISFIT * misfit - _SIZE * size * size - _LENGTH * max(ratio - _LONG, 0.0))


@compiled
def merged(labels: AnyArray, n: int, landscape: FloatArray, peaks: FloatArray, typical_px: float) -> AnyArray:
    """Return the nucleus of each basin, (n,) int32: basins are joined over the highest pass first, and of all ways to cut this tree the one
    is taken whose parts are, weighted by area, most like a nucleus. A pass far below the lower summit speaks against joining.

    A union depends on what lies inside it only, and is at most `MOST_TYPICAL` typical areas large.
    """
    a, b, height = borders(labels, landscape)
    moments = _moments(labels, n)
    peak, parent = np.zeros(2 * n, np.float32), np.full(2 * n, -1, np.int32)
    best, whole = np.zeros(2 * n), np.zeros(2 * n, np.bool_)
    peak[:n] = peaks
    for i in range(1, n):
        best[i], whole[i] = moments[i, 0] * max(likeness(moments[i], typical_px), 0.0), True
    new = n
    for e in range(len(a)):
        i, j = int(a[e]), int(b[e])
        while parent[i] >= 0:
            i = int(parent[i])
        while parent[j] >= 0:
            j = int(parent[j])
        if i == j:
            continue
        parent[i], parent[j] = new, new
        moments[new] = moments[i] + moments[j]
        lower, peak[new] = min(peak[i], peak[j]), max(peak[i], peak[j])
        best[new] = best[i] + best[j]
        if moments[new, 0] <= MOST_TYPICAL * typical_px:
            dip = 1 - height[e] / max(lower, np.float32(1e-9))
            together = moments[new, 0] * (likeness(moments[new], typical_px) - _DIP * dip)
            if together >= best[new]:
                best[new], whole[new] = together, True
        new += 1
    nucleus, k = np.zeros(2 * n, np.int32), 0
    for i in range(new - 1, 0, -1):  # from the top: the first union that is taken holds all below it
        if parent[i] >= 0 and nucleus[parent[i]] > 0:
            nucleus[i] = nucleus[parent[i]]
        elif whole[i]:
            k += 1
            nucleus[i] = k
    return nucleus[:n]


@compiled
def joined(labels: AnyArray, n: int, landscape: FloatArray, peaks: FloatArray, dip: float, smallest_px: float) -> AnyArray:
    """Return the cell of each basin, (n,) int32, whatever its shape.

    Over the highest pass first, basins are joined if the pass lies less than `dip` of the lower summit below it, or if one of them is
    smaller than `smallest_px`.
    """
    a, b, height = borders(labels, landscape)
    peak, area, parent = peaks.copy(), _moments(labels, n)[:n, 0], np.arange(n)
    for e in range(len(a)):
        i, j = int(a[e]), int(b[e])
        while parent[i] != i:
            i = int(parent[i])
        while parent[j] != j:
            j = int(parent[j])
        if i != j and (1 - height[e] / max(min(peak[i], peak[j]), np.float32(1e-9)) < dip or min(area[i], area[j]) < smallest_px):
            parent[j] = i
            peak[i] = max(peak[i], peak[j])
            area[i] += area[j]
    out = np.zeros(n, np.int32)
    for i in range(1, n):
        j = i
        while parent[j] != j:
            j = int(parent[j])
        out[i] = j
    return out
