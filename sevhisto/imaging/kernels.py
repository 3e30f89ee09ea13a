"""The compiled kernels of the pass. Each does what the plain NumPy function named in it does, and adds to what it is given."""

from __future__ import annotations

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.imaging.tally import (
    COARSE_OF_FINE,
    GRADIENT_QUANTUM,
    HIGHEST_QUANTUM,
    JOINT_OF_DISTANCE,
    LOWEST_QUANTUM,
)
from sevhisto.types import DISTANCE_EDGES_UM, DISTANCE_STEP_UM, N_DISTANCE, NO_DISTANCE, QUANTUM, AnyArray, FloatArray, IntArray

TISSUE, CAVITY, MASKED, SECOND = 1, 2, 4, 8
"""Bits of the class map of a layout."""
MIXED = 255
OUTSIDE, IN_CAVITY, IN_MASKED = -1, -2, -3
"""Places of pixels that are not examined are below zero: -1 outside, else -2 or -3 minus twice the place."""
_FIRST_BIN = 1 - int(DISTANCE_EDGES_UM[0]) // DISTANCE_STEP_UM
_LAST_BIN = len(DISTANCE_EDGES_UM)
_PER_GREY = int(1 / QUANTUM)
_PER_PRODUCT = float(1 / GRADIENT_QUANTUM)


@compiled
def correct(raw: AnyArray, row: int, shares: AnyArray, offset: np.float32) -> FloatArray:
    """Return one marker's corrected intensity (h, w) from `raw` (c, h, w); see background.apply_correction."""
    n, h, w = raw.shape
    out = np.empty((h, w), np.float32)
    for y in range(h):  # all of a row before the next: it is still in the fast memory
        for x in range(w):
            out[y, x] = np.float32(raw[row, y, x]) - offset
        for c in range(n):
            share = np.float32(shares[c])
            if c != row and share != 0:
                for x in range(w):
                    out[y, x] += share * np.float32(raw[c, y, x])
    return out


@compiled
def _lerp(a: np.float32, b: np.float32, weight: np.float32) -> np.float32:
    return np.float32(a + (b - a) * weight)


@compiled
def _bit(codes: AnyArray, bit: int, y0: int, y1: int, x0: int, x1: int, down: np.float32, across: np.float32) -> bool:
    one, zero = np.float32(1), np.float32(0)
    top = _lerp(one if codes[y0, x0] & bit else zero, one if codes[y0, x1] & bit else zero, across)
    low = _lerp(one if codes[y1, x0] & bit else zero, one if codes[y1, x1] & bit else zero, across)
    return bool(_lerp(top, low, down) >= 0.5)


@compiled
def places(
    codes: AnyArray,
    distance: FloatArray,
    has_core: bool,
    top: IntArray,
    bottom: IntArray,
    down: FloatArray,
    left: IntArray,
    right: IntArray,
    across: FloatArray,
) -> AnyArray:
    """Return where each pixel of a block counts, (h, w) int16: side * N_DISTANCE + distance bin where it is examined tissue.

    Elsewhere OUTSIDE, or IN_CAVITY or IN_MASKED minus twice its place. As geometry.upsample of every map, and geometry.distance_bin.

    Parameters
    ----------
    codes : (h, w) uint8, overview pixels as sums of TISSUE, CAVITY, MASKED and SECOND
    distance : (h, w) float32, overview; not read without a core
    top, bottom, down, left, right, across : neighbours and weights of each row and column, as geometry gives them
    """
    h, w = len(top), len(left)
    out = np.empty((h, w), np.int16)
    common = np.empty(w, np.uint8)  # what the four neighbours are, or MIXED: the same for all rows between two overview rows
    upper, lower = np.empty(w, np.float32), np.empty(w, np.float32)
    last = -1
    for y in range(h):
        y0, y1, dy = top[y], bottom[y], down[y]
        if y0 != last:
            last = y0
            for x in range(w):
                x0, x1 = left[x], right[x]
                code = codes[y0, x0]
                alike = codes[y0, x1] == code and codes[y1, x0] == code and codes[y1, x1] == code
                common[x] = code if alike else MIXED
                if has_core:
                    upper[x] = _lerp(distance[y0, x0], distance[y0, x1], across[x])
                    lower[x] = _lerp(distance[y1, x0], distance[y1, x1], across[x])
        for x in range(w):
            place = NO_DISTANCE
            if has_core:
                place = int(np.floor(np.float64(_lerp(upper[x], lower[x], dy)) / DISTANCE_STEP_UM)) + _FIRST_BIN
                place = min(max(place, 0), _LAST_BIN)
            code = common[x]
            if code == MIXED:
                code = 0
                for bit in (TISSUE, CAVITY, MASKED, SECOND):
                    if _bit(codes, bit, y0, y1, left[x], right[x], dy, across[x]):
                        code += bit
            if code & SECOND:
                place += N_DISTANCE
            if not code & TISSUE:
                place = OUTSIDE
            elif code & MASKED:
                place = IN_MASKED - 2 * place
            elif code & CAVITY:
                place = IN_CAVITY - 2 * place
            out[y, x] = place
    return out


