"""Drawn outlines as masks and as GeoJSON features, and masks as outlines: what a viewer needs to change what QuPath or ImageJ drew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.annotations import PIECE, Outline, outline_mask, outlines_in, outlines_of, read_shapes
from sevhisto.rings import contains, split_holes
from sevhisto.types import BoolArray, DoubleArray

Feature = dict[str, Any]
"""A GeoJSON feature as QuPath writes it; coordinates are x, y in full-resolution pixels of the slide."""


def of_piece(outlines: Sequence[Outline], piece: int) -> list[Outline]:
    """Return the outlines that count for a piece of the slide: its own, and those for all that they lie on."""
    return [outline for outline in outlines if outline.piece in (0, piece)]


def area_mask(
    outlines: Sequence[Outline], kind: str, shape: tuple[int, int], scale: float, origin: tuple[float, float] = (0.0, 0.0)
) -> BoolArray | None:
    """Return the pixels of a kind, None where it was not drawn; what is named ``not lesion`` is taken from the outlines before it.

    Arguments as in `annotations.outline_mask`.
    """
    if not outlines_of(outlines, kind):
        return None
    mask = np.zeros(shape, bool)
    for outline in outlines:
        if outline.kind == kind:
            mask |= outline_mask([outline], shape, scale, origin)
        elif outline.kind == f"not_{kind}":
            mask &= ~outline_mask([outline], shape, scale, origin)
    return mask


def traced(
    mask: BoolArray, factor: float, origin: tuple[float, float], tolerance_px: float = 0.5
) -> tuple[list[DoubleArray], list[DoubleArray]]:
    """Return the outer rings of a mask, and its holes, each (n, 2) float64 y, x in full-resolution pixels of the slide.

    Parameters
    ----------
    mask : (h, w) bool
    factor : full-resolution pixels per mask pixel
    origin : y, x of the mask's corner, in full-resolution pixels
    tolerance_px : how far, in mask pixels, the rings may lie from the border that runs between the centres of the mask's pixels [Douglas
        and Peucker 1973]: fewer points, that a person can move
    """
    from skimage.measure import approximate_polygon, find_contours

    rings = []
    for ring in find_contours(np.pad(mask, 1).astype(np.float64), 0.5):
        simple = approximate_polygon(ring, tolerance_px)
        rings.append(((simple if len(simple) > 3 else ring)[:-1] - 0.5) * factor + np.asarray(origin))  # padded by 1, centres at 0.5
    return split_holes(rings)


def feature_of(outline: Outline, piece: int = 0) -> Feature:
    """Return an outline as QuPath writes one; `piece` is the piece of the slide that it is for, 0 where it is for all that it lies on."""
    polygons = [[_closed(ring), *(_closed(h) for h in _inside(ring, outline.holes))] for ring in outline.polygons]
    if polygons:
        kind, coordinates = ("Polygon", polygons[0]) if len(polygons) == 1 else ("MultiPolygon", polygons)
    else:
        lines: list[Any] = [line[:, ::-1].tolist() for line in outline.strokes]
        points = all(len(line) == 1 for line in lines)
        kind, coordinates = ("MultiPoint", [p[0] for p in lines]) if points else ("MultiLineString", [p for p in lines if len(p) > 1])
    metadata = {"metadata": {PIECE: str(piece or outline.piece)}} if piece or outline.piece else {}
    properties = {"objectType": "annotation", "classification": {"name": outline.name}, **metadata}
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def _closed(ring: DoubleArray) -> list[list[float]]:
    points: list[list[float]] = ring[:, ::-1].tolist()
    return points if points[0] == points[-1] else [*points, points[0]]


def _inside(ring: DoubleArray, holes: Iterable[DoubleArray]) -> list[DoubleArray]:
    return [hole for hole in holes if contains(ring, hole[0])]


def features_in(path: Path) -> list[Feature]:
    """Return what is drawn in a file as features: those of GeoJSON untouched, ImageJ's as QuPath would write them.

    SevhistoError where the file cannot be read.
    """
    shapes = read_shapes(path)  # tells what is wrong with the file
    if path.suffix.lower() not in (".geojson", ".json"):
        return [feature_of(shape) for shape in shapes]
    return list(_flat(json.loads(path.read_text("utf-8-sig"))))


def _flat(item: Any) -> Iterable[Feature]:
    if isinstance(item, list):
        for one in item:
            yield from _flat(one)
    elif item["type"] == "FeatureCollection":
        yield from _flat(item["features"])
    else:
        yield item if item["type"] == "Feature" else {"type": "Feature", "geometry": item, "properties": {}}


def outlines_of_features(features: Iterable[Feature]) -> list[Outline]:
    """Return the outlines in features, in their order."""
    return [outline for feature in features for outline in outlines_in(feature)]


def collection_bytes(features: Sequence[Feature]) -> bytes:
    """Return a GeoJSON file of features, every coordinate as exact as it is held."""
    whole = {"type": "FeatureCollection", "features": list(features)}
    return (json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n").encode()
