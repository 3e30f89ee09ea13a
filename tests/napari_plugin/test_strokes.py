"""Strokes of the window and outlines of QuPath are the same, in both directions."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sevhisto.io.annotations import Outline, read_shapes
from sevhisto.io.outlines import collection_bytes, feature_of
from sevhisto.io.training import read_examples
from sevhisto_napari.strokes import shapes_of, strokes_of

POINTS = arrays.arrays(np.float64, st.tuples(st.integers(3, 9), st.just(2)), elements=st.floats(1, 20000), unique=True)


@settings(max_examples=40)
@given(line=POINTS, ring=POINTS, um=st.floats(0.1, 5))
def test_there_and_back_within_a_hundredth_of_a_pixel(tmp_path_factory, line, ring, um):
    drawn = [Outline("scar", [], [], [line]), Outline("other", [ring], [])]
    data, types, names = shapes_of(drawn, um)
    assert types == ["path", "polygon"] and names == ["scar", "other"]
    path = tmp_path_factory.getbasetemp() / "a.geojson"
    path.write_bytes(collection_bytes([feature_of(o) for o in strokes_of(data, types, names, um)]))
    first, second = read_shapes(path)
    np.testing.assert_allclose(first.strokes[0], line, atol=0.01)
    np.testing.assert_allclose(second.polygons[0][: len(ring)], ring, atol=0.01)
    assert [e.name for e in read_examples(path, (30000, 30000))[0]] == ["scar", "other"]


def test_a_pixel_is_at_its_centre_and_other_shapes_become_polygons():
    square = np.array([[0.0, 0], [0, 20], [10, 20], [10, 0]])
    line, box, ellipse = strokes_of([[[0, 0], [0, 4]], square, square], ["line", "rectangle", "ellipse"], ["a", "a", "b"], 2.0)
    assert line.strokes[0].tolist() == [[0.5, 0.5], [0.5, 2.5]] and box.polygons[0][2].tolist() == [5.5, 10.5]
    ring = ellipse.polygons[0]
    assert np.allclose(((ring - [3, 5.5]) / [2.5, 5]) ** 2 @ [1, 1], 1)
    (point,) = strokes_of([[[4, 4], [4, 4]]], ["path"], ["a"], 2.0)
    assert point.strokes[0].tolist() == [[2.5, 2.5]]
    assert json.loads(collection_bytes([feature_of(point)]))["features"][0]["geometry"]["type"] == "MultiPoint"
