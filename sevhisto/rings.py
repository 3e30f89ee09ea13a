"""Outlines as rings of points: their area, what lies in them, and which holes belong to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sevhisto.types import DoubleArray

MADE_HERE = "sevhisto: "
"""How the names of outlines start that the program makes and never reads back, since they follow from the others."""


@dataclass(frozen=True)
class Shape:
    """A named area: polygons, each an outer ring and the holes in it; rings (n, 2) float64 y, x, not closed, 0 at a pixel's corner."""

    name: str
    polygons: list[list[DoubleArray]]


def signed_area(ring: DoubleArray) -> float:
    """Return the area of a ring of (y, x), positive where it runs against the clock with y up."""
    y, x = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def area_of(polygons: list[list[DoubleArray]]) -> float:
    """Return the area of polygons without their holes."""
    return sum(abs(signed_area(p[0])) - sum(abs(signed_area(h)) for h in p[1:]) for p in polygons)


def contains(ring: DoubleArray, point: DoubleArray) -> bool:
    """Return whether a point lies in a ring, by the even-odd rule."""
    a, b = ring, np.roll(ring, -1, axis=0)
    crosses = (a[:, 0] > point[0]) != (b[:, 0] > point[0])
    a, b = a[crosses], b[crosses]
    x = a[:, 1] + (point[0] - a[:, 0]) / (b[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    return bool(np.count_nonzero(x > point[1]) % 2)


def nested(outer: list[DoubleArray], holes: list[DoubleArray]) -> list[list[DoubleArray]]:
    """Return polygons of outer rings, each with the holes whose first point lies in it; a hole in none is left out."""
    polygons = [[ring] for ring in outer]
    for hole in holes:
        around = [p for p in polygons if contains(p[0], hole[0])]
        if around:
            min(around, key=lambda p: abs(signed_area(p[0]))).append(hole)
    return polygons


def split_holes(rings: Sequence[DoubleArray]) -> tuple[list[DoubleArray], list[DoubleArray]]:
    """Tell outer rings from holes: a ring inside an odd number of others is a hole."""
    outer: list[DoubleArray] = []
    holes: list[DoubleArray] = []
    for i, ring in enumerate(rings):
        around = sum(contains(other, ring[0]) for j, other in enumerate(rings) if j != i)
        (holes if around % 2 else outer).append(ring)
    return outer, holes


FARTHEST_PX = 1e7
"""Farther than any pixel of an image."""


def check_places(points: DoubleArray) -> None:
    """Raise ValueError where a coordinate of (n, 2) points is not finite, or lies outside any image."""
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not a finite number")
    if len(points) and np.abs(points).max() > FARTHEST_PX:
        raise ValueError(f"a coordinate is {np.abs(points).max():g}, outside any image")
