"""What a person drew in QuPath (GeoJSON) or ImageJ (.roi, .zip): lesion, white matter, excluded areas, and classes to learn from."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.rois import MAX_BYTES, read_rois
from sevhisto.registry import EXCLUSION_REASONS, did_you_mean
from sevhisto.rings import MADE_HERE, check_places, split_holes
from sevhisto.types import BoolArray, DoubleArray, IntArray, Problem, SevhistoError

LESION_NAMES = ("lesion", "lesion core", "core")
NOT_LESION_NAMES = ("not lesion", "no lesion")
"""Taken away again from the lesion outlines that stand before it in the file."""
WHITE_MATTER_NAMES = ("white matter", "spared white matter", "white_matter")
EXCLUDED_NAMES = ("exclude", "excluded", "artefact", "artifact")
"""Names that count, in any case, with or without ImageJ's -1, -2; those that start with "ignore" (QuPath's own class) are excluded areas
too. A reason code can follow an excluded area's name: ``exclude: tissue_damaged``."""
SUFFIXES = (".geojson", ".json", ".roi", ".zip")
PIECE = "sevhisto_piece"
"""Metadata of an outline that belongs to one piece of the slide only; QuPath keeps it."""
MAX_POINTS, _CROSSINGS_AT_ONCE = 200_000, 2**21


@dataclass(frozen=True)
class Outline:
    """One drawn shape.

    Attributes
    ----------
    name : as drawn: QuPath class (or name, where the class says nothing), ImageJ ROI name
    polygons : outer rings, each (n, 2) float64: y, x in full-resolution pixels of the slide, 0 at the corner of the first pixel
    holes : rings that are cut out, likewise
    strokes : lines, likewise; a point is a line of one point
    width_px : of its lines, as drawn; 0 where the file does not say
    drawn_as : what the file calls the shape
    piece : piece of the slide, as in slides.csv, that it is for; 0 where it is for all that it lies on
    """

    name: str
    polygons: list[DoubleArray]
    holes: list[DoubleArray]
    strokes: list[DoubleArray] = field(default_factory=list)
    width_px: float = 0.0
    drawn_as: str = ""
    piece: int = 0

    @property
    def kind(self) -> str:
        """``lesion``, ``not_lesion``, ``white_matter``, ``excluded``, or empty for a name that means nothing here."""
        return kind_of(self.name)

    @property
    def reason(self) -> str:
        """The reason code that stands in the name of an excluded area; empty where none does."""
        return _reason_in(self.name)


def kind_of(name: str) -> str:
    """Return what an outline of this name is: ``lesion``, ``not_lesion``, ``white_matter``, ``excluded`` or empty."""
    plain = _plain(name)
    if plain in LESION_NAMES:
        return "lesion"
    if plain in NOT_LESION_NAMES:
        return "not_lesion"
    if plain in WHITE_MATTER_NAMES:
        return "white_matter"
    named = plain in EXCLUDED_NAMES or plain.startswith("ignore") or bool(_reason_in(name))
    return "excluded" if named else ""


def _plain(name: str) -> str:
    """Return a name without capitals, double blanks, and the -1, -2 by which ImageJ keeps equal names apart."""
    return re.sub(r"-\d+$", "", " ".join(name.casefold().split()))


def _reason_in(name: str) -> str:
    head, _, tail = _plain(name).partition(":")
    code = "_".join(tail.split())
    return code if head.strip() in (*EXCLUDED_NAMES, "ignore") and code in EXCLUSION_REASONS else ""


def outlines_of(outlines: Sequence[Outline], kind: str) -> list[Outline]:
    """Return the outlines of one kind, such as ``lesion``."""
    return [outline for outline in outlines if outline.kind == kind]


def name_problems(outlines: Sequence[Outline], where: str) -> list[Problem]:
    """Return a Problem for each outline whose name means nothing here: it would have no effect, and nobody would notice."""
    known = [*LESION_NAMES, *NOT_LESION_NAMES, *WHITE_MATTER_NAMES, *EXCLUDED_NAMES, "ignore"]
    found = []
    for number, outline in enumerate(outlines, 1):
        if not outline.kind:
            head, colon, tail = outline.name.casefold().partition(":")
            what = f"is named {outline.name!r}, which says neither lesion nor white matter nor excluded" if outline.name else "has no name"
            remedy = did_you_mean(outline.name.casefold(), known)
            if colon and head.strip() in EXCLUDED_NAMES:
                what, remedy = (
                    f"is named {outline.name!r}, and {tail.strip()!r} is no reason code",
                    did_you_mean(tail.strip(), list(EXCLUSION_REASONS)),
                )
            found.append(Problem(f"{where}, outline {number}", what, remedy))
    if outlines_of(outlines, "not_lesion") and not outlines_of(outlines, "lesion"):
        what = "an outline is named 'not lesion', and none 'lesion' from which it could be taken"
        found.append(Problem(where, what, "draw the lesion too"))
    return found


