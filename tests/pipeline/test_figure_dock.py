"""What the window shows becomes a figure, with the stamps of its study."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sevhisto_napari.layers import image_layers
from sevhisto_napari.view_layers import Field, view_of, whole_field

components = pytest.importorskip("napari.components", reason="napari is not installed")


def model(image, um=2.0):
    viewer = components.ViewerModel()
    for data, kwargs, kind in image_layers(image, ["GFAP", "DAPI"][: len(image)], um):
        viewer._add_layer_from_data(data, kwargs, kind)
    return viewer


def test_layers_become_a_view_with_their_contrast_and_colours():
    viewer = model(np.arange(2 * 20 * 30, dtype=np.uint16).reshape(2, 20, 30))
    field = whole_field(viewer.layers)
    assert field == Field(-1, 39, -1, 59)
    viewer.layers["DAPI"].visible = False
    viewer.layers["GFAP"].contrast_limits = (10, 400)
    (shown,) = view_of(viewer.layers, field).channels
    assert shown.name == "GFAP" and shown.limits == (10, 400) and tuple(shown.colours[-1]) == (0, 1, 0)
    labels = np.zeros((20, 30), np.uint8)
    labels[3:6, 4:9], labels[15:, 25:] = 1, 2
    viewer.add_labels(labels, name="zones", scale=(2, 2), units=("um", "um"), axis_labels=("y", "x"))
    part = view_of(viewer.layers, Field(0, 20, 0, 30))
    assert [o.name for o in part.outlines] == ["zones"] and part.outlines[0].filled  # the other label lies elsewhere


def test_of_several_resolutions_the_finest_that_is_needed_is_read(monkeypatch):
    monkeypatch.setattr("sevhisto_napari.view_layers.FINE_PX", 25)
    fine = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    viewer = components.ViewerModel()
    viewer.add_image([fine, fine[::2, ::2], fine[::4, ::4]], name="GFAP", multiscale=True, scale=(0.5, 0.5))
    whole, part = (view_of(viewer.layers, f).channels[0].plane for f in (whole_field(viewer.layers), Field(8, 16, 8, 16)))
    assert (whole.um_per_px, part.um_per_px) == (2.0, 0.5)
    assert whole.corner_um == (0.75, 0.75)
    np.testing.assert_array_equal(part.values, fine[16:34, 16:34])
    assert part.corner_um == (8.0, 8.0)


@pytest.mark.gui
def test_the_dock_saves_what_is_shown(study, window, tmp_path):
    from sevhisto_napari.figure_dock import DRAWN, WHOLE, FigureDock
    from sevhisto_napari.review import ReviewDock

    dock = FigureDock(window)
    window.window.add_dock_widget(dock, name="Figure")
    assert not dock.save_to([tmp_path / "a.png"]) and "shows no image" in dock.message.text()
    study.edit("[study]\n", "[study]\nblind = false\n")
    review = ReviewDock(window, study.root)
    dock.inset.setCurrentText(WHOLE)
    assert dock.save_to([tmp_path / "a.png", tmp_path / "a.svg"]), dock.message.text()
    with Image.open(tmp_path / "a.png") as image:
        assert abs(image.width - 1003) <= 2 and len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    text = (tmp_path / "a.svg").read_text("utf-8")
    assert "not blinded" in text and "GFAP" in text and "µm" in text
    dock.inset.setCurrentText(DRAWN)
    assert not dock.save_to([tmp_path / "b.png"]) and "no place yet" in dock.message.text()
    layer = window.layers["place of the inset"]
    at = whole_field(window.layers)
    layer.add_rectangles([[at.y0 + 100, at.x0 + 100], [at.y0 + 200, at.x0 + 250]])
    dock.preview()
    assert not dock.picture.pixmap().isNull() and "As it will be" in dock.message.text()
    review.deleteLater()
