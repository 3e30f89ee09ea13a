from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from sevhisto.io.annotations import Outline, name_problems, outline_mask, outlines_of, read_annotations, read_outlines
from sevhisto.types import SevhistoError

SQUARE = [[10, 20], [30, 20], [30, 60], [10, 60], [10, 20]]
HOLE = [[15, 25], [20, 25], [20, 30], [15, 30], [15, 25]]
BIG = ((0, 0), (400, 400))


def feature(geometry: dict[str, Any], name: str = "lesion", how: str = "classification") -> dict[str, Any]:
    properties = {"name": name} if how == "name" else {"objectType": "annotation", "classification": {"name": name}}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def area(outlines: list[Outline], size: int = 400) -> int:
    return int(outline_mask(outlines, (size, size), 1.0).sum())


@pytest.mark.parametrize("how", ["name", "classification"])
@pytest.mark.parametrize("root", ["collection", "list", "feature"])
def test_geojson_roots(tmp_path: Path, how: str, root: str) -> None:
    one = feature(polygon(SQUARE, HOLE), "Lesion", how)
    data: Any = {"collection": {"type": "FeatureCollection", "features": [one]}, "list": [one], "feature": one}[root]
    (tmp_path / "a.geojson").write_text(json.dumps(data))
    (outline,) = read_outlines(tmp_path / "a.geojson")
    assert outline.kind == "lesion" and len(outline.polygons) == 1 and len(outline.holes) == 1
    assert outline.polygons[0][0].tolist() == [20, 10]  # y, x
    assert area([outline]) == 20 * 40 - 5 * 5


def test_bare_and_compound_geometries(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(polygon(SQUARE)))
    (bare,) = read_outlines(path)
    assert bare.name == "" and area([bare]) == 800
    other = [[x + 100, y] for x, y in SQUARE]
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [other]]}
    overlapping = {"type": "GeometryCollection", "geometries": [polygon(SQUARE), polygon(SQUARE), {"type": "Point", "coordinates": [1, 1]}]}
    path.write_text(json.dumps([feature(multi), feature(overlapping, "other")]))
    outlines, notes = read_annotations(path)
    assert area(outlines_of(outlines, "lesion")) == 800 - 25 + 800
    assert area([o for o in outlines if o.name == "other"]) == 800
    assert len(notes) == 1 and "Point" in notes[0]


