"""Outlines of cells: the edges of their label masks, followed once around."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray, CellOutlines, IntArray

STRAIGHT, LEFT, RIGHT = 0, 1, 2
_LONGEST = 100_000
"""Edges of an outline; a mask with more is no cell."""


def cell_outlines(labels: IntArray, chosen: IntArray, step: int, corner: tuple[int, int]) -> CellOutlines:
    """Return the outline of each chosen label: of its largest part, without its holes; pixels that touch at a corner are one part.

    Parameters
    ----------
    labels : (h, w) int, 0 for background
    chosen : (n,) labels
    step : full-resolution pixels along a pixel of `labels`
    corner : y, x of the full-resolution pixel where `labels` start
    """
    slot = np.full(int(max(labels.max(initial=0), chosen.max(initial=0))) + 1, -1, np.int64)
    slot[chosen] = np.arange(len(chosen))
    start, length = _largest(labels, slot, len(chosen))
    turns = _followed(labels, start, length)
    return CellOutlines((start * step + np.array(corner)).astype(np.int32), length.astype(np.int32), turns, step)


def joined(parts: Sequence[CellOutlines], order: IntArray) -> CellOutlines:
    """Return the outlines of several blocks as those of one section, in this order."""
    start, length = np.concatenate([p.start for p in parts])[order], np.concatenate([p.length for p in parts])
    begin = np.cumsum(length, dtype=np.int64) - length
    begin, length = begin[order], length[order]
    ends = np.cumsum(length, dtype=np.int64)
    turns = np.concatenate([p.turns for p in parts])
    place = np.repeat(begin - (ends - length), length) + np.arange(len(turns))
    return CellOutlines(start, length, turns[place], parts[0].step)


@compiled
def _next(labels: IntArray, label: int, y: int, x: int, d: int) -> int:
    """Return the turn at a corner (y, x) that was reached going right (0), down (1), left (2) or up (3), the label to the right."""
    h, w = labels.shape
    ly, lx = (y - 1 if d in (0, 3) else y), (x if d in (0, 1) else x - 1)
    if 0 <= ly < h and 0 <= lx < w and labels[ly, lx] == label:
        return LEFT
    ry, rx = (y if d in (0, 1) else y - 1), (x if d in (0, 3) else x - 1)
    return STRAIGHT if 0 <= ry < h and 0 <= rx < w and labels[ry, rx] == label else RIGHT


@compiled
def _largest(labels: IntArray, slot: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the corner at which the outline of each label begins, going right, and its number of edges; of the part that is largest."""
    h, w = labels.shape
    start, length, most = np.zeros((n, 2), np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    seen = np.zeros((h, w), np.bool_)  # pixels whose upper edge was followed
    for y0 in range(h):
        for x0 in range(w):
            label = labels[y0, x0]
            if slot[label] < 0 or seen[y0, x0] or (y0 and labels[y0 - 1, x0] == label):
                continue
            y, x, d, area, edges = y0, x0, 0, 0, 0
            while edges < _LONGEST:
                if d == 0:
                    seen[y, x] = True
                    area -= y
                    x += 1
                elif d == 1:
                    y += 1
                elif d == 2:
                    area += y
                    x -= 1
                else:
                    y -= 1
                edges += 1
                turn = _next(labels, label, y, x, d)
                d = (d + (3 if turn == LEFT else 1 if turn == RIGHT else 0)) % 4
                if y == y0 and x == x0 and d == 0:
                    break
            i = slot[label]
            if area > most[i] and edges < _LONGEST:  # that of a hole is negative
                most[i], length[i], start[i, 0], start[i, 1] = area, edges, y0, x0
    return start, length


@compiled
def _followed(labels: IntArray, start: IntArray, length: IntArray) -> AnyArray:
    """Return the turns of outlines, one after the other."""
    turns = np.zeros(length.sum(), np.uint8)
    k = 0
    for i in range(len(length)):
        y, x, d = start[i, 0], start[i, 1], 0
        label = labels[y, x] if length[i] else 0
        for _ in range(length[i]):
            x, y = x + (d == 0) - (d == 2), y + (d == 1) - (d == 3)
            turn = _next(labels, label, y, x, d)
            turns[k] = turn
            k += 1
            d = (d + (3 if turn == LEFT else 1 if turn == RIGHT else 0)) % 4
    return turns
