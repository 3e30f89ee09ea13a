"""A picture as tiles of several sizes, made from its rows as they come, so that no picture need be in memory whole."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from sevhisto.types import FloatArray

Bytes = npt.NDArray[np.uint8]
TILE_PX = 512
QUALITY = 80


class Tile(NamedTuple):
    """One tile: `level` 0 is the picture itself, each next one half as wide and high; (x, y) count tiles from the upper left."""

    level: int
    x: int
    y: int
    pixels: Bytes


def level_shapes(shape: tuple[int, int], side: int = TILE_PX) -> list[tuple[int, int]]:
    """Return height and width of every level, each half of the one before, rounded up; the last fits into one tile."""
    shapes = [shape]
    while max(shapes[-1]) > side:
        h, w = shapes[-1]
        shapes.append((-(-h // 2), -(-w // 2)))
    return shapes


def n_pixels(shape: tuple[int, int], side: int = TILE_PX) -> int:
    """Return the pixels of all levels together."""
    return sum(h * w for h, w in level_shapes(shape, side))


def halved(plane: Bytes) -> Bytes:
    """Return means over 2 x 2 pixels, (ceil(h / 2), ceil(w / 2), ...) uint8, halves rounded up; of what there is at the far edges."""
    h, w = plane.shape[:2]
    if h % 2 or w % 2:
        plane = np.pad(plane, [(0, h % 2), (0, w % 2), *[(0, 0)] * (plane.ndim - 2)], mode="edge")
    rows = plane[::2].astype(np.uint16)
    rows += plane[1::2]
    sums = rows[:, ::2] + rows[:, 1::2]
    sums += 2
    sums //= 4
    return sums.astype(np.uint8)


class Pyramid:
    """The tiles of one picture, given its rows from the top.

    Parameters
    ----------
    shape : height and width of the picture
    side : of a tile; even
    """

    def __init__(self, shape: tuple[int, int], side: int = TILE_PX) -> None:
        self.shapes, self.side = level_shapes(shape, side), side
        self._done = [0] * len(self.shapes)
        self._waiting: list[list[Bytes]] = [[] for _ in self.shapes]
        self.smallest: Bytes = np.zeros((0, 0), np.uint8)
        """The last level, once all rows are there."""

    def add(self, strip: Bytes, level: int = 0) -> Iterator[Tile]:
        """Yield the tiles that the next `side` rows of a level complete, there and in smaller levels; the last strip is what is left."""
        h, w = self.shapes[level]
        row, side = self._done[level], self.side
        if strip.shape[:2] != (min(side, h - row * side), w):
            raise ValueError(f"rows {strip.shape[:2]} do not follow in a level of {(h, w)}")
        self._done[level] += 1
        for x in range(-(-w // side)):
            yield Tile(level, x, row, strip[:, x * side : (x + 1) * side])
        if level + 1 == len(self.shapes):
            self.smallest = strip
            return
        waiting = self._waiting[level + 1]
        waiting.append(halved(strip))
        if len(waiting) == 2 or (row + 1) * side >= h:
            rows = np.concatenate(waiting)
            waiting.clear()
            yield from self.add(rows, level + 1)


def stretched(values: FloatArray, low: float, high: float) -> Bytes:
    """Return grey levels as brightness: `low` and below is 0, `high` and above 255."""
    level = values - np.float32(low)
    level *= np.float32(255 / max(high - low, 1e-6))
    return np.asarray(np.rint(np.clip(level, 0, 255, out=level), out=level).astype(np.uint8))


def added_up(planes: Sequence[Bytes], colours: Sequence[Sequence[float]]) -> Bytes:
    """Return channels in their colours on top of each other, (h, w, 3) uint8: light adds up, as the browser does it."""
    total = np.zeros((*planes[0].shape, 3), np.float32)
    for plane, colour in zip(planes, colours, strict=True):
        total += plane[..., None] * np.asarray(colour, np.float32)
    return np.asarray(np.rint(np.clip(total, 0, 255)), np.uint8)


def jpeg(pixels: Bytes, quality: int = QUALITY) -> bytes:
    """Return a picture (h, w) or (h, w, 3) as JPEG; colour is kept as fine as brightness."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "JPEG", quality=quality, subsampling=0)
    return out.getvalue()


def reduction(um_per_px: float, finest_um: float) -> int:
    """Return how many pixels of a slide make one of the picture, along each side: as many as keep it no coarser than `finest_um`."""
    return max(1, math.floor(finest_um / um_per_px + 1e-6))
