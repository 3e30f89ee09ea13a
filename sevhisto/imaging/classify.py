"""A trained pixel classifier at work: from raw pixels to the probability of each class, in per mille like any intensity.

Features are made on a grid of pixels no larger than the finest scale, and probabilities are interpolated from there. Whatever part of a
slide is asked for, each pixel gets the same value to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.config import PanelSettings
from sevhisto.imaging import kernels
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.features import features, grid_step, reach_px
from sevhisto.imaging.forest import vote
from sevhisto.imaging.geometry import neighbours
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.stains import optical_density, stains
from sevhisto.registry import did_you_mean
from sevhisto.types import PER_MILLE, AnyArray, Correction, FloatArray, IntArray, PixelModel, Problem, SlideError

Box = tuple[int, int, int, int]
"""Rows y0 to before y1 and columns x0 to before x1, as (y0, y1, x0, x1)."""
SIDE = 256  # pixels of the grid whose features are in memory at once: 29 MB with five images
RESIDUAL, EXCESS = "residual", "excess"
"""Of a stain of two components: the colour that neither explains, and by how much the first exceeds the second."""


def input_names(panel: PanelSettings) -> tuple[str, ...]:
    """Return the images that a classifier of this panel sees: its markers, or in brightfield the components of its stain and more."""
    if panel.kind == "fluorescence":
        return panel.stained.markers
    components = stains[panel.stain].components
    return components if len(components) == 3 else (*components, RESIDUAL, EXCESS)


def corrected_inputs(
    names: Sequence[str], panel: PanelSettings, correction: Correction, reader: MarkerReader, raw: AnyArray, y0: int, x0: int
) -> Iterator[FloatArray]:
    """Yield the named images of `input_names`, each (h, w) float32, corrected as the batch is.

    `raw` : (n_channels, h, w), as `reader` reads it from pixel (y0, x0) on
    """
    if panel.kind == "fluorescence":
        values = reader.values(raw, y0, x0)
        for name in names:
            yield corrected_marker(values, correction, panel.stained.markers.index(name))
        return
    stain = stains[panel.stain]
    vectors = stain.vectors if correction.stain_vectors is None else correction.stain_vectors
    density = optical_density(raw)
    if correction.glass is not None:
        density = density - correction.glass.astype(np.float32)[:, None, None]
    rows = np.linalg.inv(vectors).T
    shares = np.vstack([rows, rows[0] - rows[1]]).astype(np.float32)
    for name in names:
        red, green, blue = shares[input_names(panel).index(name)]
        yield red * density[0] + green * density[1] + blue * density[2]


@dataclass(frozen=True)
class Inputs:
    """What a classifier sees of one slide or section.

    Attributes
    ----------
    names : of the images that features are made of
    reader : how the pixels are read
    images : reader, raw (n_channels, h, w), and the pixel (y0, x0) where that starts -> those images, one after the other
    scales_um : sigmas of the features
    um : pixel size
    shape : (height, width) in pixels
    """

    names: tuple[str, ...]
    reader: MarkerReader
    images: Callable[[MarkerReader, AnyArray, int, int], Iterator[FloatArray]]
    scales_um: tuple[float, ...]
    um: float
    shape: tuple[int, int]

    @property
    def step(self) -> int:
        """Pixels of the slide per pixel of the grid."""
        return grid_step(self.um, self.scales_um)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the grid; what does not fill a pixel of it at the far edges is left out."""
        return self.shape[0] // self.step, self.shape[1] // self.step

    def around(self, box: Box) -> Box:
        """Return the part of the grid that the features of a part of it look at."""
        reach = reach_px(self.um * self.step, self.scales_um)
        y0, y1, x0, x1 = box
        return max(y0 - reach, 0), min(y1 + reach, self.grid[0]), max(x0 - reach, 0), min(x1 + reach, self.grid[1])

    def on_slide(self, box: Box) -> Box:
        """Return a part of the grid in pixels of the slide."""
        y0, y1, x0, x1 = (v * self.step for v in box)
        return y0, y1, x0, x1

    def features(self, box: Box, raw: AnyArray, corner: tuple[int, int] | None = None) -> FloatArray:
        """Return the features of a part of the grid, (n_features, h, w) float32.

        `raw` : the pixels `on_slide(around(box))`; or more of them, that start at `corner` (y, x) of the slide
        """
        window = self.around(box)
        y0, y1, x0, x1 = self.on_slide(window)
        top, left = corner or (y0, x0)
        part = np.ascontiguousarray(raw[:, y0 - top : y1 - top, x0 - left : x1 - left])
        images = [kernels.reduced(np.ascontiguousarray(image), self.step) for image in self.images(self.reader, part, y0, x0)]
        inner = slice(box[0] - window[0], box[1] - window[0]), slice(box[2] - window[2], box[3] - window[2])
        return features(images, self.um * self.step, self.scales_um, inner)


