"""QuPath: GeoJSON with lesion, zones and drawn areas of each slide, and its cells with their measurements."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.export.given import Given, PlacedSection, cell_limits, formats, section_cells
from sevhisto.export.regions import colours, section_shapes, zone_of
from sevhisto.export.text import printable, slide_path
from sevhisto.rings import Shape
from sevhisto.types import DoubleArray

DECIMALS = 3
CORNERS = 8
_TURN = 2 * np.pi * (np.arange(CORNERS) + 0.5) / CORNERS
_UNIT_CIRCLE = np.column_stack([np.cos(_TURN), np.sin(_TURN)]) / math.sqrt(CORNERS / 2 * math.sin(2 * np.pi / CORNERS))
"""Corners (x, y) of a regular polygon of area 1."""
_CELL_FACTS = ("area_um2", "distance_um")


@formats.register("qupath")
def qupath(given: Given, folder: Path) -> list[str]:
    """Write ``<slide>.geojson`` (annotations) and ``<slide>_cells.geojson`` (detections) for each slide, in full-resolution pixels.

    Cells are polygons of eight corners around the nucleus's centre, with its area: the outline of nuclei is not kept.
    """
    limits = cell_limits(given)
    zones = _zone_facts(given)
    for slide in given.slides:
        annotations: list[dict[str, Any]] = [_feature(s, {"name": "drawn"}) for s in slide.drawn]
        cells: list[str] = []
        for section in slide.sections:
            view = section.load()
            annotations += [_annotation(s, section, zones) for s in section_shapes(view, given.config)]
            rows = section_cells(given, section, view, limits)
            if rows is not None:
                cells += _detections(rows, view.markers, view.meta)
        notes = json.dumps(given.notes(), ensure_ascii=False)
        _write(slide_path(folder, slide.name, ".geojson"), (json.dumps(_coloured(annotations, a)) for a in annotations), notes)
        if cells:
            _write(slide_path(folder, slide.name, "_cells.geojson"), iter(cells), notes)
    return ["a .geojson that is edited in QuPath goes into corrections/ as it is: `lesion`, `white matter` and `exclude` are read"]


def _write(path: Path, features: Iterator[str], notes: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"type":"FeatureCollection","sevhisto":{notes},"features":[\n')
        for i, feature in enumerate(features):
            file.write((",\n" if i else "") + feature)
        file.write("\n]}\n")


def _annotation(shape: Shape, section: PlacedSection, zones: Mapping[tuple[str, ...], dict[str, float]]) -> dict[str, Any]:
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


def _zone_facts(given: Given) -> dict[tuple[str, ...], dict[str, float]]:
    """Return what the section table says of each zone: examined area, and per marker positive area, share and cells."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    columns = ["animal", "section", "panel", "zone", "marker", "zone_um2", "positive_um2", "n_cells"]
    for animal, section, panel, zone, marker, area, positive, cells in given.table("sections.csv")[columns].itertuples(index=False):
        facts = found.setdefault((animal, section, panel, zone), {"zone_um2": area})
        told = {"positive_um2": positive, "fraction_pct": 100 * positive / area if area else math.nan, "n_cells": cells}
        facts |= {f"{marker}: {name}": value for name, value in told.items() if value == value}
    return {key: {n: v for n, v in facts.items() if v == v} for key, facts in found.items()}


def _detections(rows: pd.DataFrame, markers: tuple[str, ...], meta: Mapping[str, Any]) -> list[str]:
    """Return one JSON feature per cell: outline, measurements, and the markers it is positive for as its class.

    Cells of one class that lack the same measurements share a template, of which there are few: there are millions of cells.
    """
    um = float(meta["um_per_px"])
    y0, x0 = meta["corner_px"]
    centres = np.stack([rows["x_um"].to_numpy(np.float64) / um + x0, rows["y_um"].to_numpy(np.float64) / um + y0], axis=1)
    radius = np.sqrt(rows["area_um2"].to_numpy(np.float64)) / um
    rings = centres[:, None] + radius[:, None, None] * np.concatenate([_UNIT_CIRCLE, _UNIT_CIRCLE[:1]])
    columns = [c for c in map(str, rows) if c in _CELL_FACTS or (c.rpartition("_")[0] in markers and c.endswith(("_nucleus", "_ring")))]
    values = rows[columns].to_numpy(np.float64)
    shown = [m for m in markers if f"{m}_positive" in rows]
    kinds = np.concatenate([rows[[f"{m}_positive" for m in shown]].to_numpy(bool), np.isnan(values)], axis=1)
    found = np.empty(len(rows), object)
    every, of_cell = np.unique(kinds, axis=0, return_inverse=True)
    for i, kind in enumerate(every):
        which = np.flatnonzero(of_cell.ravel() == i)
        mark, lacking = kind[: len(shown)], kind[len(shown) :]
        known = [c for c, nothing in zip(columns, lacking, strict=True) if not nothing]
        template = _template([m for m, positive in zip(shown, mark, strict=True) if positive], known)
        numbers = np.concatenate([rings[which].reshape(len(which), -1), values[which][:, ~lacking]], axis=1)
        found[which] = [template % tuple(row) for row in numbers.tolist()]
    return list(found)


def _template(positive: list[str], measured: list[str]) -> str:
    """Return a feature with a place for each number; QuPath reads the class ``CD68: CD206`` as a cell that is both."""
    ring = ",".join(["[%.2f,%.2f]"] * (CORNERS + 1))
    kind = f'"classification":{{"name":{_literal(": ".join(positive))}}},' if positive else ""
    facts = ",".join(f"{_literal(name)}:%.6g" for name in measured)
    properties = f'{{"objectType":"detection",{kind}"measurements":{{{facts}}}}}'
    return f'{{"type":"Feature","geometry":{{"type":"Polygon","coordinates":[[{ring}]]}},"properties":{properties}}}'


def _literal(text: str) -> str:
    return json.dumps(text).replace("%", "%%")