def test_cells_and_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    cell = feature(polygon(SQUARE))
    cell["properties"]["objectType"] = "cell"
    path.write_text(json.dumps([cell, feature({"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "midline")]))
    outlines, notes = read_annotations(path)
    assert outlines == [] and "midline" in notes[0]
    path.write_text(json.dumps(feature({"type": "LineString", "coordinates": [[0, 0], [9, 9]]}, "Lesion")))
    with pytest.raises(SevhistoError, match="no area"):
        read_outlines(path)


def test_names() -> None:
    ring = [np.array([[0.0, 0], [0, 1], [1, 1]])]
    kinds = {
        "Lesion": "lesion",
        "lesion  CORE": "lesion",
        "Ignore*": "excluded",
        "Artefact": "excluded",
        "Excluded": "excluded",
        "legion": "",
        "": "",
        "Spared White  Matter": "white_matter",
    }
    outlines = [Outline(name, ring, []) for name in kinds]
    assert {o.name: o.kind for o in outlines} == kinds
    problems = name_problems(outlines, "corrections/x.geojson")
    assert ["outline 6" in problems[0].where, "outline 7" in problems[1].where] == [True, True]
    assert problems[0].remedy == "did you mean 'lesion'?"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"type": "Feature"', '{"type": "Circle"}', '{"type":"Polygon","coordinates":[[[0,0],[1,1]]]}', "[" * 100000,
     '{"type":"Polygon","coordinates":[[[0,0],[1,NaN],[3,4]]]}', '{"type":"Polygon","coordinates":[[["a",0],[1,2],[3,4]]]}'],
)  # fmt: skip
def test_damaged_geojson(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(SevhistoError, match=r"corrections/a\.geojson.*not valid GeoJSON"):
        read_outlines(tmp_path / "a.geojson")


def roi(kind: roifile.ROI_TYPE, name: str) -> bytes:
    return roifile.ImagejRoi(roitype=kind, top=20, left=10, bottom=60, right=30, name=name, version=228, n_coordinates=0).tobytes()


def test_imagej_shapes(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    path.write_bytes(roi(roifile.ROI_TYPE.RECT, "lesion"))
    (outline,) = read_outlines(path)
    assert outline.kind == "lesion" and area([outline]) == 800
    path.write_bytes(roi(roifile.ROI_TYPE.OVAL, "core"))
    assert abs(area(read_outlines(path)) - np.pi * 10 * 20) < 6
    points = np.array(SQUARE[:4], np.int32)
    path.write_bytes(roifile.ImagejRoi.frompoints(points, name="exclude").tobytes())
    (outline,) = read_outlines(path)
    assert outline.kind == "excluded" and area([outline]) == 800


def test_imagej_composite_keeps_its_hole(tmp_path: Path) -> None:
    def path_of(ring: list[list[int]]) -> list[float]:
        (x, y), *rest = ring[:4]
        return [0, x, y, *(v for px, py in rest for v in (1, px, py)), 4]

    coordinates = np.array(path_of(SQUARE) + path_of(HOLE), np.float32)
    one = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT, top=20, left=10, bottom=60, right=30, name="lesion", version=228, n_coordinates=0
    )
    one.multi_coordinates = coordinates
    one.shape_roi_size = len(coordinates)
    (tmp_path / "a.roi").write_bytes(one.tobytes())
    (outline,) = read_outlines(tmp_path / "a.roi")
    assert (len(outline.polygons), len(outline.holes)) == (1, 1)
    assert area([outline]) == 775


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_imagej_zip(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", {"../lesion.roi": roi(roifile.ROI_TYPE.RECT, "lesion"), "readme.txt": b"x", "__MACOSX/._lesion.roi": b"x"}
    )
    assert [o.name for o in read_outlines(path)] == ["lesion"]
    for members, why in (
        ({"a.txt": b""}, "no ImageJ outline"),
        ({"a.roi": bytes(5_000_000)}, "more than"),
        ({f"{i}.roi": b"" for i in range(2001)}, "more than"),
        ({"a.roi": b"Iout" + bytes(10)}, "damaged"),
    ):
        with pytest.raises(SevhistoError, match=why):
            read_outlines(zipped(tmp_path / "b.zip", members))
    (tmp_path / "c.zip").write_bytes(b"PK no zip")
    with pytest.raises(SevhistoError, match="not a readable zip"):
        read_outlines(tmp_path / "c.zip")
    with pytest.raises(SevhistoError, match="cannot be read"):
        read_outlines(tmp_path / "none.zip")
    with pytest.raises(SevhistoError, match="is not read"):
        read_outlines(tmp_path / "none.xml")


@given(st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=12))
@settings(max_examples=100, deadline=None)
def test_mask_is_the_even_odd_rule_at_pixel_centres(points: list[tuple[float, float]]) -> None:
    ring = np.array(points).round(2) + 0.001 * np.sin(np.arange(1, 2 * len(points) + 1)).reshape(-1, 2)  # no centre lies on an edge
    ours = outline_mask([Outline("", [ring], [])], (40, 30), 1.0)
    reference = polygon2mask((40, 30), ring - 0.5)
    assert np.array_equal(ours, reference)


def test_mask_scale_origin_and_area() -> None:
    circle = np.column_stack([f(np.linspace(0, 2 * np.pi, 400)) for f in (np.sin, np.cos)]) * 300 + (1000, 2000)
    mask = outline_mask([Outline("lesion", [circle], [])], (100, 90), 8.0, (600, 1640))
    assert abs(mask.sum() * 64 / (np.pi * 300**2) - 1) < 0.005
    y, x = np.argwhere(mask).mean(0)
    assert abs((y + 0.5) * 8 + 600 - 1000) < 1 and abs((x + 0.5) * 8 + 1640 - 2000) < 1
    whole = outline_mask([Outline("", [np.array([[-9.0, -9], [-9, 99], [99, 99], [99, -9]])], [])], (5, 7), 1.0)
    assert whole.all()
    assert not outline_mask([], (5, 7), 1.0).any()


def test_real_qupath_files(shared_data: Path) -> None:
    areas = 0
    for path in sorted((shared_data / "annotations" / "qupath").glob("*.json")):
        outlines, notes = read_annotations(path)
        kind = json.loads(path.read_text())["geometry"]["type"]
        assert bool(outlines) == kind.endswith("Polygon") and bool(notes) != bool(outlines)
        areas += len(outlines)
    assert areas == 5
    (rectangle,) = read_outlines(shared_data / "annotations" / "qupath" / "qupath-rectangle.json")
    assert outline_mask([rectangle], (300, 300), 1.0, (15250, 26200)).sum() == (26478 - 26268) * (15474 - 15298)
    (brush,) = read_outlines(shared_data / "annotations" / "qupath" / "qupath-brush.json")
    y, x = brush.polygons[0].T
    shoelace = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert abs(outline_mask([brush], (600, 600), 1.0, (15200, 26200)).sum() - shoelace) < 0.02 * shoelace
    with pytest.raises(SevhistoError, match="no ImageJ outline"):
        read_outlines(shared_data / "annotations" / "qupath" / "qupath_example_project.zip")


def test_real_imagej_files(shared_data: Path) -> None:
    folder = shared_data / "annotations" / "imagej"
    closed = {p.stem: read_outlines(p) for p in sorted(folder.glob("*.roi"))}
    assert {name: len(found) for name, found in closed.items()} == {
        "ellipse": 1,
        "freehand": 1,
        "multipoint": 0,
        "polygon": 1,
        "polyline": 0,
    }
    freehand = outline_mask(closed["freehand"], (300, 300), 1.0)
    rows, columns = np.nonzero(freehand.any(1))[0], np.nonzero(freehand.any(0))[0]
    bounds = np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1])
    assert np.abs(bounds - (11, 66, 95, 181)).max() <= 1  # the bounds that ImageJ wrote
    assert [o.name for o in read_outlines(folder / "measure_shapes_rois.zip")] == ["1", "2", "3"]


def test_encrypted_zip_is_told(tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "a.zip", {"lesion.roi": roi(roifile.ROI_TYPE.RECT, "lesion")}).read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    assert zipfile.is_zipfile(io.BytesIO(raw))
    with pytest.raises(SevhistoError, match="not a readable zip"):
        read_outlines(tmp_path / "a.zip")


def test_curves_of_a_composite_shape_are_drawn(tmp_path):
    # ImageJ: makeOval(20, 10, 40, 40), shift + makeRectangle(100, 10, 10, 10): the oval is four cubic curves (java.awt.geom.Ellipse2D)
    k = 0.5522847498307933 * 20
    cx, cy, r = 40.0, 30.0, 20.0
    quarter = [(cx + r, cy + k, cx + k, cy + r, cx, cy + r), (cx - k, cy + r, cx - r, cy + k, cx - r, cy)]
    quarter += [(cx - r, cy - k, cx - k, cy - r, cx, cy - r), (cx + k, cy - r, cx + r, cy - k, cx + r, cy)]
    oval = [0.0, cx + r, cy, *(v for q in quarter for v in (3.0, *q)), 4.0]
    box = [0.0, 100, 10, 1.0, 110, 10, 1.0, 110, 20, 1.0, 100, 20, 4.0]
    path = np.array(oval + box, np.float32)
    kind = {"roitype": roifile.ROI_TYPE.RECT, "shape_roi_size": len(path), "multi_coordinates": path}
    (tmp_path / "a.roi").write_bytes(roifile.ImagejRoi(**kind, left=20, top=10, right=110, bottom=50, name="lesion-2").tobytes())
    (outline,) = read_outlines(tmp_path / "a.roi")
    assert outline.kind == "lesion" and len(outline.polygons) == 2
    mask = outline_mask([outline], (60, 120), 1.0)
    assert mask[:, :80].sum() == pytest.approx(np.pi * r**2, rel=0.01) and mask[:, 80:].sum() == 100
    for spoiled in (path[:-2], np.array([9.0], np.float32), np.array([1.0, 2, 3], np.float32)):
        kind |= {"shape_roi_size": len(spoiled), "multi_coordinates": spoiled}
        (tmp_path / "b.roi").write_bytes(roifile.ImagejRoi(**kind, name="lesion").tobytes())
        with pytest.raises(SevhistoError, match="damaged or of an unknown kind"):
            read_outlines(tmp_path / "b.roi")


def test_a_text_on_an_image_is_no_area(tmp_path):
    box = {"left": 1, "top": 1, "right": 50, "bottom": 20, "roitype": roifile.ROI_TYPE.RECT}
    roi = roifile.ImagejRoi(**box, subtype=roifile.ROI_SUBTYPE.TEXT, version=228, name="scale", text="1 mm", text_name="Arial")
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    outlines, notes = read_annotations(tmp_path / "a.roi")
    assert outlines == [] and "no area" in notes[0]


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("lesion-1", "lesion", ""),
        ("White  matter-12", "white_matter", ""),
        ("exclude: tissue_damaged-3", "excluded", "tissue_damaged"),
        ("lesion-x", "", ""),
        ("-1", "", ""),
    ],
)
def test_what_imagej_adds_to_equal_names_does_not_count(name, kind, reason):
    outline = Outline(name, [], [])
    assert (outline.kind, outline.reason) == (kind, reason)


def test_what_the_program_made_is_left_out_in_words(tmp_path):
    ring = [[0, 0], [9, 0], [9, 9], [0, 0]]
    names = ("lesion", "sevhisto: zone 0-250 um", "sevhisto: tissue")
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"classification": {"name": n}}}
        for n in names
    ]
    (tmp_path / "a.geojson").write_text(json.dumps(features), "utf-8")  # a list as root
    outlines, notes = read_annotations(tmp_path / "a.geojson")
    assert [o.name for o in outlines] == ["lesion"] and len(notes) == 2 and "made by the program" in notes[0]
