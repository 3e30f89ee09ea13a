"""The fixed grid of blocks in which a section is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sevhisto.types import AnyArray

BLOCK_PX = 1536  # filters always run on this grid, so results do not depend on how a file is tiled


@dataclass(frozen=True)
class Block:
    """One block of the fixed grid: the pixels it owns (y0..y1, x0..x1) and those it reads (with halo)."""

    y0: int
    y1: int
    x0: int
    x1: int
    ry0: int
    ry1: int
    rx0: int
    rx1: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """The owned pixels inside the read ones."""
        return self.around(0)

    def around(self, margin: int) -> tuple[slice, slice]:
        """The owned pixels with a margin inside the read ones; less of it where the image ends."""
        y0, x0 = max(self.y0 - margin, self.ry0) - self.ry0, max(self.x0 - margin, self.rx0) - self.rx0
        return slice(y0, min(self.y1 + margin, self.ry1) - self.ry0), slice(x0, min(self.x1 + margin, self.rx1) - self.rx0)


def blocks(shape: tuple[int, int], halo: int, step: int = 1, side: int | None = None) -> list[Block]:
    """Return the fixed grid of blocks over (height, width), each with a halo that stays inside the image.

    What a block reads starts at a multiple of `step`. Neighbours follow each other (Z order), so that what two of them read is still held.
    """
    (h, w), side = shape, side or BLOCK_PX
    corners = [(y, x) for y in range(0, h, side) for x in range(0, w, side)]
    corners.sort(key=lambda c: _z_order(c[0] // side, c[1] // side))
    return [block_at(y, min(y + side, h), x, min(x + side, w), shape, halo, step) for y, x in corners]


def block_at(y0: int, y1: int, x0: int, x1: int, shape: tuple[int, int], halo: int, step: int) -> Block:
    """Return the block that owns rows y0..y1 and columns x0..x1."""
    top, left = max(y0 - halo, 0) // step * step, max(x0 - halo, 0) // step * step
    return Block(y0, y1, x0, x1, top, min(y1 + halo, shape[0]), left, min(x1 + halo, shape[1]))


def with_tissue(block: Block, place: AnyArray, shape: tuple[int, int], halo: int, step: int) -> tuple[Block, AnyArray]:
    """Return the smallest block that holds the examined pixels of one, and their places."""
    examined = place >= 0
    rows, columns = np.flatnonzero(examined.any(axis=1)), np.flatnonzero(examined.any(axis=0))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    smaller = block_at(block.y0 + y0, block.y0 + y1, block.x0 + x0, block.x0 + x1, shape, halo, step)
    return smaller, np.ascontiguousarray(place[y0:y1, x0:x1])


def _z_order(y: int, x: int) -> int:
    return sum(((y >> i & 1) << (2 * i + 1)) | ((x >> i & 1) << (2 * i)) for i in range(max(y, x).bit_length()))
