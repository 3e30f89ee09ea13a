"""Outlines as a layer of polygons and back, with napari's model, which needs no screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.annotations import Outline, read_outlines
from sevhisto.io.outlines import collection_bytes, feature_of
from sevhisto_napari.drawing import DrawnLayer, polygon_of, ring_of

components = pytest.importorskip("napari.components", reason="napari is not installed")
UM = 0.65
RING = np.array([(10.25, 20.5), (10.75, 90.125), (70.3, 80.7), (60.1, 25.9)])


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def drawn(heard: list[str]) -> DrawnLayer:
    return DrawnLayer(components.ViewerModel(), heard.append)


def test_what_is_shown_is_read_back_to_the_last_digit(drawn: DrawnLayer, heard: list[str], tmp_path: Path) -> None:
    shown = [Outline("lesion", [RING], []), Outline("exclude: tissue_damaged", [RING + 200], [])]
    drawn.show(shown, UM)
    assert heard == [] and drawn.layer.scale.tolist() == [UM, UM]
    path = tmp_path / "slide.geojson"
    path.write_bytes(collection_bytes([feature_of(o, 1) for o in drawn.outlines()]))
    back = read_outlines(path)
    assert [o.name for o in back] == ["lesion", "exclude: tissue_damaged"]
    for before, after in zip(shown, back, strict=True):
        assert np.abs(after.polygons[0][:-1] - before.polygons[0]).max() < 0.01
    # napari has the middle of the first pixel at 0, GeoJSON its corner
    assert drawn.layer.data_to_world((0, 0)) == (0.0, 0.0) and np.allclose(drawn.layer.data[0] + 0.5, RING)


def test_what_a_person_draws_gets_the_name_that_was_chosen(drawn: DrawnLayer, heard: list[str]) -> None:
    drawn.begin("lesion", "add_polygon_lasso", UM)
    assert drawn.viewer.layers.selection.active is drawn.layer and str(drawn.layer.mode) == "add_polygon_lasso"
    drawn.layer.add_polygons([RING])
    drawn.begin("not lesion", "add_polygon", UM)
    drawn.layer.add_polygons([RING + 5])
    assert [o.name for o in drawn.outlines()] == ["lesion", "not lesion"] and heard == ["added", "added"]
    drawn.begin("", "direct", UM)
    drawn.layer.data = [drawn.layer.data[0] + 1, drawn.layer.data[1]]
    assert np.allclose(drawn.outlines()[0].polygons[0], RING + 1.5) and heard[-1] == "changed"
    drawn.begin("", "select", UM)
    drawn.layer.selected_data = {0}
    drawn.delete_selected()
    assert [o.name for o in drawn.outlines()] == ["not lesion"] and heard[-1] == "removed"
    drawn.show([], UM)
    assert drawn.outlines() == [] and len(heard) == 4
    drawn.show([Outline("lesion", [RING], [])], UM * 2)
    assert drawn.outlines()[0].name == "lesion" and drawn.layer.scale.tolist() == [2 * UM, 2 * UM]


def test_what_is_drawn_without_a_name_is_lesion(drawn: DrawnLayer) -> None:
    drawn.begin("", "direct", UM)
    drawn.layer.add_polygons([RING])
    assert [o.name for o in drawn.outlines()] == ["lesion"]


def test_a_layer_that_was_deleted_comes_back(drawn: DrawnLayer) -> None:
    drawn.show([Outline("lesion", [RING], [])], UM)
    drawn.viewer.layers.clear()
    drawn.show([Outline("lesion", [RING], [])], UM)
    assert len(drawn.viewer.layers) == 1 and len(drawn.outlines()) == 1


def test_shapes_of_every_kind_become_rings() -> None:
    corners = np.array([(0.0, 0.0), (0.0, 40.0), (20.0, 40.0), (20.0, 0.0)])
    ring = ring_of(corners, "ellipse")
    assert ring is not None
    y, x = (ring - 0.5).T
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    assert area == pytest.approx(np.pi * 20 * 10, rel=0.002)
    assert np.allclose(ring_of(corners, "rectangle"), corners + 0.5) and ring_of(corners[:2], "line") is None
    assert np.allclose(polygon_of(np.vstack([RING, RING[:1]])), RING - 0.5) and np.allclose(polygon_of(RING), RING - 0.5)
