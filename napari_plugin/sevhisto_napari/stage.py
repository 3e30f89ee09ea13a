"""The layers of one section at a time: the next section takes over what can stay, and what a person hid stays hidden. No Qt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from sevhisto.decide.shown import positive_code
from sevhisto.pipeline.reviewing import Review, compartments
from sevhisto.types import Shown, examined
from sevhisto_napari.layers import LayerData
from sevhisto_napari.record_layers import (
    cell_layer,
    channel_layers,
    fault_layer,
    outline_layers,
    positive_layer,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

MINE = "sevhisto"
"""Marks the layers that are ours to exchange."""


def section_layers(review: Review, i: int, record: Shown, contrast: dict[str, tuple[float, float]]) -> list[LayerData]:
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
    with _extent_once(viewer):
        _put(viewer, layers)
    for at, name in enumerate(wanted):
        if viewer.layers.index(name) != at:
            viewer.layers.move(viewer.layers.index(name), at)


@contextmanager
def _extent_once(viewer: ViewerModel) -> Iterator[None]:
    """Let the viewer look at the extent of its layers once, and not after each of fifty small changes: that took most of the time."""
    look = getattr(viewer, "_on_layers_change", None)  # not public: without it all is as before, and slower
    with ExitStack() as stack:
        for layer in viewer.layers if look is not None else ():
            for name in ("data", "scale", "translate"):
                stack.enter_context(getattr(layer.events, name).blocker(look))
        yield
    if look is not None:
        look()


def real(viewer: Any) -> Any:
    """Return the viewer behind what napari hands to a plugin's dock."""
    return getattr(viewer, "__wrapped__", viewer)


def show_scale_bar(viewer: Any) -> None:
    """Show the scale bar, wherever this napari keeps it."""
    overlays = getattr(getattr(viewer, "canvas", None), "overlays", None)
    (viewer if overlays is None else overlays).scale_bar.visible = True


def _put(viewer: ViewerModel, layers: Sequence[LayerData]) -> None:
    for data, kwargs, kind in layers:
        if kwargs["name"] in viewer.layers and viewer.layers[kwargs["name"]].metadata.get(MINE):
            _exchange(viewer.layers[kwargs["name"]], data, kwargs)
            continue
        more = {**kwargs, "metadata": {**kwargs.get("metadata", {}), MINE: True}}
        added = getattr(viewer, f"add_{kind}")(data, **more)
        if "contour" in more["metadata"]:
            added.contour = more["metadata"]["contour"]


class PositiveArea:
    """The layer of a marker's positive area, moved with its threshold: one comparison of bytes a step, and nothing is read.

    Parameters
    ----------
    record : the section shown, whose layers `put_layers` has put there
    """

    def __init__(self, viewer: ViewerModel, record: Shown, marker: str) -> None:
        data, look, kind = positive_layer(record, marker, float("nan"))
        if look["name"] not in viewer.layers:  # the marker had no threshold
            getattr(viewer, f"add_{kind}")(data, **look, metadata={MINE: True})
        self.layer = viewer.layers[look["name"]]
        self._code, self._examined = record.masks["thumbnail"][..., record.marker_index(marker)], examined(record)
        self.layer.visible = True

    def move_to(self, threshold: float) -> None:
        """Show what is positive at a threshold (grey levels)."""
        shown = self.layer.data
        if shown.shape != self._code.shape or not shown.flags.writeable:
            self.layer.data = shown = np.zeros(self._code.shape, np.uint8)
        np.logical_and(self._examined, self._code >= positive_code(threshold), out=shown.view(bool))
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)


def _exchange(layer: Any, data: Any, kwargs: dict[str, Any]) -> None:
    with getattr(layer, "_block_refresh", nullcontext)():  # its outline need not be drawn at the new place before it is the new one
        if tuple(layer.scale) != tuple(kwargs["scale"]):
            layer.scale = kwargs["scale"]
        layer.translate = kwargs.get("translate", (0.0, 0.0))
    if layer._type_string == "points":
        layer.data = data[:0]  # else the new features would belong to the old points for a moment
        layer.data, layer.features = data, kwargs["features"]
        layer.face_color = kwargs["face_color"]
    else:
        layer.data = data
    if "contrast_limits" in kwargs and tuple(layer.contrast_limits) != tuple(kwargs["contrast_limits"]):
        layer.contrast_limits = kwargs["contrast_limits"]
