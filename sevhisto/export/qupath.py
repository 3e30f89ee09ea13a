"""QuPath: GeoJSON with lesion, zones and drawn areas of each slide, and its cells with their measurements."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sevhisto.export.cell_polygons import polygon_texts
from sevhisto.export.given import GivenSlide, PlacedSection, ZoneFacts, section_cells, slide_formats
from sevhisto.export.number_texts import joined, six_digits, text_bytes
from sevhisto.export.regions import colours, zone_of
from sevhisto.export.text import printable, slide_path
from sevhisto.rings import Shape
from sevhisto.types import DoubleArray, SectionView

DECIMALS = 3
ROWS = 25_000
"""Cells that are made into text at once: 20 MB."""
_CELL_FACTS = ("area_um2", "distance_um")


@slide_formats.register("qupath")
def qupath(given: GivenSlide, folder: Path) -> list[str]:
    """Write ``<slide>.geojson`` (annotations) and ``<slide>_cells.geojson`` (detections), in full-resolution pixels.

    Cells are the outlines of their masks with few corners, and with the area of the tables; see `cell_polygons`.
    """
    slide = given.slide
    features: list[dict[str, Any]] = [_feature(s, {"name": "drawn"}) for s in slide.drawn]
    for section, shapes in zip(slide.sections, given.outlines, strict=True):
        features += [_annotation(s, section, given.zones) for s in shapes]
    texts = (_BETWEEN + json.dumps(_coloured(features, f)).encode() for f in features)
    _write(slide_path(folder, slide.name, ".geojson"), texts, given.notes)
    measured = [(view, section_cells(s, view, given.config)) for s, view in zip(slide.sections, given.views, strict=True)]
    cells = [(view, rows) for view, rows in measured if rows is not None]
    if cells:
        pieces = ((view, rows.iloc[i : i + ROWS], i) for view, rows in cells for i in range(0, len(rows), ROWS))
        texts = (_detections(rows, i, view) for view, rows, i in pieces)
        _write(slide_path(folder, slide.name, "_cells.geojson"), texts, given.notes)
    return ["a .geojson that is edited in QuPath goes into corrections/ as it is: `lesion`, `white matter` and `exclude` are read"]


_BETWEEN = b",\n"


def _write(path: Path, features: Iterable[bytes], notes: Sequence[str]) -> None:
    """Write a collection of features, which come in pieces; each of them begins with what stands between two."""
    with path.open("wb") as file:
        head = json.dumps(notes, ensure_ascii=False)
        file.write(f'{{"type":"FeatureCollection","sevhisto":{head},"features":[\n'.encode())
        for i, piece in enumerate(features):
            file.write(piece if i else memoryview(piece)[len(_BETWEEN) :])
        file.write(b"\n]}\n")


def _annotation(shape: Shape, section: PlacedSection, zones: ZoneFacts) -> dict[str, Any]:
    facts = zones.get((section.animal, section.section, section.panel, zone_of(shape.name)), {})
    told = {"name": printable(f"{section.animal} {section.section}"), "isLocked": shape.name.partition(":")[0] == "sevhisto"}
    return _feature(shape, {**told, "measurements": facts})


def _feature(shape: Shape, told: dict[str, Any]) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in polygon] for polygon in shape.polygons]
    one = len(polygons) == 1
    geometry = {"type": "Polygon", "coordinates": polygons[0]} if one else {"type": "MultiPolygon", "coordinates": polygons}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"objectType": "annotation", "classification": {"name": shape.name}, **told},
    }


def _closed(ring: DoubleArray) -> list[list[float]]:
    points = np.round(ring[:, ::-1], DECIMALS)
    found: list[list[float]] = np.concatenate([points, points[:1]]).tolist()
    return found


def _coloured(features: list[dict[str, Any]], feature: dict[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys(f["properties"]["classification"]["name"] for f in features)
    kind = feature["properties"]["classification"]
    kind["color"] = list(colours(names)[kind["name"]])
    return feature


def _detections(rows: pd.DataFrame, first: int, view: SectionView) -> bytes:
    """Return one JSON feature per cell: outline, measurements, and the markers it is positive for as its class.

    `first` : which cell of the section the first row is. QuPath reads the class ``CD68: CD206`` as a cell that is both.
    """
    um, markers, corner = float(view.meta["um_per_px"]), view.markers, view.meta["corner_px"]
    centres = rows[["y_um", "x_um"]].to_numpy(np.float64) / um + np.asarray(corner, np.float64)
    areas = rows["area_um2"].to_numpy(np.float64) / um**2
    assert view.outlines is not None  # of every section with cells
    ring = polygon_texts(view.outlines, slice(first, first + len(rows)), corner, centres, areas)
    columns = [c for c in map(str, rows) if c in _CELL_FACTS or (c.rpartition("_")[0] in markers and c.endswith(("_nucleus", "_ring")))]
    facts = [joined(f"{json.dumps(c)}:", six_digits(rows[c].to_numpy(np.float64))) for c in columns]
    features = joined(
        '{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[',
        ring,
        ']]},"properties":{"objectType":"detection",',
        _classes(rows, [m for m in markers if f"{m}_positive" in rows]),
        '"measurements":{',
        joined(*facts, between=",", skip=True),
        "}}}",
    )
    return text_bytes(joined(_BETWEEN.decode(), features))


def _classes(rows: pd.DataFrame, decided: Sequence[str]) -> pa.Array:
    """Return the class of each cell as a member of its properties, empty where it is positive for nothing; there are few of them."""
    code = sum((rows[f"{m}_positive"].to_numpy(np.int64) << i for i, m in enumerate(decided)), np.zeros(len(rows), np.int64))
    every, of_cell = np.unique(code, return_inverse=True)
    names = [": ".join(m for i, m in enumerate(decided) if kind >> i & 1) for kind in every.tolist()]
    return pa.array([f'"classification":{{"name":{json.dumps(n)}}},' if n else "" for n in names]).take(pa.array(of_cell.ravel()))
