"""The layers of a window as `report.view_figure` takes them. No Qt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sevhisto.report.view_figure import Channel, Field, Outline, Plane, View
from sevhisto.types import AnyArray

INSET = "inset"
"""Marks the layer in which the place of an inset is drawn."""
MAX_LABELS = 12
FINE_PX = 4000
"""Longest side, in pixels, of what is read of a layer of several resolutions."""


def whole_field(layers: Iterable[Any]) -> Field | None:
    """Return the rectangle that holds the visible images; None where there are none."""
    return _around([_extent(layer, ((0, 0), layer_shape(layer))) for layer in _images(layers)])


def shown_field(layers: Iterable[Any]) -> Field | None:
    """Return the part of the visible images that the window shows; all of them where it was not drawn yet."""
    layers = list(layers)
    seen = []
    for layer in _images(layers):
        factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else np.ones(2)
        low, high = (corner[-2:] * factor for corner in np.asarray(layer.corner_pixels))
        if (high > low).all():
            seen.append(_extent(layer, (low, high + factor)))
    return _around(seen) or whole_field(layers)


def rectangle(layers: Iterable[Any]) -> Field | None:
    """Return the rectangle that was drawn last in the layer for insets (marked `INSET`); None where there is none."""
    for layer in layers:
        if layer.metadata.get(INSET) and len(layer.data):
            points = np.array([layer.data_to_world(p)[-2:] for p in np.asarray(layer.data[-1])])
            return Field(*(float(f(points[:, i])) for i in (0, 1) for f in (np.min, np.max)))
    return None


def view_of(layers: Iterable[Any], field: Field) -> View:
    """Return what the visible layers show in a field."""
    shown = [layer for layer in layers if layer.visible and not layer.metadata.get(INSET)]
    channels = [_channel(layer, field) for layer in _images(shown)]
    outlines = [o for layer in shown if layer._type_string == "labels" for o in _labels(layer, field)]
    outlines += [o for layer in shown if layer._type_string == "shapes" and len(layer.data) for o in _shapes(layer)]
    points = [p for layer in shown if layer._type_string == "points" for p in _points(layer, field)]
    return View(field, channels, outlines, points)


def layer_shape(layer: Any) -> tuple[int, int]:
    """Return the height and width of an image layer in pixels of its finest resolution."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return tuple(shape[:2] if layer.rgb else shape[-2:])


def _images(layers: Iterable[Any]) -> Iterator[Any]:
    return (layer for layer in layers if layer._type_string == "image" and layer.visible)


def _extent(layer: Any, box: Any) -> Field:
    """Return a box of pixels (corner, corner) as a rectangle of the slide, in um."""
    (y0, x0), (y1, x1) = (np.asarray(corner, float) - 0.5 for corner in box)
    scale, at = layer.scale[-2:], layer.translate[-2:]
    return Field(y0 * scale[0] + at[0], y1 * scale[0] + at[0], x0 * scale[1] + at[1], x1 * scale[1] + at[1])


def _around(fields: list[Field]) -> Field | None:
    if not fields:
        return None
    return Field(min(f.y0 for f in fields), max(f.y1 for f in fields), min(f.x0 for f in fields), max(f.x1 for f in fields))


def _plane(layer: Any, field: Field) -> Plane:
    """Return the pixels of an image in and around a field, at the finest resolution of which that is not too much."""
    levels = layer.data if layer.multiscale else [layer.data]
    um, corner = float(layer.scale[-1]), [float(c) for c in layer.translate[-2:]]
    for level in levels:
        factor = layer_shape(layer)[0] / level.shape[0 if layer.rgb else -2]
        size = um * factor
        first = [c + (factor - 1) / 2 * um for c in corner]
        y, x = _part(field, size, (first[0], first[1]))
        if max(y.stop - y.start, x.stop - x.start) <= FINE_PX or level is levels[-1]:
            break
    values = np.asarray(level[y, x])
    if values.ndim == 2:
        values = values.astype(np.float32)
    return Plane(values, size, (first[0] + y.start * size, first[1] + x.start * size))


def _part(field: Field, um: float, corner: tuple[float, float]) -> tuple[slice, slice]:
    """Return the pixels of this size, the first at `corner` (um), that show a field."""
    y, x = (
        slice(max(0, int((low - at) / um)), max(0, int((high - at) / um) + 2))
        for low, high, at in ((field.y0, field.y1, corner[0]), (field.x0, field.x1, corner[1]))
    )
    return y, x


def _channel(layer: Any, field: Field) -> Channel:
    if layer.rgb:
        return Channel(layer.name, _plane(layer, field))
    colours = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))[:, :3] * float(layer.opacity)
    low, high = layer.contrast_limits
    return Channel(layer.name, _plane(layer, field), (float(low), float(high)), float(layer.gamma), colours)


def _rgb(colour: AnyArray | None) -> tuple[float, float, float]:
    values = [1.0, 1.0, 1.0] if colour is None else [float(v) for v in np.asarray(colour).ravel()[:3]]
    return values[0], values[1], values[2]


def _labels(layer: Any, field: Field) -> Iterator[Outline]:
    """Yield each label of a layer; where all have one colour (zones), as lines of one name."""
    data = np.asarray(layer.data)
    found = [int(v) for v in np.unique(data) if v][:MAX_LABELS]
    names = layer.metadata.get("labels", {})
    um, corner = float(layer.scale[-1]), (float(layer.translate[-2]), float(layer.translate[-1]))
    part = _part(field, um, corner)
    told = set()
    for value in found:
        colour = layer.get_color(value)
        if not (data[part] == value).any() or colour is None or not np.asarray(colour)[3]:
            continue
        name = str(names.get(value, layer.name))
        mask = Plane((data == value).astype(np.uint8), um, corner)
        yield Outline(name if name not in told else "", _rgb(colour), mask, filled=not layer.contour)
        told.add(name)


def _shapes(layer: Any) -> Iterator[Outline]:
    rings = tuple(np.array([layer.data_to_world(p)[-2:] for p in np.asarray(ring)]) for ring in layer.data)
    yield Outline(layer.name, _rgb(layer.edge_color[0]), rings=rings)


def _points(layer: Any, field: Field) -> Iterator[tuple[str, tuple[float, float, float], Any]]:
    """Yield the points of each colour in a field, named by their phenotype where all of a colour have the same."""
    at = np.asarray(layer.data)[:, -2:] * layer.scale[-2:] + layer.translate[-2:]
    seen = (at >= [field.y0, field.x0]).all(axis=1) & (at <= [field.y1, field.x1]).all(axis=1)
    kinds = layer.features["phenotype"].to_numpy() if "phenotype" in layer.features else np.full(len(at), layer.name)
    colours = np.asarray(layer.face_color).reshape(-1, 4)
    for colour in np.unique(colours[seen], axis=0):
        alike = (colours == colour).all(axis=1)
        names = set(kinds[alike])
        yield str(names.pop()) if len(names) == 1 else layer.name, _rgb(colour), at[alike & seen]
