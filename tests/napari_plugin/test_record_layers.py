"""A record's layers: where they lie, what they show, and that napari takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sevhisto.decide.shown import positive_mask
from sevhisto.types import N_DISTANCE, N_INTENSITY, SectionRecord, encode_thumbnail
from sevhisto_napari.record_layers import (
    NO_CORE,
    cell_layer,
    channel_layers,
    fault_layer,
    outline_layers,
    overview_place,
    positive_layer,
)
from sevhisto_napari.stage import put_layers

UM, FACTOR, CORNER = 0.5, 8, (1000, 2000)


@pytest.fixture
def record() -> SectionRecord:
    """A square section of 60 x 80 overview pixels (4 um) with a square core; CD68 is bright in the core's upper half."""
    h, w = 60, 80
    masks: dict[str, Any] = {n: np.zeros((h, w), np.uint8) for n in ("tissue", "cavity", "masked", "core", "faults")}
    masks["tissue"][5:55, 5:75] = 1
    masks["core"][20:40, 30:50] = 1
    masks["cavity"][28:32, 38:42] = 1
    masks["masked"][10:14, 60:70] = 1
    masks["faults"][10:14, 60:65] = 3
    y, x = np.mgrid[:h, :w]
    outside = np.maximum(np.maximum(20 - y, y - 39), np.maximum(30 - x, x - 49))
    masks["distance"] = (4 * outside).astype(np.int16)
    cd68 = np.zeros((h, w), np.float32)
    cd68[20:30, 30:50] = 300
    masks["thumbnail"] = encode_thumbnail(np.stack([np.full((h, w), 50, np.float32), cd68], axis=-1))
    counts = np.zeros((2, 2, N_DISTANCE, N_INTENSITY), np.int64)
    px = np.zeros((2, N_DISTANCE), np.int64)
    cells = {
        "y_um": np.array([80.0, 200.0], np.float32),
        "x_um": np.array([130.0, 40.0], np.float32),
        "CD68_ring": np.array([290.0, 3.0], np.float32),
        "CD68_nucleus": np.array([0.0, 0.0], np.float32),
    }
    meta = {"um_per_px": UM, "overview_factor": FACTOR, "overview_um": UM * FACTOR, "corner_px": list(CORNER), "nuclear_marker": "DAPI"}
    return SectionRecord(meta, ("DAPI", "CD68"), counts, counts.copy(), px, px.copy(), cells=cells, masks=masks)


def everything(record: SectionRecord) -> list[Any]:
    contrast = {"DAPI": (0.0, 100.0), "CD68": (0.0, 400.0)}
    layers = [*channel_layers(record, contrast), *outline_layers(record, (0, 40, 80)), fault_layer(record)]
    return [*layers, positive_layer(record, "CD68", 100.0), cell_layer(record, {"CD68": 100.0}, {})]


def test_an_overview_pixel_lies_over_its_pixels_of_the_slide(record: SectionRecord) -> None:
    where = overview_place(record)
    first = np.array(where["translate"])  # its middle; that of the slide's pixel (y, x) is (y, x) * um
    pixels = [(CORNER[0] + i) * UM for i in range(FACTOR)]
    assert first[0] == pytest.approx(np.mean(pixels)) and where["scale"] == (UM * FACTOR, UM * FACTOR)


def test_zones_are_numbered_from_the_core_outwards_and_empty_without_one(record: SectionRecord) -> None:
    layers = {kwargs["name"]: data for data, kwargs, _ in outline_layers(record, (0, 40, 80))}
    assert list(layers) == ["tissue", "cavity", "masked", "zones", "core"]
    zones = layers["zones"]
    assert [int((zones == k).sum()) for k in (1, 2)] == [38 * 38, 58 * 50 - 38 * 38]  # nearer than 40 um; than 80, cut off by the tissue
    assert not zones[record.masks["tissue"] == 0].any()
    record.masks["distance"][:] = NO_CORE
    assert not next(data for data, kwargs, _ in outline_layers(record, (0, 40, 80)) if kwargs["name"] == "zones").any()


def test_positive_area_is_what_is_examined_and_bright(record: SectionRecord) -> None:
    mask = positive_mask(record, "CD68", 100.0)
    assert mask.sum() == 10 * 20 - 2 * 4  # the cavity's upper half is not examined
    assert not positive_mask(record, "CD68", float("nan")).any()
    assert positive_layer(record, "CD68", 100.0)[0].sum() == mask.sum()


def test_cells_lie_in_micrometres_of_the_slide_and_are_named_by_what_they_show(record: SectionRecord) -> None:
    where, kwargs, kind = cell_layer(record, {"CD68": 100.0, "DAPI": 1.0}, {})
    assert kind == "points" and where.tolist() == [[580.0, 1130.0], [700.0, 1040.0]]
    assert kwargs["features"]["phenotype"].tolist() == ["CD68+", "none"]
    assert cell_layer(record, {"CD68": 100.0}, {"CD68": "nucleus"})[1]["features"]["phenotype"].tolist() == ["none", "none"]
    record.cells = {}
    assert cell_layer(record, {"CD68": 100.0}, {})[0].shape == (0, 2)


def test_faults_keep_their_names(record: SectionRecord) -> None:
    labels, kwargs, _ = fault_layer(record)
    names = kwargs["metadata"]["labels"]
    assert sorted({names[int(v)] for v in np.unique(labels) if v}) == sorted({"by a person", "folded"})


def test_napari_takes_every_layer(record: SectionRecord) -> None:
    components = pytest.importorskip("napari.components", reason="napari is not installed")
    viewer = components.ViewerModel()
    for layer in everything(record):
        viewer._add_layer_from_data(*layer)
    names = [layer.name for layer in viewer.layers]
    assert names == ["DAPI", "CD68", "tissue", "cavity", "masked", "zones", "core", "masked area", "CD68 positive", "cells"]
    core = viewer.layers["core"]
    y, x = (np.arange(n.start, n.stop) for n in (slice(20, 40), slice(30, 50)))
    middle = core.data_to_world((y.mean(), x.mean()))
    assert middle == pytest.approx(((CORNER[0] + 30 * FACTOR - 0.5) * UM, (CORNER[1] + 40 * FACTOR - 0.5) * UM))


def test_the_next_section_takes_over_the_layers_and_leaves_other_peoples_alone(record: SectionRecord) -> None:
    components = pytest.importorskip("napari.components", reason="napari is not installed")
    viewer = components.ViewerModel()
    notes = viewer.add_points(np.zeros((1, 2)), name="my notes")
    put_layers(viewer, everything(record))
    before = {layer.name: layer for layer in viewer.layers}
    before["cells"].visible, before["zones"].visible = True, False
    record.masks["core"][:] = 0
    record.cells = {}
    put_layers(viewer, everything(record))
    assert {layer.name: layer for layer in viewer.layers} == before and notes in viewer.layers
    assert not viewer.layers["core"].data.any() and len(viewer.layers["cells"].data) == 0
    assert viewer.layers["cells"].visible and not viewer.layers["zones"].visible
    put_layers(viewer, everything(record)[:2])
    assert {layer.name for layer in viewer.layers} == {"DAPI", "CD68", "my notes"}
