"""Nuclei that were labelled elsewhere: which lie in a section, and where, whatever the blocks in which it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sevhisto.imaging.blocks import Block
from sevhisto.types import AnyArray, BoolArray, DoubleArray, IntArray, Problem, SlideError

WIDEST_UM = 200.0
"""A label that reaches farther is none of a cell: one number stands for many objects, or for the background."""
_WINDOW = 2048  # pixels of the label image read at once
Known = tuple[DoubleArray, DoubleArray, DoubleArray]
"""Area, row and column of the centroid of each label of a frame, in its pixels: see nuclei.measure_cells."""


class LabelImage(Protocol):
    """A label image of a whole slide, 0 for background, at full resolution or reduced by a whole factor."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def shape(self) -> tuple[int, int]:
        """Its own height and width in pixels."""

    @property
    def factor(self) -> int:
        """Full-resolution pixels of the slide per pixel."""

    def read(self, y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Labels (y1 - y0, x1 - x0) of a region in its own pixels, any type of whole numbers."""


@dataclass(frozen=True)
class Labelled:
    """The labelled nuclei of one section; lengths in full-resolution pixels, places from the section's upper left corner.

    Attributes
    ----------
    image : where the labels are read
    corner : (y, x) of the slide where the section starts
    numbers : (n,) int64, the labels whose centroid lies in the section, growing
    area_px, y, x : (n,) float64
    reach_px : how far from its centroid the widest of them reaches
    diameter_um : median diameter of circles of their areas; 0 without any
    """

    image: LabelImage
    corner: tuple[int, int]
    numbers: IntArray
    area_px: DoubleArray
    y: DoubleArray
    x: DoubleArray
    reach_px: int
    diameter_um: float

    def in_frame(self, block: Block, step: int) -> tuple[IntArray, Known]:
        """Return the labels of what a block reads, in means of `step` pixels and numbered from 1, and what is known of each.

        A pixel has the label in its middle. A label too small to be seen so is known, and has no pixel.
        """
        frame = self._sampled(block, step)
        inside = (self.y >= block.ry0) & (self.y < block.ry1) & (self.x >= block.rx0) & (self.x < block.rx1)
        occupied = frame > 0
        listed = np.union1d(np.unique(frame[occupied]), self.numbers[inside])
        labels = np.zeros(frame.shape, np.int64)
        labels[occupied] = np.searchsorted(listed, frame[occupied]) + 1
        at = np.searchsorted(listed, self.numbers[inside]) + 1
        area, y, x = np.zeros((3, len(listed) + 1))  # those whose centroid lies outside only take room: their area is 0
        area[at] = self.area_px[inside] / step**2
        y[at] = (self.y[inside] - block.ry0) / step - 0.5
        x[at] = (self.x[inside] - block.rx0) / step - 0.5
        return labels, (area, y, x)

    def _sampled(self, block: Block, step: int) -> IntArray:
        picks = []
        for start, stop, corner, n in zip((block.ry0, block.rx0), (block.ry1, block.rx1), self.corner, self.image.shape, strict=True):
            at = (corner + start + step // 2 + step * np.arange((stop - start) // step)) // self.image.factor
            picks.append(at[at < n])  # a reduced image may lack the last pixels of the slide
        out = np.zeros(((block.ry1 - block.ry0) // step, (block.rx1 - block.rx0) // step), np.int64)
        rows, columns = picks
        if len(rows) and len(columns):
            part = self.image.read(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
            out[: len(rows), : len(columns)] = part[np.ix_(rows - rows[0], columns - columns[0])]
        return out


def survey(image: LabelImage, corner: tuple[int, int], shape: tuple[int, int], um: float) -> Labelled:
    """Return the labels of one section, counted over whole labels, also where they cross the section's edge.

    Parameters
    ----------
    corner, shape : upper left corner on the slide and (height, width) of the section, full-resolution pixels
    um : micrometres per full-resolution pixel

    Raises
    ------
    SlideError
        A negative label, or one that reaches over more than WIDEST_UM.
    """
    f = image.factor
    margin = int(np.ceil(WIDEST_UM / um))
    low = [max(c - margin, 0) // f for c in corner]
    high = [min(-(-(c + n + margin) // f), size) for c, n, size in zip(corner, shape, image.shape, strict=True)]
    parts = []
    for y0 in range(low[0], high[0], _WINDOW):
        for x0 in range(low[1], high[1], _WINDOW):
            window = image.read(y0, min(y0 + _WINDOW, high[0]), x0, min(x0 + _WINDOW, high[1]))
            if window.dtype.kind == "i" and window.min(initial=0) < 0:
                what = "holds negative labels: its type has too few numbers for as many objects"
                raise SlideError(Problem(image.name, what, "save it with 32 bits"))
            parts.append(_grouped(*_runs(window, y0, x0)))
    parts = parts or [_grouped(*_runs(np.zeros((0, 0), np.int64), 0, 0))]
    numbers, sums, ends = _grouped(*(np.concatenate(p) for p in zip(*parts, strict=True)))
    _refuse_wide(image, numbers, ends * (f * um))
    area = sums[:, 0]
    # twice the sums are whole numbers: the centroid is rounded once
    y, x = ((2 * sums[:, k] + area) * f / np.maximum(2 * area, 1) - corner[k - 1] for k in (1, 2))
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    reach = _reach(ends[inside] * f - np.tile(corner, 2), y[inside], x[inside])
    area_px = (area[inside] * f**2).astype(np.float64)
    typical = float(np.median(np.sqrt(4 / np.pi * area_px))) * um if inside.any() else 0.0
    return Labelled(image, corner, numbers[inside], area_px, y[inside], x[inside], reach, typical)


def _runs(labels: AnyArray, y0: int, x0: int) -> tuple[IntArray, IntArray, IntArray]:
    """Return the stretches of one label along rows: number; pixels, sum of rows and of columns; first row, first column, ends."""
    w = labels.shape[1]
    flat = np.pad(labels, ((0, 0), (0, 1))).ravel()  # a column of background ends every row
    starts = np.flatnonzero(np.diff(flat, prepend=flat.dtype.type(0)) != 0) if flat.size else np.zeros(0, np.int64)
    stops = np.append(starts[1:], flat.size)
    keep = flat[starts] != 0
    starts, stops = starts[keep], stops[keep]
    row, first = np.divmod(starts, w + 1)
    n = stops - starts
    row, first = row + y0, first + x0
    columns = (2 * first + n - 1) * n // 2
    return flat[starts].astype(np.int64), np.stack([n, row * n, columns], axis=1), np.stack([row, first, row + 1, first + n], axis=1)


def _grouped(numbers: IntArray, sums: IntArray, ends: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return the same per label, labels growing: sums added, ends (first row, first column, last row, last column) joined."""
    order = np.argsort(numbers, kind="stable")
    found, first = np.unique(numbers[order], return_index=True)
    if not len(found):
        return found, np.zeros((0, 3), np.int64), np.zeros((0, 4), np.int64)
    lowest = np.minimum.reduceat(ends[order, :2], first, axis=0)
    highest = np.maximum.reduceat(ends[order, 2:], first, axis=0)
    return found, np.add.reduceat(sums[order], first, axis=0), np.concatenate([lowest, highest], axis=1)


def _refuse_wide(image: LabelImage, numbers: IntArray, ends_um: AnyArray) -> None:
    across = np.max(ends_um[:, 2:] - ends_um[:, :2], axis=1, initial=0)
    wide: BoolArray = across > WIDEST_UM
    if wide.any():
        i = int(np.argmax(across))
        what = f"label {numbers[i]} reaches over {across[i]:.0f} um ({wide.sum()} labels over more than {WIDEST_UM:.0f} um): no cell does"
        raise SlideError(Problem(image.name, what, "give every nucleus a number of its own and the background 0; see docs/labels.md"))


def _reach(ends: IntArray, y: DoubleArray, x: DoubleArray) -> int:
    if not len(y):
        return 0
    return int(np.ceil(max((y - ends[:, 0]).max(), (x - ends[:, 1]).max(), (ends[:, 2] - y).max(), (ends[:, 3] - x).max())))
