"""Masks as outlines: polygons with holes, midway between pixels inside and outside."""

from __future__ import annotations

from typing import Any

import numpy as np
from contourpy import FillType, contour_generator

from sevhisto.types import BoolArray, DoubleArray


def mask_polygons(mask: BoolArray, factor: float = 1.0, corner: tuple[float, float] = (0.0, 0.0)) -> list[list[DoubleArray]]:
    """Return the outlines of a mask.

    Parameters
    ----------
    mask : (h, w) bool
    factor : full-resolution pixels per mask pixel
    corner : y, x of the mask's first corner in full-resolution pixels

    Returns
    -------
    polygons : each an outer ring and its holes, in full-resolution pixels. Rings pass midway between a pixel inside and its neighbour
        outside (marching squares [Lorensen and Cline 1987]), so that filling them by pixel centres gives the mask again.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    y0, x0 = int(rows[0]), int(columns[0])
    padded = np.pad(mask[y0 : rows[-1] + 1, x0 : columns[-1] + 1], 1).astype(np.float64)
    filled: Any = contour_generator(z=padded, fill_type=FillType.OuterOffset).filled(0.5, 1.5)
    place = np.array([y0 - 0.5, x0 - 0.5])  # the pad is one pixel, centres lie half a pixel from corners
    polygons = [np.split(p[:, ::-1], s[1:-1].astype(int)) for p, s in zip(*filled, strict=True)]  # each ring ends where it starts
    return [[(_corners(ring[:-1]) + place) * factor + np.asarray(corner) for ring in polygon] for polygon in polygons]


def _corners(ring: DoubleArray) -> DoubleArray:
    """Return a ring without the points on straight stretches."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(ring[turns], np.float64)