@dataclass(frozen=True)
class Classifier:
    """A model ready for the slides of one panel and batch.

    Attributes
    ----------
    classes : {marker: class of the model}
    inputs : of the slide; `of` turns them to a section of it
    """

    model: PixelModel
    classes: dict[str, str]
    inputs: Inputs

    def of(self, shape: tuple[int, int], reader: MarkerReader) -> Classifier:
        """Return the classifier for a section of this shape (height, width), whose pixels `reader` reads."""
        return replace(self, inputs=replace(self.inputs, shape=shape, reader=reader))

    def needs(self, box: Box) -> Box:
        """Return the pixels of the section that tell the probabilities in `box`, which are among them."""
        y0, y1, x0, x1 = self.inputs.on_slide(self.inputs.around(self._cells(box)))
        return min(y0, box[0]), max(y1, box[1]), min(x0, box[2]), max(x1, box[3])

    def _cells(self, box: Box) -> Box:
        step, (h, w) = self.inputs.step, self.inputs.grid
        y0, y1, x0, x1 = box
        y1, x1 = min(-(-y1 // step) + 1, h), min(-(-x1 // step) + 1, w)
        # the last pixels lie between the last two of the grid
        return max(min(y0 // step - 1, h - 2), 0), y1, max(min(x0 // step - 1, w - 2), 0), x1

    def planes(self, box: Box, raw: AnyArray, corner: tuple[int, int]) -> dict[str, FloatArray]:
        """Return the probability of each marker's class in a part of the section, {marker: (h, w) float32, per mille}.

        `raw` : pixels of the section from `corner` (y, x) on; all that `needs` names
        """
        y0, y1, x0, x1 = cells = self._cells(box)
        wanted = [self.model.classes.index(c) for c in self.classes.values()]
        coarse = np.empty((len(wanted), y1 - y0, x1 - x0), np.float32)
        for y in range(y0, y1, SIDE):
            for x in range(x0, x1, SIDE):
                tile = y, min(y + SIDE, y1), x, min(x + SIDE, x1)
                found = vote(self.inputs.features(tile, raw, corner), self.model)
                coarse[:, y - y0 : tile[1] - y0, x - x0 : tile[3] - x0] = found[wanted]
        coarse *= np.float32(PER_MILLE)
        return {marker: self._fine(plane, cells, box) for marker, plane in zip(self.classes, coarse, strict=True)}

    def _fine(self, plane: FloatArray, cells: Box, box: Box) -> FloatArray:
        step, (h, w) = self.inputs.step, self.inputs.grid
        top, bottom, down = neighbours(h, step, np.arange(box[0], box[1]))
        left, right, across = neighbours(w, step, np.arange(box[2], box[3]))
        rows = plane[:, left - cells[2]] + (plane[:, right - cells[2]] - plane[:, left - cells[2]]) * across
        upper = rows[top - cells[0]]
        return np.asarray(upper + (rows[bottom - cells[0]] - upper) * down[:, None], np.float32)


@compiled
def add_up(total: IntArray, plane: FloatArray, columns: IntArray, rows: IntArray) -> None:
    """Add the per mille of each pixel (h, w) to its overview pixel of `total`; `columns`, `rows` : which one, (w,) and (h,)."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            total[rows[y], columns[x]] += np.int64(np.rint(plane[y, x]))


def misfits(model: PixelModel, panel: PanelSettings) -> list[Problem]:
    """Return why a model cannot serve a panel: another kind of image, a marker that is not stained, a class that it does not know."""
    found = []
    learned, here = (" ".join(part for part in pair if part) for pair in (_kind_of(model), (panel.kind, panel.stain)))
    lacking = [] if learned != here else sorted(set(model.inputs) - set(input_names(panel)))
    if learned != here:
        found.append(Problem("", f"was learned on {learned}, the panel is {here}", "name one that was learned on slides of this kind"))
    if lacking:
        found.append(Problem("", f"needs {', '.join(lacking)}, which the panel does not have", "learn it again on slides of this panel"))
    for name in panel.classes.values():
        if name not in model.classes:
            found.append(Problem("", f"knows no class {name!r}", did_you_mean(name, list(model.classes))))
    return found


def _kind_of(model: PixelModel) -> tuple[str, str]:
    return str(model.facts["kind"]), str(model.facts["stain"])


def classifier_for(
    model: PixelModel,
    panel: PanelSettings,
    reader: MarkerReader,
    correction: Correction,
    um: float,
    shape: tuple[int, int],
) -> Classifier:
    """Return a model ready for a slide of the panel; SlideError where it does not fit, or the pixels are too coarse for it."""
    found = misfits(model, panel) + model.too_coarse(um)
    if found:
        raise SlideError([replace(p, where=f"classifier {panel.classifier}") for p in found])
    images = partial(corrected_inputs, model.inputs, panel, correction)
    return Classifier(model, panel.classes, Inputs(model.inputs, reader, images, model.scales_um, um, shape))
