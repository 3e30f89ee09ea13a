"""What a person draws on a section, as a layer of polygons: shown from outlines, read back as outlines. No Qt.

Outlines are y, x in pixels of the slide, 0 at the corner of the first pixel; napari has its centre at 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sevhisto.io.annotations import Outline, kind_of
from sevhisto.types import DoubleArray
from sevhisto_napari.layers import place

if TYPE_CHECKING:
    from napari.components import ViewerModel

NAME = "my outlines"
COLOURS = {"lesion": "#FF9500", "not_lesion": "#FF3B30", "white_matter": "#FFFFFF", "excluded": "#F0E442"}
"""Edge colour by kind, as in the outlines of a record."""
UNNAMED = "lesion"
"""What is drawn with napari's own tools, without a button of the page, is."""
WIDTH_UM = 6.0
ELLIPSE_POINTS = 72
_HALF = 0.5
_DONE = ("added", "changed", "removed")


def ring_of(points: DoubleArray, shape: str) -> DoubleArray | None:
    """Return the ring, (n, 2) in pixels of the slide, of a napari shape; None for a line, which has no area."""
    points = np.asarray(points, np.float64)[:, -2:]
    if shape == "ellipse":
        middle, a, b = points.mean(axis=0), (points[1] - points[0]) / 2, (points[3] - points[0]) / 2
        angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
        points = middle + np.cos(angle) * a + np.sin(angle) * b
    return points + _HALF if len(points) >= 3 and shape != "line" else None


def polygon_of(ring: DoubleArray) -> DoubleArray:
    """Return a ring as napari draws it; the inverse of `ring_of` for polygons, without a point that repeats the first."""
    closed = len(ring) > 3 and np.array_equal(ring[0], ring[-1])
    return (ring[:-1] if closed else ring) - _HALF


@dataclass
class DrawnLayer:
    """The layer of what is drawn on the section shown, made when something is shown or drawn first.

    Attributes
    ----------
    changed : is called after a person drew, moved or deleted something, with ``added``, ``changed`` or ``removed``
    """

    viewer: ViewerModel
    changed: Callable[[str], None]
    layer: Any = None
    _before: list[tuple[str, bytes]] = field(default_factory=list)

    def show(self, outlines: Sequence[Outline], um_per_px: float) -> None:
        """Show these outlines, of one ring each, instead of what is there."""
        names = [o.name for o in outlines]
        if self.layer is None or self.layer not in self.viewer.layers:
            if not outlines:
                return
            self._make()
        layer = self.layer
        if not outlines and not len(layer.data):
            return
        with layer.events.data.blocker(), layer.events.features.blocker():
            layer.selected_data = set()
            layer.data = []
            layer.scale = (um_per_px, um_per_px)
            layer.current_edge_width = WIDTH_UM / um_per_px
            if outlines:
                colours = [COLOURS.get(kind_of(name), "white") for name in names]
                polygons = [polygon_of(o.polygons[0]) for o in outlines]
                layer.add(polygons, shape_type="polygon", edge_color=colours, face_color="transparent", edge_width=WIDTH_UM / um_per_px)
            layer.features = pd.DataFrame({"name": np.array(names, object)})
            layer.refresh()
        self._before = self._state()

    def _make(self) -> None:
        look = {"name": NAME, "face_color": "transparent", "features": pd.DataFrame({"name": np.array([], object)})}
        self.layer = self.viewer.add_shapes([], ndim=2, **look, **place(1.0))
        self.layer.events.data.connect(self._heard)

    def outlines(self) -> list[Outline]:
        """Return what is drawn, in the order in which it counts; lines have no area and are left out."""
        if self.layer is None:
            return []
        found = []
        for points, shape, name in zip(self.layer.data, self.layer.shape_type, self.layer.features["name"], strict=True):
            ring = ring_of(points, str(shape))
            if ring is not None:
                found.append(Outline(str(name) if kind_of(str(name)) else UNNAMED, [ring], []))
        return found

    def begin(self, name: str, mode: str, um_per_px: float) -> None:
        """Let the person draw outlines of a name, or, with mode ``direct`` or ``select``, change those that are there."""
        if self.layer is None or self.layer not in self.viewer.layers:
            self._make()
            self.layer.scale = (um_per_px, um_per_px)
        self.layer.selected_data = set()
        self.layer.visible = True
        if name:
            self.layer.feature_defaults = pd.DataFrame({"name": [name]})
            self.layer.current_edge_color = COLOURS.get(kind_of(name), "white")
            self.layer.current_face_color = "transparent"
            self.layer.current_edge_width = WIDTH_UM / um_per_px
        self.viewer.layers.selection = {self.layer}
        self.viewer.layers.selection.active = self.layer
        self.layer.mode = mode

    def rest(self) -> None:
        """Let the mouse move the view again."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.mode = "pan_zoom"

    def delete_selected(self) -> None:
        """Take away what is selected."""
        if self.layer is not None:
            self.layer.remove_selected()

    def _state(self) -> list[tuple[str, bytes]]:
        return [(o.name, o.polygons[0].tobytes()) for o in self.outlines()]

    def _heard(self, event: Any) -> None:
        action = str(getattr(event.action, "value", event.action))
        if action not in _DONE:
            return
        state = self._state()
        if state != self._before:
            self._before = state
            self.changed(action)