def read_outlines(path: Path) -> list[Outline]:
    """Return the areas of a file; lines and points without a name that counts are left out (`read_annotations` lists them)."""
    return read_annotations(path)[0]


def read_annotations(path: Path) -> tuple[list[Outline], list[str]]:
    """Read the outlines of one slide.

    Returns
    -------
    outlines : every area; check the names with `name_problems`
    notes : one line for each shape that was left out: it has no area, or the program made it (`sevhisto export`)

    Raises
    ------
    SevhistoError : no such file, damaged, too large, or a lesion or excluded area drawn as a line or point
    """
    outlines, notes = [], []
    for shape in read_shapes(path):
        if shape.name.startswith(MADE_HERE):
            notes.append(f"{path.name}: {shape.name!r} was left out: it is made by the program, from the lesion")
        elif shape.polygons:
            outlines.append(shape)
        elif shape.kind:
            what = f"{shape.name!r} was drawn as a {shape.drawn_as}, which has no area"
            raise SevhistoError(Problem(f"corrections/{path.name}", what, "draw a closed outline"))
        else:
            notes.append(f"{path.name}: {shape.drawn_as} {shape.name!r} was left out: it has no area")
    return outlines, notes


def read_shapes(path: Path, folder: str = "corrections") -> list[Outline]:
    """Read everything drawn on one slide, lines and points too; SevhistoError, which names the folder, where that is not possible."""
    try:
        return _read(path)
    except SevhistoError as error:
        raise SevhistoError([replace(p, where=f"{folder}/{p.where}") for p in error.problems]) from error


