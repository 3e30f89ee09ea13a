"""Strokes with classes as a shapes layer and back. Pure, without napari or Qt.

The layer lies in um, and a shape's pixel is at its centre; outlines lie in full-resolution pixels, from the corner of the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sevhisto.io.annotations import Outline
from sevhisto.types import DoubleArray

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
"""Of the classes, in their order; told apart with every common colour vision."""
LINES = ("path", "line")
ROUND_STEPS = 48


def colour_of(classes: Sequence[str], name: str) -> str:
    """Return the colour of a class."""
    return COLOURS[list(classes).index(name) % len(COLOURS)]


def shapes_of(strokes: Sequence[Outline], um_per_px: float) -> tuple[list[DoubleArray], list[str], list[str]]:
    """Return data (um), shape types and classes of a shapes layer, one shape per line or ring."""
    parts = [("path", line, s.name) for s in strokes for line in s.strokes] + [("polygon", p, s.name) for s in strokes for p in s.polygons]
    data = [(points - 0.5) * um_per_px for _, points, _ in parts]
    return data, [kind for kind, _, _ in parts], [name for _, _, name in parts]


def strokes_of(data: Sequence[Any], types: Sequence[str], classes: Sequence[str], um_per_px: float) -> list[Outline]:
    """Return the outlines of the shapes of a layer; rectangles and ellipses become polygons, a line of no length a point."""
    found = []
    for points, kind, name in zip(data, types, classes, strict=True):
        px = np.asarray(points, np.float64)[:, -2:] / um_per_px + 0.5
        if kind in LINES:
            found.append(Outline(name, [], [], [px[:1] if (px == px[0]).all() else px]))
        else:
            found.append(Outline(name, [_ellipse(px) if kind == "ellipse" else px], []))
    return found


def _ellipse(corners: DoubleArray) -> DoubleArray:
    """Return a ring within the four corners of an ellipse's box, which may be turned."""
    centre, a, b = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ROUND_STEPS, endpoint=False)
    return np.asarray(centre + np.cos(angle)[:, None] * a + np.sin(angle)[:, None] * b, np.float64)
