"""The layers of teaching: the slide's own pixels, the strokes drawn on them, and the classifier's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sevhisto.pipeline.teaching import Lesson
from sevhisto_napari.slide_reader import slide_layers
from sevhisto_napari.stage import MINE
from sevhisto_napari.strokes import colour_of, shapes_of, strokes_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

STROKES, ANSWER, SLIDE = "strokes", "answer", "slide "
OURS = "sevhisto_teach"
MODES = {"line": "add_path", "area": "add_polygon_lasso", "select": "select"}


class TeachLayers:
    """What teaching puts into a window, and takes out again.

    Parameters
    ----------
    changed : is called when a stroke was added, changed or deleted
    """

    def __init__(self, viewer: ViewerModel, changed: Callable[[], None]) -> None:
        self._viewer, self._changed = viewer, changed
        self.um_per_px, self.classes = 1.0, list[str]()
        self._quiet = False
        self._hidden: list[Any] = []

    @property
    def strokes(self) -> Any:
        """The layer of strokes; None where there is none."""
        return next((x for x in self._viewer.layers if x.metadata.get(OURS) == STROKES), None)

    def show(self, lesson: Lesson, classes: Sequence[str], pixels: bool, stroke_um: float) -> None:
        """Show the strokes of a slide, and its pixels; those of another slide go."""
        self.clear()
        self.um_per_px, self.classes = lesson.um_per_px, list(classes)
        if pixels:
            self._hidden = [x for x in self._viewer.layers if x.metadata.get(MINE) and x._type_string == "image" and x.visible]
            for layer in self._hidden:  # both would be added up
                layer.visible = False
            for i, (data, kwargs, kind) in enumerate(slide_layers(lesson.open(), SLIDE)):
                self._add(data, kwargs, kind, SLIDE, i)
        data, types, names = shapes_of(lesson.strokes, self.um_per_px)
        self.strokes_from(data, types, names, stroke_um)

    def strokes_from(self, data: Sequence[Any], types: Sequence[str], names: Sequence[str], stroke_um: float) -> None:
        """Put these shapes (um), with their classes, into the layer of strokes, which is added where it is not there."""
        self._quiet = True
        layer = self.strokes
        if layer is None:
            look = {"name": STROKES, "ndim": 2, "scale": (1.0, 1.0), "units": ("um", "um"), "axis_labels": ("y", "x"), "opacity": 0.7}
            self._add(None, look, "shapes", STROKES)
            layer = self.strokes
            layer.events.data.connect(self._tell)
        layer.data = []
        layer.current_edge_width = stroke_um
        if len(data):
            colours = [colour_of(self.classes, name) for name in names]
            layer.add(list(data), shape_type=list(types), edge_width=stroke_um, edge_color=colours, face_color="transparent")
        layer.features = {"class": np.array(list(names), object)}
        self._quiet = False

    def recolour(self, classes: Sequence[str], stroke_um: float) -> None:
        """Give the strokes the colours that classes have by their order."""
        self.classes = list(classes)
        layer = self.strokes
        if layer is not None and len(layer.data):
            self.strokes_from(list(layer.data), list(layer.shape_type), [str(c) for c in layer.features["class"]], stroke_um)

    def draw(self, name: str, mode: str, stroke_um: float) -> None:
        """Take the tool for a class into the hand: ``line``, ``area`` or ``select``."""
        layer = self.strokes
        if layer is None:
            return
        self._viewer.layers.selection.active = layer
        layer.selected_data = set()
        layer.feature_defaults = {"class": [name]}
        layer.current_edge_color = colour_of(self.classes, name)
        layer.current_face_color = "transparent"
        layer.current_edge_width = stroke_um
        layer.mode = MODES[mode]

    def outlines(self) -> list[Any]:
        """Return the strokes as outlines in pixels of the slide."""
        layer = self.strokes
        if layer is None or not len(layer.data):
            return []
        return strokes_of(layer.data, layer.shape_type, [str(c) for c in layer.features["class"]], self.um_per_px)

    def show_answer(self, path: Path) -> list[str]:
        """Show what a classifier says (`pipeline.teaching.answer`), and return each class with its share of the tissue that has one."""
        with np.load(path, allow_pickle=False) as told:
            labels, um, corner, classes = told["labels"], float(told["um_per_px"]), told["corner_um"], [str(c) for c in told["classes"]]
        self.take_out(ANSWER)
        self.classes = sorted({*self.classes, *classes})
        colours = {None: "transparent", 0: "transparent"} | {i: colour_of(self.classes, c) for i, c in enumerate(classes, 1)}
        look = {"name": ANSWER, "colormap": colours, "opacity": 0.5, "metadata": {"labels": dict(enumerate(classes, 1))}}
        place = {"scale": (um, um), "translate": tuple(corner), "units": ("um", "um"), "axis_labels": ("y", "x")}
        self._add(labels, {**look, **place}, "labels", ANSWER)
        self._viewer.layers.selection.active = self.strokes  # the pen stays in the hand
        counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)[1:]
        return [f"{c}: {100 * n / max(1, counts.sum()):.0f} %" for c, n in zip(classes, counts, strict=True)]

    def take_out(self, what: str) -> None:
        """Take the layers of one kind out."""
        for layer in [x for x in self._viewer.layers if x.metadata.get(OURS) == what]:
            self._viewer.layers.remove(layer)

    def clear(self) -> None:
        """Take out everything that is of the slide."""
        self._quiet = True
        for what in (STROKES, ANSWER, SLIDE):
            self.take_out(what)
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []
        self._quiet = False

    def _tell(self, event: Any = None) -> None:
        if not self._quiet:
            self._changed()

    def _add(self, data: Any, kwargs: dict[str, Any], kind: str, what: str, at: int | None = None) -> None:
        more = {**kwargs, "metadata": {**kwargs.get("metadata", {}), OURS: what}}
        add = {"image": self._viewer.add_image, "labels": self._viewer.add_labels, "shapes": self._viewer.add_shapes}[kind]
        layer = add(data, **more)
        if at is not None:  # pixels lie under all else
            self._viewer.layers.move(self._viewer.layers.index(layer), at)
