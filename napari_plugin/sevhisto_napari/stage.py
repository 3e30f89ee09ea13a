"""The layers of one section at a time: the next section takes over what can stay, and what a person hid stays hidden. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sevhisto.pipeline.reviewing import Review, compartments
from sevhisto.types import SectionRecord
from sevhisto_napari.layers import LayerData
from sevhisto_napari.record_layers import cell_layer, channel_layers, fault_layer, outline_layers, positive_layer

if TYPE_CHECKING:
    from napari.components import ViewerModel

MINE = "sevhisto"
"""Marks the layers that are ours to exchange."""


def section_layers(review: Review, i: int, record: SectionRecord, contrast: dict[str, tuple[float, float]]) -> list[LayerData]:
    """Return every layer of the section in row i of the queue, from the bottom up."""
    panel = str(review.queue["panel"].iloc[i])
    thresholds = {m: t for m, t in review.applied(i).items() if t == t}  # NaN: no threshold
    nuclear = record.meta["nuclear_marker"]
    layers = channel_layers(record, contrast)
    layers += [positive_layer(record, m, thresholds[m]) for m in record.markers if m in thresholds and m != nuclear]
    layers += [fault_layer(record), *outline_layers(record, review.config.zones.edges_um)]
    cells = {m: t for m, t in review.applied(i, "cell_threshold").items() if t == t}
    return [*layers, cell_layer(record, cells, compartments(review.config, panel))]


def put_layers(viewer: ViewerModel, layers: Sequence[LayerData]) -> None:
    """Show these layers instead of those that this function put there before; layers of other origin stay.

    A layer of the same name and kind gets the new data: taking layers out of a window takes half a second each.
    """
    wanted = {kwargs["name"]: kind for _, kwargs, kind in layers}
    for layer in [x for x in viewer.layers if x.metadata.get(MINE) and wanted.get(x.name) != x._type_string]:
        viewer.layers.remove(layer)
    for data, kwargs, kind in layers:
        if kwargs["name"] in viewer.layers and viewer.layers[kwargs["name"]].metadata.get(MINE):
            _exchange(viewer.layers[kwargs["name"]], data, kwargs)
            continue
        more = {**kwargs, "metadata": {**kwargs.get("metadata", {}), MINE: True}}
        (added,) = viewer._add_layer_from_data(data, more, kind)
        if "contour" in more["metadata"]:
            added.contour = more["metadata"]["contour"]
    for at, name in enumerate(wanted):
        if viewer.layers.index(name) != at:
            viewer.layers.move(viewer.layers.index(name), at)


def _exchange(layer: Any, data: Any, kwargs: dict[str, Any]) -> None:
    if layer._type_string == "points":
        layer.data = data[:0]  # else the new features would belong to the old points for a moment
        layer.data, layer.features = data, kwargs["features"]
        layer.face_color = kwargs["face_color"]
    else:
        layer.data = data
    layer.scale, layer.translate = kwargs["scale"], kwargs.get("translate", (0.0, 0.0))
    if "contrast_limits" in kwargs and tuple(layer.contrast_limits) != tuple(kwargs["contrast_limits"]):
        layer.contrast_limits = kwargs["contrast_limits"]