def _read(path: Path) -> list[Outline]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise _error(path, f"{suffix or 'this kind of file'} is not read", f"give one of {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _error(path, f"is larger than {MAX_BYTES // 1_000_000} MB", "export annotations only, without detections")
        data = path.read_bytes()
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}", "check the file and its permissions") from error
    return _geojson(path, data) if suffix in (".geojson", ".json") else _imagej(path, data)


def _error(path: Path, what: str, remedy: str) -> SevhistoError:
    return SevhistoError(Problem(path.name, what, remedy))


# ---------------------------------------------------------------- QuPath


def _geojson(path: Path, data: bytes) -> list[Outline]:
    if data.count(b"[") + data.count(b"{") > MAX_POINTS:
        raise _error(path, f"holds more than {MAX_POINTS} points", "simplify the outlines, or export annotations only, without detections")
    try:
        root = json.loads(data.decode("utf-8-sig"))
        return list(outlines_in(root))
    except (ValueError, OverflowError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise _error(path, f"is not valid GeoJSON: {error}", "export it from QuPath again: File, Export objects as GeoJSON") from error


def outlines_in(item: Any) -> Iterator[Outline]:
    """Walk a feature collection, a list of features, one feature or a bare geometry."""
    if isinstance(item, list):
        for one in item:
            yield from outlines_in(one)
    elif item["type"] == "FeatureCollection":
        yield from outlines_in(item["features"])
    elif item["type"] == "Feature":
        properties = item.get("properties") or {}
        if item.get("geometry") and properties.get("objectType", "annotation") == "annotation":  # cells and tiles are no outlines
            piece = int((properties.get("metadata") or {}).get(PIECE, 0))
            yield from (replace(shape, piece=piece) for shape in _shapes(item["geometry"], _qupath_name(properties)))
    else:
        yield from _shapes(item, "")


def _qupath_name(properties: dict[str, Any]) -> str:
    classification = properties.get("classification") or {}
    names = [classification if isinstance(classification, str) else classification.get("name"), properties.get("name")]
    given = [str(name).strip() for name in names if name]
    return next((name for name in given if kind_of(name)), given[0] if given else "")


def _shapes(geometry: dict[str, Any], name: str) -> Iterator[Outline]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _shapes(part, name)
        return
    if kind not in ("Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"):
        raise ValueError(f"unknown geometry {kind!r}")
    if kind.endswith("Polygon"):
        polygons: list[DoubleArray] = []
        holes: list[DoubleArray] = []
        for rings in [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]:
            polygons.append(_ring(rings[0]))
            holes.extend(_ring(ring) for ring in rings[1:])
        yield Outline(name, polygons, holes, drawn_as=kind)
        return
    yield Outline(name, [], [], [_points(line) for line in _lines(kind, geometry["coordinates"])], drawn_as=kind)


def _lines(kind: str, coordinates: Any) -> list[Any]:
    if kind.startswith("Multi"):
        return list(coordinates) if kind == "MultiLineString" else [[p] for p in coordinates]
    return [coordinates] if kind == "LineString" else [[coordinates]]


def _ring(points: Any) -> DoubleArray:
    ring = _points(points)
    if len(ring) < 3:
        raise ValueError(f"an outline of {len(ring)} points has no area")
    return ring


def _points(points: Any) -> DoubleArray:
    """Return (n, 2) y, x of points that GeoJSON gives as x, y."""
    found = np.array([(p[1], p[0]) for p in points], np.float64).reshape(-1, 2)
    check_places(found)
    return found


# ---------------------------------------------------------------- ImageJ


def _imagej(path: Path, data: bytes) -> list[Outline]:
    found = []
    for roi in read_rois(path, data):
        outer, holes = split_holes(roi.rings) if len(roi.rings) > 1 else (roi.rings, [])
        found.append(Outline(roi.name, outer, holes, roi.strokes, roi.width_px, roi.kind))
    return found


# ---------------------------------------------------------------- to a mask


def outline_mask(
    outlines: Sequence[Outline], shape: tuple[int, int], scale: float, origin: tuple[float, float] = (0.0, 0.0), stroke_px: float = 0.0
) -> BoolArray:
    """Return the pixels whose centre lies in any outline, or on a line or point of a width.

    Parameters
    ----------
    outlines : areas, in full-resolution pixels of the slide
    shape : (h, w) of the mask
    scale : full-resolution pixels per mask pixel
    origin : y, x of the mask's corner, in full-resolution pixels
    stroke_px : width of lines that have none of their own; they are not drawn where it is 0 too

    Returns
    -------
    mask : (h, w) bool; rings of one outline fill by the even-odd rule (holes stay open), outlines add up
    """
    mask = np.zeros(shape, bool)
    for outline in outlines:
        parity = np.zeros((shape[0], shape[1] + 1), np.int64)
        for ring in (*outline.polygons, *outline.holes):
            _add_crossings(parity, (ring - np.asarray(origin)) / scale)
        mask |= (np.cumsum(parity, axis=1) % 2 == 1)[:, :-1]
        radius = (outline.width_px if outline.width_px > 1 else stroke_px) / 2 / scale  # 1 is ImageJ's line without a width
        for stroke in outline.strokes if radius else []:
            _draw(mask, (stroke - np.asarray(origin)) / scale - 0.5, radius)
    return mask


def _draw(mask: BoolArray, line: DoubleArray, radius: float) -> None:
    """Set the pixels whose centre (a whole number) is at most `radius` from a line of one point or more."""
    for a, b in itertools.pairwise(line) if len(line) > 1 else [(line[0], line[0])]:
        low = np.clip(np.ceil(np.minimum(a, b) - radius), 0, mask.shape).astype(int)
        high = np.clip(np.floor(np.maximum(a, b) + radius) + 1, low, mask.shape).astype(int)
        y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
        along, length = b - a, float(((b - a) ** 2).sum())
        share = np.clip(((y - a[0]) * along[0] + (x - a[1]) * along[1]) / length, 0, 1) if length else 0.0
        near = (y - a[0] - share * along[0]) ** 2 + (x - a[1] - share * along[1]) ** 2 <= radius**2
        mask[low[0] : high[0], low[1] : high[1]] |= near


def _add_crossings(parity: IntArray, ring: DoubleArray) -> None:
    """Add 1 at each pixel from which on a row of pixel centres lies on the other side of the ring."""
    height, width = parity.shape
    a, b = ring, np.roll(ring, -1, axis=0)
    low, high = np.minimum(a[:, 0], b[:, 0]), np.maximum(a[:, 0], b[:, 0])
    # rows r with low <= r + 0.5 < high: half open, so that a shared corner counts once
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64)
    n = last - first
    parts = np.flatnonzero(np.diff(np.cumsum(n) // _CROSSINGS_AT_ONCE)) + 1  # long outlines in parts: what memory takes is bounded
    for some in np.split(np.arange(len(ring)), parts):
        edge = np.repeat(some, n[some])
        row = np.arange(n[some].sum()) - np.repeat(np.cumsum(n[some]) - n[some], n[some]) + first[edge]
        slope = (b[edge, 1] - a[edge, 1]) / (b[edge, 0] - a[edge, 0])
        x = a[edge, 1] + (row + 0.5 - a[edge, 0]) * slope
        column = np.clip(np.ceil(x - 0.5), 0, width - 1).astype(np.int64)
        np.add.at(parity, (row, column), 1)
