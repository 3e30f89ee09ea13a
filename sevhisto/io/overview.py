"""Overviews: means over blocks of whole pixels, from the file's own smaller copies where these can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sevhisto.io.levels import agrees, block_mean, copies_for, samples
from sevhisto.types import AnyArray, FloatArray

Box = tuple[int, int, int, int]
Read = Callable[[int, int, Box], AnyArray]
"""Pixels (h, w) of a level (0 is full resolution) and a channel in a box (y0, y1, x0, x1) of that level."""
_BLOCK_PX = 1024  # side of the blocks in which pixels are averaged


def make_overview(
    read: Read, n: int, shape: tuple[int, int], levels: Sequence[tuple[int, int]], box: Box, step: int, whole_numbers: bool
) -> tuple[FloatArray, int]:
    """Return means of a box over about `step` x `step` full-resolution pixels, (n, ceil(h / step), ceil(w / step)) float32, and the step.

    Parameters
    ----------
    read : pixels of each of the `n` channels
    shape, levels : height and width of the image, and of its smaller copies
    box : part of the image, in full-resolution pixels
    whole_numbers : whether the file's pixels are
    """
    for copy in copies_for(shape, levels, step):
        if box[0] % copy.factor or box[2] % copy.factor:
            continue
        seen = averaged(read, n, box, copy.step, copy.level, copy.factor)
        if _shows_the_image(read, seen, box, copy.step, whole_numbers):
            return seen, copy.step
    return averaged(read, n, box, step), step


def averaged(read: Read, n: int, box: Box, f: int, level: int = 0, g: int = 1) -> FloatArray:
    """Return means over `f` x `f` pixels of a box of the full image, (n, ceil(h / f), ceil(w / f)) float32.

    `level`, `g` : the copy that is read, and its factor, which divides `f` and the box's corner; what it lacks at the far edges is
    read from the full image.
    """
    y0, y1, x0, x1 = box
    out = np.empty((n, -(-(y1 - y0) // f), -(-(x1 - x0) // f)), np.float32)
    k = f // g
    rows, columns = (y1 // g) - y0 // g, (x1 // g) - x0 // g
    if level:
        rows, columns = rows // k * k, columns // k * k
    side = max(1, _BLOCK_PX // k) * k
    for y in range(0, rows, side):
        for x in range(0, columns, side):
            here = (y0 // g + y, y0 // g + min(y + side, rows), x0 // g + x, x0 // g + min(x + side, columns))
            for c in range(n):
                mean = block_mean(read(level, c, here), k)
                out[c, y // k : y // k + mean.shape[0], x // k : x // k + mean.shape[1]] = mean
    if level:
        for edge in ((y0 + rows * g, y1, x0, x1), (y0, y0 + rows * g, x0 + columns * g, x1)):
            if edge[0] < edge[1] and edge[2] < edge[3]:
                a, b = (edge[0] - y0) // f, (edge[2] - x0) // f
                strip = averaged(read, n, edge, f)
                out[:, a : a + strip.shape[1], b : b + strip.shape[2]] = strip
    return out


def _shows_the_image(read: Read, seen: FloatArray, box: Box, f: int, whole_numbers: bool) -> bool:
    """Compare an overview that was made from a copy with the image itself, in a few places of every channel."""
    for c, plane in enumerate(seen):
        for i0, i1, j0, j1 in samples(plane, f):
            here = (box[0] + i0 * f, min(box[0] + i1 * f, box[1]), box[2] + j0 * f, min(box[2] + j1 * f, box[3]))
            if not agrees(plane[i0:i1, j0:j1], block_mean(read(0, c, here), f), whole_numbers):
                return False
    return True
