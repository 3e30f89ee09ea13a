"""The plugin's reader: lazy planes that behave like arrays, in micrometres, of several resolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from npe2 import PluginManifest

from sevhisto.io.slides import open_slide, readers
from sevhisto.types import SlideError
from sevhisto_napari.slide_reader import napari_get_reader, read_slide

IMAGE = (np.arange(2 * 60 * 80) % 65521).astype(np.uint16).reshape(2, 60, 80)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "r1.ome.tif"
    meta = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": ["DAPI", "CD68"]}}
    with tifffile.TiffWriter(path, ome=True) as out:
        out.write(IMAGE, subifds=1, tile=(32, 32), metadata=meta)
        out.write(IMAGE[:, ::2, ::2], subfiletype=1, tile=(32, 32))
    return path


@given(rows=st.integers(-60, 59) | st.slices(60), columns=st.slices(80))
def test_parts_are_those_of_the_array(slide: Path, rows: object, columns: slice) -> None:
    levels = read_slide(str(slide))[1][0]
    np.testing.assert_array_equal(levels[0][rows, columns], IMAGE[1][rows, columns])
    np.testing.assert_array_equal(
        levels[1][rows if isinstance(rows, slice) else 0], IMAGE[1, ::2, ::2][rows if isinstance(rows, slice) else 0]
    )


def test_layers_are_lazy_in_micrometres_and_named_by_channel(slide: Path) -> None:
    layers = read_slide(str(slide))
    assert [kwargs["name"] for _, kwargs, _ in layers] == ["DAPI", "CD68"]
    assert all(kwargs["scale"] == (0.5, 0.5) and kwargs["units"] == ("um", "um") and kwargs["multiscale"] for _, kwargs, _ in layers)
    assert [level.shape for level in layers[0][0]] == [(60, 80), (30, 40)]
    assert not isinstance(layers[0][0][0], np.ndarray)


def test_a_large_slide_without_smaller_copies_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sevhisto_napari.slide_reader.LARGE_PX", 1000)
    monkeypatch.setattr("sevhisto_napari.slide_reader.OVERVIEW_SIDE_PX", 20)
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[0], resolution=(20000, 20000), resolutionunit="CENTIMETER")
    planes = read_slide(str(tmp_path / "a.tif"))[0][0]
    assert [p.shape for p in planes] == [(60, 80), (15, 20)]
    expected = IMAGE[0].reshape(15, 4, 20, 4).mean((1, 3))
    np.testing.assert_allclose(planes[1], expected, atol=0.51)


def test_a_picture_in_colour_is_one_layer(tmp_path: Path) -> None:
    colour = np.zeros((40, 50, 3), np.uint8)
    colour[..., 0] = 200
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER")
    ((plane, kwargs, kind),) = read_slide(str(tmp_path / "c.tif"))
    assert (kind, kwargs["rgb"], plane.shape) == ("image", True, (40, 50, 3))
    np.testing.assert_array_equal(plane[3:5, 7], colour[3:5, 7])


def test_without_a_pixel_size_the_layer_says_pixels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "n.tif", IMAGE[0])
    ((_, kwargs, _),) = read_slide(str(tmp_path / "n.tif"))
    assert kwargs["units"] == ("pixel", "pixel") and kwargs["scale"] == (1.0, 1.0)


def test_what_is_no_slide_is_left_to_others_and_damage_is_told(tmp_path: Path) -> None:
    assert napari_get_reader("notes.txt") is None
    assert napari_get_reader(["a.tif", "b.tif"]) is None
    assert all(napari_get_reader(f"slide{suffix}") is read_slide for suffix in readers)
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    with pytest.raises(SlideError, match=r"broken\.tif"):
        read_slide(str(tmp_path / "broken.tif"))


def test_napari_shows_it_through_the_manifest(slide: Path, npe2pm: Any) -> None:
    components = pytest.importorskip("napari.components", reason="napari is not installed")
    npe2pm.register(PluginManifest.from_distribution("sevhisto"))
    viewer = components.ViewerModel()
    viewer.open(slide, plugin="sevhisto")
    assert [layer.name for layer in viewer.layers] == ["DAPI", "CD68"]
    assert all(layer.multiscale and str(layer.units[0]) == "micrometer" for layer in viewer.layers)
    with open_slide(slide) as opened:
        assert tuple(viewer.layers[0].extent.world[1]) == pytest.approx(tuple(opened.um_per_px * (n - 1) for n in opened.shape))
