"""Outlines of cells as polygons of few corners, written as text: a study has millions of them."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray, CellOutlines, DoubleArray

LEAVES_OUT = 0.25
"""How far a corner that is left out may lie from the side that replaces it, in pixels of the grid on which cells were found."""
MOST_SCALED = 0.1
"""A polygon gets the cell's area where that of its pixels differs by no more: else the cell has holes, or parts that are not outlined."""
CORNERS = 8
"""Of the polygon that stands for a cell without an outline."""
_BYTES = 32  # a corner as text at most: two numbers under 10**8 with two decimals, and what stands around them


def polygon_texts(outlines: CellOutlines, rows: slice, corner: tuple[float, float], centres: DoubleArray, areas: DoubleArray) -> pa.Array:
    """Return the polygon of each cell as JSON, ``[x,y],[x,y],...``, its first point again at the end, in full-resolution pixels.

    Polygons pass through the middles of the edges of the cell's pixels, without corners that hardly matter, and are scaled about the
    cell's centre so that their area is the cell's.

    Parameters
    ----------
    rows : which cells
    corner : y, x of the section on the slide
    centres, areas : (n, 2) y, x on the slide and (n,) of these cells, in full-resolution pixels
    """
    first = int(np.sum(outlines.length[: rows.start], dtype=np.int64))
    length = outlines.length[rows].astype(np.int64)
    turns = outlines.turns[first : first + int(length.sum())]
    start = outlines.start[rows] + np.asarray(corner, np.float64)
    room = int(np.sum(np.maximum(length, CORNERS) + 1)) * _BYTES
    text, ends = np.empty(room, np.uint8), np.zeros(len(length) + 1, np.int32)
    size = _write(start, length, turns, float(outlines.step), centres, areas, text, ends)
    return pa.StringArray.from_buffers(len(length), pa.py_buffer(ends), pa.py_buffer(text[:size].copy()))


@compiled
def corners_of(start: DoubleArray, turns: AnyArray, step: float, points: DoubleArray) -> tuple[int, float]:
    """Write the middles of an outline's edges, (n, 2) y, x, into `points` without those on straight stretches.

    Returns how many, and the area inside the edges.
    """
    n = len(turns)
    y, x, d, k, area = start[0], start[1], 0, 0, 0.0
    before = turns[n - 1]
    for i in range(n):
        dy, dx = (d == 1) - (d == 3), (d == 0) - (d == 2)
        if turns[i] or before:
            points[k, 0], points[k, 1] = y + step * dy / 2, x + step * dx / 2
            k += 1
        area += (start[0] - y) * step * dx
        y, x = y + step * dy, x + step * dx
        d = (d + (3 if turns[i] == 1 else 1 if turns[i] == 2 else 0)) % 4
        before = turns[i]
    return k, abs(area)


@compiled
def simplified(points: DoubleArray, n: int, most: float, kept: AnyArray) -> None:
    """Mark in `kept` which of the first `n` points of a ring are needed so that none lies farther than `most` from the new ring.

    Ramer 1972, Douglas and Peucker 1973, on both halves of the ring between its first point and the one that is farthest from it.
    """
    kept[:n] = False
    far, best = 0, -1.0
    for i in range(n):
        away = (points[i, 0] - points[0, 0]) ** 2 + (points[i, 1] - points[0, 1]) ** 2
        if away > best:
            far, best = i, away
    kept[0] = kept[far] = True
    stack = [(0, far), (far, n)]
    while stack:
        a, b = stack.pop()
        ay, ax, by, bx = points[a, 0], points[a, 1], points[b % n, 0], points[b % n, 1]
        long = math.hypot(by - ay, bx - ax)
        at, away = -1, most
        for i in range(a + 1, b):
            dy, dx = points[i, 0] - ay, points[i, 1] - ax
            off = abs(dy * (bx - ax) - dx * (by - ay)) / long if long > 0 else math.hypot(dy, dx)
            if off > away:
                at, away = i, off
        if at >= 0:
            kept[at] = True
            stack.append((a, at))
            stack.append((at, b))


@compiled
def _ring_area(points: DoubleArray, n: int) -> float:
    area = 0.0
    for i in range(n):
        j = (i + 1) % n
        area += (points[j, 0] - points[0, 0]) * (points[i, 1] - points[0, 1]) - (points[i, 0] - points[0, 0]) * (
            points[j, 1] - points[0, 1]
        )
    return abs(area) / 2


@compiled
def _number(text: AnyArray, at: int, value: float) -> int:
    """Write a number with two decimals; return where the next byte goes."""
    hundredths = int(np.rint(value * 100))
    if hundredths < 0:
        text[at] = 45  # -
        at, hundredths = at + 1, -hundredths
    digits = 3
    while 10**digits <= hundredths:
        digits += 1
    for k in range(digits):
        text[at + digits - k - (1 if k >= 2 else 0)] = 48 + hundredths % 10
        hundredths //= 10
    text[at + digits - 2] = 46  # .
    return at + digits + 1


@compiled
def _write(
    start: DoubleArray,
    length: AnyArray,
    turns: AnyArray,
    step: float,
    centres: DoubleArray,
    areas: DoubleArray,
    text: AnyArray,
    ends: AnyArray,
) -> int:
    most = max(CORNERS, length.max()) if len(length) else CORNERS
    points, kept = np.empty((most, 2)), np.empty(most, np.bool_)
    at, first = 0, 0
    for i in range(len(length)):
        n, area = 0, areas[i]
        if length[i]:
            n, inside = corners_of(start[i], turns[first : first + length[i]], step, points)
            simplified(points, n, LEAVES_OUT * step, kept)
            k = 0
            for j in range(n):
                if kept[j]:
                    points[k, 0], points[k, 1] = points[j, 0], points[j, 1]
                    k += 1
            n = k
            area = areas[i] if abs(areas[i] / inside - 1) <= MOST_SCALED else inside
        first += length[i]
        cy, cx = centres[i, 0], centres[i, 1]
        if n < 3:
            n = CORNERS
            radius = math.sqrt(areas[i] / (CORNERS / 2 * math.sin(2 * math.pi / CORNERS)))
            for j in range(n):
                turn = 2 * math.pi * (j + 0.5) / CORNERS
                points[j, 0], points[j, 1] = cy + radius * math.sin(turn), cx + radius * math.cos(turn)
        scale = math.sqrt(area / max(_ring_area(points, n), 1e-9))
        for j in range(n + 1):
            text[at] = 91  # [
            at = _number(text, at + 1, cx + scale * (points[j % n, 1] - cx))
            text[at] = 44  # ,
            at = _number(text, at + 1, cy + scale * (points[j % n, 0] - cy))
            text[at] = 93  # ]
            text[at + 1] = 44
            at += 2
        at -= 1  # no comma after the last
        ends[i + 1] = at
    return at
