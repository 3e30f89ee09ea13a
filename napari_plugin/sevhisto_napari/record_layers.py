"""A section's record as napari layers: channels, outlines, zones, cells, positive area. Pure, without napari or Qt.

Everything lies in micrometres of the slide, so that the slide's own pixels fit under it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sevhisto.decide.shown import positive_mask
from sevhisto.imaging.quality import FAULT_NAMES
from sevhisto.types import AnyArray, Shown, decode_thumbnail
from sevhisto_napari.layers import LayerData, colormap_of

NO_CORE = 32767
"""Distance of sections without a lesion core."""
LINE_PX = 1
"""Width of an outline in overview pixels."""
_GREY = decode_thumbnail(np.arange(256, dtype=np.uint8))
"""Grey level of each code of a thumbnail: looked up, it takes a fifth of the time."""
OUTLINES = {"tissue": "white", "cavity": "#56B4E9", "masked": "#F0E442", "zones": "#BBBBBB", "core": "#FF9500"}
"""Outlines of a record and their colours, as in the report."""


def overview_place(record: Shown) -> dict[str, Any]:
    """Return scale, corner (um of the slide), unit and axes of what a record holds at overview resolution."""
    um, factor = float(record.meta["um_per_px"]), int(record.meta["overview_factor"])
    corner = tuple((c + (factor - 1) / 2) * um for c in record.meta["corner_px"])
    return {"scale": (um * factor,) * 2, "translate": corner, "units": ("um", "um"), "axis_labels": ("y", "x")}


def channel_layers(record: Shown, contrast: Mapping[str, tuple[float, float]]) -> list[LayerData]:
    """Return the channels of a record's thumbnail, corrected intensity (grey levels); a colour image is shown as it is.

    Parameters
    ----------
    contrast : display range per marker, the same for a whole batch, so that eyes compare like with like (`report.overlay.batch_contrast`)
    """
    where = overview_place(record)
    if "thumbnail_rgb" in record.masks:
        return [(record.masks["thumbnail_rgb"], {"name": "colour", "rgb": True, **where}, "image")]
    return [
        (
            _GREY[record.masks["thumbnail"][..., i]],
            {
                "name": marker,
                "colormap": colormap_of(marker, i),
                "blending": "additive",
                "contrast_limits": contrast[marker],
                **where,
            },
            "image",
        )
        for i, marker in enumerate(record.markers)
    ]


def outline_layers(record: Shown, zones_um: Sequence[float]) -> list[LayerData]:
    """Return tissue, cavity, masked area, zones around the core and the core, one layer of labels each, of which the outline is shown.

    Labels, since their pixels can be exchanged for those of the next section at once; shapes would be made anew.
    """
    parts = {name: (record.masks[name] > 0).astype(np.uint8) for name in OUTLINES if name != "zones"}
    distance = record.masks["distance"]
    zones = 1 + np.searchsorted([edge for edge in zones_um if edge > 0], distance, side="right").astype(np.uint8)
    parts["zones"] = np.where((record.masks["tissue"] > 0) & (distance != NO_CORE), zones, 0).astype(np.uint8)
    return [_outlined(name, parts[name], colour, record) for name, colour in OUTLINES.items()]


def fault_layer(record: Shown) -> LayerData:
    """Return a map of what is masked: 1 by a person, then the faults in the order of `quality.FAULT_NAMES`."""
    codes = record.masks.get("faults", np.zeros_like(record.masks["masked"]))
    labels = np.where(codes > 0, codes.astype(np.int32) + 1, (record.masks["masked"] > 0).astype(np.int32))
    names = {1: "by a person", **{i + 2: name for i, name in enumerate(FAULT_NAMES)}}
    return (
        labels,
        {"name": "masked area", "opacity": 0.5, "visible": False, "metadata": {"labels": names}, **overview_place(record)},
        "labels",
    )


def positive_layer(record: Shown, marker: str, threshold: float) -> LayerData:
    """Return where a marker is positive at overview resolution: to look at, the tables count full-resolution pixels."""
    return positive_mask(record, marker, threshold).astype(np.uint8), _positive_kwargs(record, marker), "labels"


def _positive_kwargs(record: Shown, marker: str) -> dict[str, Any]:
    return {"name": f"{marker} positive", "opacity": 0.5, "visible": False, **overview_place(record)}


def cell_layer(record: Shown, thresholds: Mapping[str, float], compartments: Mapping[str, str]) -> LayerData:
    """Return the cells as points, named by the markers that they are positive for.

    Parameters
    ----------
    thresholds : cell threshold per marker (grey levels); markers without one decide nothing
    compartments : ``either``, ``ring`` or ``nucleus`` per marker, either where not named
    """
    um = float(record.meta["um_per_px"])
    corner = np.array(record.meta["corner_px"], np.float64) * um
    cells = record.cells
    n = len(cells["y_um"]) if cells else 0
    where = np.stack([cells["y_um"], cells["x_um"]], axis=1).astype(np.float64) + corner if n else np.zeros((0, 2))
    kinds = np.full(n, "", object)
    for marker in (m for m in record.markers if m in thresholds and m != record.meta["nuclear_marker"]):
        where_shown = compartments.get(marker, "either")
        parts = ("ring", "nucleus") if where_shown == "either" else (where_shown,)
        if n:
            kinds[np.maximum.reduce([cells[f"{marker}_{part}"] for part in parts]) >= thresholds[marker]] += f"{marker}+ "
    features = {"cell": np.arange(1, n + 1), "phenotype": np.array([k.strip() or "none" for k in kinds], object)}
    look = {"name": "cells", "size": 8.0, "visible": False, "border_width": 0, "face_color": "phenotype", "features": features}
    return where, {**look, "scale": (1.0, 1.0), "units": ("um", "um"), "axis_labels": ("y", "x")}, "points"


def _outlined(name: str, labels: AnyArray, colour: str, record: Shown) -> LayerData:
    look = {"colormap": {None: colour, 0: "transparent"}, "opacity": 1.0, "blending": "translucent", "metadata": {"contour": LINE_PX}}
    return labels, {"name": name, **look, **overview_place(record)}, "labels"
