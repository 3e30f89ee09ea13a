"""The plugin as napari finds it: its manifest, and the layers that its commands return."""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

from sevhisto_napari.layers import LayerData, colormap_of, contrast_limits, image_layers, outline_layer


@cache
def sample() -> list[LayerData]:
    """What the manifest's sample command returns, found as napari finds it."""
    manifest = PluginManifest.from_distribution("sevhisto")
    contribution = manifest.contributions.sample_data[0]
    command = next(c for c in manifest.contributions.commands if c.id == contribution.command)
    module, _, function = str(command.python_name).partition(":")
    return getattr(importlib.import_module(module), function)()


def test_manifest_is_found_by_the_distribution_name_and_is_valid() -> None:
    manifest = PluginManifest.from_distribution("sevhisto")
    manifest.validate_imports()
    assert manifest.name == "sevhisto"
    assert [s.display_name for s in manifest.contributions.sample_data] == ["Spinal cord section (synthetic)"]


def test_every_command_of_the_manifest_is_named_under_the_plugin() -> None:
    commands = PluginManifest.from_distribution("sevhisto").contributions.commands
    assert commands and all(c.id.startswith("sevhisto.") and c.python_name.startswith("sevhisto_napari.") for c in commands)


def test_sample_has_one_image_per_marker_and_the_core() -> None:
    kinds = [kind for _, _, kind in sample()]
    names = [kwargs["name"] for _, kwargs, _ in sample()]
    assert kinds == ["image"] * (len(kinds) - 1) + ["shapes"]
    assert {"DAPI", "GFAP", "CD68", "CD206"} <= set(names) and len(set(names)) == len(names)


def test_every_layer_is_in_micrometres() -> None:
    scales = {kwargs["scale"] for _, kwargs, _ in sample()}
    assert len(scales) == 1 and all(kwargs["units"] == ("um", "um") for _, kwargs, _ in sample())
    height_um = sample()[0][0].shape[0] * sample()[0][1]["scale"][0]
    assert 1000 < height_um < 3000  # a rat's cord with glass around it


def test_core_outline_lies_on_the_macrophages() -> None:
    """Row and column are not swapped: CD68 is brighter inside the outline than in the rest of the image."""
    images = {kwargs["name"]: data for data, kwargs, _ in sample()}
    polygon = images["lesion core (true)"][0]
    rows, columns = (slice(int(v.min()), int(v.max()) + 1) for v in polygon.T)
    cd68 = images["CD68"].astype(float)
    assert 0 <= rows.start < rows.stop <= cd68.shape[0] and 0 <= columns.start < columns.stop <= cd68.shape[1]
    assert cd68[rows, columns].mean() > 1.5 * cd68.mean()


def test_outline_is_turned_to_row_and_column() -> None:
    (polygon,), kwargs, kind = outline_layer([np.array([[10.0, 1.0], [20.0, 2.0], [15.0, 9.0]])], 0.5, "core")
    assert polygon.tolist() == [[1.0, 10.0], [2.0, 20.0], [9.0, 15.0]]
    assert (kind, kwargs["scale"], kwargs["edge_width"]) == ("shapes", (0.5, 0.5), 16.0)


def test_a_marker_keeps_its_colour_and_unknown_ones_differ() -> None:
    assert colormap_of("DAPI", 0) == colormap_of("dapi", 5) == "blue"
    assert colormap_of("Iba1", 0) != colormap_of("NG2", 1)


def test_contrast_limits_are_apart_even_for_a_constant_channel() -> None:
    low, high = contrast_limits(np.full((8, 8), 7, np.uint16))
    assert (low, high) == (7.0, 8.0)


def test_channels_and_markers_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        image_layers(np.zeros((2, 8, 8), np.uint16), ["DAPI"], 1.0)


def test_converters_load_neither_napari_nor_qt() -> None:
    code = "import sys, sevhisto_napari.sample_data; print(*sorted({'napari', 'qtpy', 'vispy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_napari_takes_the_layers() -> None:
    """With napari's model, which needs no screen."""
    napari_components = pytest.importorskip("napari.components", reason="napari is not installed")
    viewer = napari_components.ViewerModel()
    for layer in sample():
        viewer._add_layer_from_data(*layer)
    assert [layer.name for layer in viewer.layers] == [kwargs["name"] for _, kwargs, _ in sample()]


def test_the_wheel_would_carry_the_manifest() -> None:
    assert (Path(importlib.import_module("sevhisto_napari").__file__ or "").parent / "napari.yaml").is_file()
