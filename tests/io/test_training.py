from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import roifile

from sevhisto.io.annotations import Outline, outline_mask
from sevhisto.io.training import class_of, class_problems, read_examples

RING = [[10, 10], [40, 10], [40, 30], [10, 30], [10, 10]]


def written(path, *features):
    made = [{"type": "Feature", "geometry": g, "properties": {"classification": {"name": c}} if c else {}} for c, g in features]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": made}))
    return path


def test_areas_lines_and_points_are_examples(tmp_path):
    path = written(
        tmp_path / "a.tif.geojson",
        ("scar", {"type": "Polygon", "coordinates": [RING]}),
        ("vessel", {"type": "LineString", "coordinates": [[5, 50], [45, 50]]}),
        ("vessel", {"type": "MultiLineString", "coordinates": [[[1, 1], [2, 2]], [[3, 3], [4, 9]]]}),
        ("scar", {"type": "MultiPoint", "coordinates": [[60, 60], [70, 60]]}),
        ("scar", {"type": "Point", "coordinates": [60, 20]}),
    )
    examples, problems = read_examples(path, (100, 100))
    assert problems == [] and [e.name for e in examples] == ["scar", "vessel", "vessel", "scar", "scar"]
    areas = [outline_mask([e.outline], (100, 100), 1.0, stroke_px=6.0).sum() for e in examples]
    assert areas[0] == 600
    assert areas[1] == pytest.approx(40 * 6 + np.pi * 9, abs=8)
    assert areas[3] == pytest.approx(2 * np.pi * 9, abs=8) and areas[4] == pytest.approx(np.pi * 9, abs=6)


def test_imagej_lines_keep_their_width_and_numbered_names_are_one_class(tmp_path):
    roi = roifile.ImagejRoi.frompoints(np.array([[5.0, 20.0], [45.0, 20.0]], np.float32), name="vessel-2")
    roi.roitype = roifile.ROI_TYPE.POLYLINE
    roi.stroke_width = 8
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    (example,), problems = read_examples(tmp_path / "a.roi", (60, 60))
    assert problems == [] and (example.name, example.outline.width_px) == ("vessel", 8)
    assert outline_mask([example.outline], (60, 60), 1.0, stroke_px=2.0).sum() == pytest.approx(40 * 8 + np.pi * 16, abs=12)
    assert class_of("scar-12", True) == "scar" and class_of("grade-2", False) == "grade-2"
    assert class_of("0123-0456", True) == "" and class_of("0001-0123-0456", True) == "" and class_of("  big  scar ", False) == "big scar"


def test_everything_that_is_wrong_is_said(tmp_path):
    path = written(
        tmp_path / "a.geojson",
        ("", {"type": "Polygon", "coordinates": [RING]}),
        ("scar", {"type": "Polygon", "coordinates": [[[200, 5], [220, 5], [220, 9], [200, 5]]]}),
        ("scar", {"type": "Point", "coordinates": [-4, 5]}),
        ("scar", {"type": "Polygon", "coordinates": [[[90, 5], [220, 5], [220, 9], [90, 5]]]}),
    )
    examples, problems = read_examples(path, (100, 100))
    assert [p.where for p in problems] == [f"training/a.geojson, outline {i}" for i in (1, 2, 3)]
    assert "has no class" in problems[0].what and "lies outside the slide" in problems[1].what and len(examples) == 1
    (tmp_path / "b.geojson").write_text("{")
    assert read_examples(tmp_path / "b.geojson", (9, 9))[1][0].where == "training/b.geojson"
    assert "one class only, 'scar'" in class_problems({"scar"}, "B")[0].what
    assert "no outline" in class_problems([], "B")[0].what and class_problems({"a", "b"}, "B") == []


def test_a_line_covers_what_is_within_half_its_width():
    line = np.array([[10.2, 5.7], [30.4, 41.3], [12.0, 50.0]])
    mask = outline_mask([Outline("", [], [], [line])], (45, 60), 1.0, stroke_px=7.0)
    y, x = np.mgrid[:45, :60] + 0.5
    distance = np.full(y.shape, np.inf)
    for a, b in itertools.pairwise(line):
        t = np.clip(((y - a[0]) * (b - a)[0] + (x - a[1]) * (b - a)[1]) / ((b - a) ** 2).sum(), 0, 1)
        distance = np.minimum(distance, np.hypot(y - a[0] - t * (b - a)[0], x - a[1] - t * (b - a)[1]))
    assert np.array_equal(mask, distance <= 3.5)
    assert not outline_mask([Outline("", [], [], [line])], (45, 60), 1.0).any()
