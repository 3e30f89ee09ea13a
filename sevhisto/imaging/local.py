"""Intensity over the local background, tallied beside the intensity itself: for sensitivity only.

What is smooth and wider than structure is taken away, and diffuse matrix is smooth and wide: of an endpoint that holds it, this is no
better measure, only another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sevhisto.compiled import compiled
from sevhisto.config import PanelSettings
from sevhisto.imaging.autofluorescence import ROW_STEP
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.blocks import Block
from sevhisto.imaging.geometry import Layout, neighbours
from sevhisto.imaging.tally import (
    BIN_OF_QUANTUM,
    HIGHEST_QUANTUM,
    JOINT_OF_DISTANCE,
    LOWEST_QUANTUM,
)
from sevhisto.types import N_DISTANCE, QUANTUM, AnyArray, BoolArray, Correction, FloatArray, IntArray

_CELLS = 4  # of the grid along the radius
_PER_GREY = int(1 / QUANTUM)


@dataclass(frozen=True)
class LocalBackground:
    """The local background of a section: {marker: (h, w) float32}, `factor` full-resolution pixels to a cell of its grid."""

    levels: dict[str, FloatArray]
    factor: int


NO_BACKGROUND = LocalBackground({}, 1)
"""Of a section that is tallied once only."""


def local_backgrounds(
    values: FloatArray, layout: Layout, correction: Correction, panel: PanelSettings, radius_um: float
) -> LocalBackground:
    """Return the local background of every marker whose area can be an endpoint: not of nuclei, nor of the blank channel.

    `values` : (n_markers, h, w) float32, uncorrected intensity of the section's overview
    """
    examined = layout.tissue & ~layout.cavity & ~layout.masked
    levels = {
        c.marker: local_background(corrected_marker(values, correction, row), examined, layout.um, radius_um)
        for row, c in enumerate(panel.channels)
        if c.role not in ("nuclei", "autofluorescence")
    }
    return LocalBackground(levels, layout.factor * grid_step(layout.um, radius_um))


def grid_step(um: float, radius_um: float) -> int:
    """Return how many overview pixels of `um` make one cell of the grid of a local background."""
    return max(1, round(radius_um / _CELLS / um))


def local_background(values: FloatArray, examined: BoolArray, um: float, radius_um: float) -> FloatArray:
    """Return the local background of one marker on a grid, float32 (ceil(h / step), ceil(w / step)); step as `grid_step` says.

    The grey opening by a disc, flat where a rolling ball is round (Sternberg, Computer 16:22, 1983), of the means over the cells of the
    grid; smoothed with half the radius. Only examined tissue takes part.

    Parameters
    ----------
    values : (h, w) float32, corrected intensity of the overview
    examined : (h, w) bool
    um : size of an overview pixel
    """
    step = grid_step(um, radius_um)
    mean, known = _grid_means(values, examined, step)
    radius = radius_um / (step * um)
    side = 2 * int(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    lowest = cv2.erode(np.where(known, mean, np.float32(np.inf)), disc, borderType=cv2.BORDER_CONSTANT, borderValue=np.inf)
    opened = cv2.dilate(np.where(known, lowest, np.float32(-np.inf)), disc, borderType=cv2.BORDER_CONSTANT, borderValue=-np.inf)
    weight = cv2.GaussianBlur(known.astype(np.float32), (0, 0), radius / 2, borderType=cv2.BORDER_CONSTANT)
    total = cv2.GaussianBlur(np.where(known, opened, np.float32(0)), (0, 0), radius / 2, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(np.where(weight > 1e-3, total / np.maximum(weight, np.float32(1e-3)), 0), np.float32)


def _grid_means(values: FloatArray, examined: BoolArray, step: int) -> tuple[FloatArray, BoolArray]:
    h, w = (-(-n // step) for n in examined.shape)
    pad = ((0, h * step - examined.shape[0]), (0, w * step - examined.shape[1]))

    def summed(image: AnyArray) -> AnyArray:
        sums: AnyArray = np.pad(image, pad).reshape(h, step, w, step).sum(axis=(1, 3))
        return sums

    n = summed(examined.astype(np.float32))
    known = n >= 0.25 * step**2
    return np.asarray(summed(np.where(examined, values, np.float32(0))) / np.maximum(n, 1), np.float32), known


def local_block(counts: IntArray, values: FloatArray, level: FloatArray, factor: int, block: Block, place: AnyArray) -> None:
    """Add a block to counts (2, N_JOINT_DISTANCE, N_INTENSITY): every fourth row of the section, times four, less its local background.

    Parameters
    ----------
    values : (h, w) float32, the marker in the block, corrected and smoothed as for the tally
    level, factor : its local background, as LocalBackground has it
    place : (h, w), side * N_DISTANCE + distance bin where examined, below zero elsewhere
    """
    first = -block.y0 % ROW_STEP
    rows = neighbours(level.shape[0], factor, np.arange(block.y0 + first, block.y1, ROW_STEP))
    columns = neighbours(level.shape[1], factor, np.arange(block.x0, block.x1))
    local_into(values[first::ROW_STEP], place[first::ROW_STEP], level, *rows, *columns, BIN_OF_QUANTUM, counts)


@compiled
def local_into(
    values: FloatArray,
    place: AnyArray,
    level: FloatArray,
    top: IntArray,
    bottom: IntArray,
    down: FloatArray,
    left: IntArray,
    right: IntArray,
    across: FloatArray,
    bin_of: AnyArray,
    counts: IntArray,
) -> None:
    """Add rows of a block to counts (2, N_JOINT_DISTANCE, N_INTENSITY); the plain form is in the tests.

    `top`, `bottom`, `down`, `left`, `right`, `across` : cells of `level` around each row and column, as geometry.neighbours gives them.
    """
    limit = np.float32(2.0**20)
    low, high = np.int64(LOWEST_QUANTUM - 1), np.int64(HIGHEST_QUANTUM)
    line = np.empty(level.shape[1], np.float32)
    for y in range(place.shape[0]):
        for j in range(len(line)):
            line[j] = level[top[y], j] + (level[bottom[y], j] - level[top[y], j]) * down[y]
        for x in range(place.shape[1]):
            here = place[y, x]
            if here < 0:
                continue
            background = line[left[x]] + (line[right[x]] - line[left[x]]) * across[x]
            value = min(max(values[y, x] - background, -limit), limit)
            quantum = np.int64(np.rint(value * np.float32(_PER_GREY)))
            at = bin_of[(low if quantum < low else high if quantum > high else quantum) - low]
            side = 1 if here >= N_DISTANCE else 0
            counts[side, JOINT_OF_DISTANCE[here - side * N_DISTANCE], at] += ROW_STEP
