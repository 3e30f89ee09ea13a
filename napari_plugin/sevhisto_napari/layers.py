"""Pixels and outlines to napari layer data: pure, without napari or Qt.

napari draws in (row, column) with pixel centres at whole numbers; outlines elsewhere in sevhisto are (x, y). Every layer carries its
unit, else napari warns of inconsistent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sevhisto.types import AnyArray, DoubleArray

LayerData = tuple[Any, dict[str, Any], str]
"""Data, keyword arguments of the layer, and its type; what napari calls a layer data tuple."""

_COLOURS = {
    "dapi": "blue",
    "gfap": "green",
    "cd68": "magenta",
    "cd206": "yellow",
    "fibronectin": "cyan",
    "collagen_i": "red",
    "collagen_v": "bop orange",
    "sev": "bop purple",
    "af": "gray",
}
_OTHER_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_SHOWN_PERCENTILES = (1.0, 99.8)


def colormap_of(marker: str, position: int) -> str:
    """Return a marker's colormap: the same in every image for a known marker, by `position` among the channels for another."""
    return _COLOURS.get(marker.casefold(), _OTHER_COLOURS[position % len(_OTHER_COLOURS)])


def contrast_limits(plane: AnyArray) -> tuple[float, float]:
    """Return display limits (grey levels) of one channel from its 1st and 99.8th percentile; they change nothing that is measured."""
    low, high = np.percentile(plane[::4, ::4], _SHOWN_PERCENTILES)
    return float(low), float(max(high, low + 1))


def image_layers(image: AnyArray, markers: Sequence[str], um_per_px: float) -> list[LayerData]:
    """Return one additive image layer per channel, in micrometres.

    Parameters
    ----------
    image : (len(markers), height, width), any real dtype
    markers : marker of each channel
    um_per_px : pixel size in um

    Raises
    ------
    ValueError
        where the number of channels and of markers differ.
    """
    return [
        (
            plane,
            {
                "name": marker,
                "colormap": colormap_of(marker, i),
                "blending": "additive",
                "contrast_limits": contrast_limits(plane),
                **place(um_per_px),
            },
            "image",
        )
        for i, (plane, marker) in enumerate(zip(image, markers, strict=True))
    ]


def outline_layer(outlines: Sequence[DoubleArray], um_per_px: float, name: str) -> LayerData:
    """Return a shapes layer of closed outlines, unfilled, 8 um wide.

    Parameters
    ----------
    outlines : each (n, 2), x and y in pixels
    um_per_px : pixel size in um
    name : of the layer
    """
    return (
        [outline[:, ::-1] for outline in outlines],
        {
            "name": name,
            "shape_type": "polygon",
            "edge_color": "white",
            "face_color": "transparent",
            "edge_width": 8.0 / um_per_px,
            **place(um_per_px),
        },
        "shapes",
    )


def place(um_per_px: float) -> dict[str, Any]:
    """Return scale, unit and axes of a layer whose pixels are `um_per_px` um."""
    return {"scale": (um_per_px, um_per_px), "units": ("um", "um"), "axis_labels": ("y", "x")}