@compiled
def count_unexamined(place: AnyArray, cavity: IntArray, masked: IntArray) -> int:
    """Add the pixels of cavity and excluded area to (2 * N_DISTANCE,) counts; return the number of examined pixels."""
    examined = 0
    for y in range(place.shape[0]):
        for x in range(place.shape[1]):
            here = place[y, x]
            if here >= 0:
                examined += 1
            elif here < OUTSIDE:
                behind = IN_CAVITY - here
                if behind % 2 == 0:
                    cavity[behind // 2] += 1
                else:
                    masked[behind // 2] += 1
    return examined


@compiled
def tally_into(values: FloatArray, place: AnyArray, bin_of: AnyArray, totals: IntArray, bins: AnyArray) -> None:
    """Add a block to counts and sums (2 * N_DISTANCE, N_INTENSITY, 2), and write each examined pixel's bin; see tally.tally.

    `bin_of` : tally.BIN_OF_QUANTUM.
    """
    limit = np.float32(2.0**20)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            here = place[y, x]
            if here < 0:
                continue
            value = min(max(values[y, x], -limit), limit)
            quantum = np.int64(np.rint(value * np.float32(_PER_GREY)))
            low, high = np.int64(LOWEST_QUANTUM - 1), np.int64(HIGHEST_QUANTUM)
            at = bin_of[(low if quantum < low else high if quantum > high else quantum) - low]
            totals[here, at, 0] += 1
            totals[here, at, 1] += quantum
            bins[y, x] = at


@compiled
def joint_into(place: AnyArray, bins_a: AnyArray, bins_b: AnyArray, counts: IntArray) -> None:
    """Add a block to the joint tally (2, N_JOINT_DISTANCE, 64, 64); see tally.joint_tally."""
    for y in range(place.shape[0]):
        for x in range(place.shape[1]):
            here = place[y, x]
            if here >= 0:
                side = 1 if here >= N_DISTANCE else 0
                far = JOINT_OF_DISTANCE[here - side * N_DISTANCE]
                counts[side, far, COARSE_OF_FINE[bins_a[y, x]], COARSE_OF_FINE[bins_b[y, x]]] += 1


@compiled
def _coarse_bin(value: np.float32, bin_of: AnyArray) -> int:
    limit = np.float32(2.0**20)
    quantum = np.int64(np.rint(min(max(value, -limit), limit) * np.float32(_PER_GREY)))
    low, high = np.int64(LOWEST_QUANTUM - 1), np.int64(HIGHEST_QUANTUM)
    return int(COARSE_OF_FINE[bin_of[(low if quantum < low else high if quantum > high else quantum) - low]])


@compiled
def fibres_into(
    smooth: FloatArray,
    margin_y: int,
    margin_x: int,
    place: AnyArray,
    bins: AnyArray,
    bin_of: AnyArray,
    turn: FloatArray,
    across: AnyArray,
    down: AnyArray,
    sums: IntArray,
) -> None:
    """Add a block to the sums of fibres (2 * N_DISTANCE, 64, 7); see tally.gradients and tally.fibre_sums.

    Parameters
    ----------
    smooth : holds one pixel and more around the block, but where the image ends: there it is mirrored. The block starts at
        (margin_y, margin_x) of it
    bin_of : tally.BIN_OF_QUANTUM
    turn : (2, h, w) float32, see geometry.border_turn; empty without a core
    across, down : overview column and row of each column and row of the block
    """
    h, w = smooth.shape
    bordered = turn.size > 0
    cos2, sin2 = 0.0, 0.0
    eighth = np.float32(1 / 8)
    for y in range(place.shape[0]):
        m = y + margin_y
        a = m - 1 if m > 0 else min(1, h - 1)
        b = m + 1 if m < h - 1 else max(h - 2, 0)
        for x in range(place.shape[1]):
            here = place[y, x]
            if here < 0:
                continue
            n = x + margin_x
            c = n - 1 if n > 0 else min(1, w - 1)
            d = n + 1 if n < w - 1 else max(w - 2, 0)
            nw, ne, sw, se = smooth[a, c], smooth[a, d], smooth[b, c], smooth[b, d]
            fy = ((sw - nw) + np.float32(2) * (smooth[b, n] - smooth[a, n]) + (se - ne)) * eighth
            fx = ((ne - nw) + np.float32(2) * (smooth[m, d] - smooth[m, c]) + (se - sw)) * eighth
            at = COARSE_OF_FINE[bins[y, x]]
            xx, yy, xy = np.float64(fx * fx), np.float64(fy * fy), np.float64(fx * fy)
            sums[here, at, 0] += np.int64(np.rint(xx * _PER_PRODUCT))
            sums[here, at, 1] += np.int64(np.rint(yy * _PER_PRODUCT))
            sums[here, at, 2] += np.int64(np.rint(xy * _PER_PRODUCT))
            if bordered:
                cos2, sin2 = np.float64(turn[0, down[y], across[x]]), np.float64(turn[1, down[y], across[x]])
            sums[here, at, 3] += np.int64(np.rint(0.5 * ((xx + yy) + ((xx - yy) * cos2 + 2 * xy * sin2)) * _PER_PRODUCT))
            sums[here, at, 4] += np.int64(np.rint((xy * cos2 - 0.5 * (xx - yy) * sin2) * _PER_PRODUCT))
            own = _coarse_bin(smooth[m, n], bin_of)
            sums[here, own, 5] += 1
            sums[here, own, 6] += np.int64(np.rint(np.sqrt(xx + yy) * _PER_PRODUCT))


@compiled
def saturated(plane: AnyArray, place: AnyArray, top: np.float32, bottom: np.float32) -> int:
    """Return the number of examined pixels of raw (h, w) at or beyond the ends of the range."""
    n = 0
    for y in range(place.shape[0]):
        for x in range(place.shape[1]):
            value = np.float32(plane[y, x])
            n += (place[y, x] >= 0) & ((value >= top) | (value <= bottom))
    return n


@compiled
def reduced(plane: FloatArray, step: int) -> FloatArray:
    """Return means of whole `step` x `step` blocks of (h, w); what does not fill a block at the far edges is left out."""
    h, w = plane.shape[0] // step, plane.shape[1] // step
    out = np.empty((h, w), np.float32)
    share = np.float32(1 / (step * step))
    line = np.empty(w * step, np.float32)
    for y in range(h):
        line[:] = plane[y * step, : w * step]
        for i in range(1, step):
            for x in range(w * step):
                line[x] += plane[y * step + i, x]
        if step == 2:  # the usual one; a loop of unknown length cannot be done for several pixels at once
            for x in range(w):
                out[y, x] = (line[2 * x] + line[2 * x + 1]) * share
            continue
        for x in range(w):
            total = line[x * step]
            for j in range(1, step):
                total += line[x * step + j]
            out[y, x] = total * share
    return out


@compiled
def centroids(labels: IntArray, n: int) -> tuple[IntArray, AnyArray, AnyArray]:
    """Return the pixels of each label 0..n-1, and their mean row and column (0 for a label without pixels)."""
    area = np.zeros(n, np.int64)
    cy, cx = np.zeros(n, np.float64), np.zeros(n, np.float64)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            k = labels[y, x]
            if k > 0:
                area[k] += 1
                cy[k] += y
                cx[k] += x
    for k in range(n):
        if area[k] > 0:
            cy[k] /= area[k]
            cx[k] /= area[k]
    return area, cy, cx


@compiled
def rings(labels: IntArray, reach: float) -> IntArray:
    """Return, on background within `reach` pixels of a label, the nearest label (h, w); 0 elsewhere.

    Of pixels that are as near, the upper one counts, then the left one.
    """
    h, w = labels.shape
    wide = int(reach)
    nearest = np.full((h, w), np.int32(2**30), np.int32)
    out = np.zeros((h, w), np.int64)
    for y in range(h):
        for x in range(w):
            k = labels[y, x]
            if k == 0:
                continue
            if (
                (y == 0 or labels[y - 1, x] == k)
                and (y == h - 1 or labels[y + 1, x] == k)
                and (x == 0 or labels[y, x - 1] == k)
                and (x == w - 1 or labels[y, x + 1] == k)
            ):
                continue  # inside: some pixel of the rim is nearer to whatever lies around
            for v in range(max(y - wide, 0), min(y + wide, h - 1) + 1):
                for u in range(max(x - wide, 0), min(x + wide, w - 1) + 1):
                    d = (v - y) * (v - y) + (u - x) * (u - x)
                    if labels[v, u] == 0 and d <= reach * reach and d < nearest[v, u]:
                        nearest[v, u] = d
                        out[v, u] = k
    return out


@compiled
def group_by_label(labels: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return where the pixels of each label 0..n-1 start in the second array (n + 1), and the pixels grouped by label, in order."""
    flat = labels.ravel()
    start = np.zeros(n + 1, np.int64)
    for i in range(len(flat)):
        if flat[i] > 0:
            start[flat[i] + 1] += 1
    for k in range(1, n + 1):
        start[k] += start[k - 1]
    place = start.copy()
    pixels = np.empty(start[n], np.int64)
    for i in range(len(flat)):
        if flat[i] > 0:
            pixels[place[flat[i]]] = i
            place[flat[i]] += 1
    return start, pixels


@compiled
def levels(channel: FloatArray, start: IntArray, pixels: IntArray, chosen: IntArray, tenths: IntArray) -> FloatArray:
    """Return what values `channel` (flat) has over the pixels of each chosen label, (len(tenths), n); NaN for a label without pixels.

    Of `t` tenths it is the highest value that at least `10 - t` tenths of the pixels reach: 5 gives the upper median.
    """
    out = np.full((len(tenths), len(chosen)), np.nan, np.float32)
    longest = 0
    for k in chosen:
        longest = max(longest, start[k + 1] - start[k])
    values = np.empty(longest, np.float32)
    for k in range(len(chosen)):
        first, last = start[chosen[k]], start[chosen[k] + 1]
        if last > first:
            for i in range(first, last):
                values[i - first] = channel[pixels[i]]
            for i in range(len(tenths)):
                out[i, k] = _select(values, last - first, (last - first) * tenths[i] // 10)
    return out


@compiled
def _select(values: FloatArray, n: int, k: int) -> np.float32:
    """Return the k-th smallest of the first n values, which are put in another order: Hoare's Find, CACM 4:321, 1961."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[k]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < k:
            low = i
        if k < i:
            high = j
    return np.float32(values[k])
