"""Learning a pixel classifier from labelled pixels, and how wrong it is on what it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sevhisto.imaging.classify import SIDE, Box, Inputs
from sevhisto.imaging.forest import grow, vote
from sevhisto.types import EVEN_CHANCE, PER_MILLE, AnyArray, BoolArray, FloatArray, IntArray

MAX_FOLDS = 10
MAX_PIXELS, MIN_PIXELS = 1500, 20  # of one outline: neighbours are alike, and a large outline should not outweigh many small ones
PIXELS_A_CLASS = 30_000
FEW_GROUPS = 3
UNITS = ("animal", "slide", "outline")
"""What is left out together, best first: sections of one animal are alike, and pixels of one outline are more so."""


@dataclass(frozen=True)
class OutOfSample:
    """How pixels were classified by a forest that had not seen the animal, slide or outline they are from.

    Attributes
    ----------
    unit : what was left out together, one of UNITS
    groups : how many of them
    confusion : (n_classes, n_classes + 1) int64, pixels by class as drawn (rows) and as found (columns); last, those of which no class has
        an even chance: they would count as none
    worst : lowest mean recall of one group's classes; NaN where nothing could be told
    """

    unit: str
    groups: int
    confusion: IntArray
    worst: float

    @property
    def recall(self) -> FloatArray:
        """Of the pixels drawn as a class, the share found as such; NaN for one that could not be left out."""
        return _ratio(np.diagonal(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> FloatArray:
        """Of the pixels found as a class, the share drawn as such."""
        return _ratio(np.diagonal(self.confusion), self.confusion[:, :-1].sum(axis=0))

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of both, which is Dice's coefficient."""
        hit = np.diagonal(self.confusion)
        f1 = _ratio(2 * hit, self.confusion.sum(axis=1) + self.confusion[:, :-1].sum(axis=0))
        return np.where(np.isnan(self.recall), np.nan, f1).astype(np.float32)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that could be left out; NaN without any."""
        known = self.recall[~np.isnan(self.recall)]
        return float(known.mean()) if len(known) else float("nan")

    def facts(self) -> dict[str, Any]:
        """Return it for JSON; None stands for what could not be told."""

        def plain(value: float) -> float | None:
            return None if np.isnan(value) else round(float(value), 4)

        return {
            "left_out": self.unit,
            "groups": self.groups,
            "confusion_px": self.confusion.tolist(),
            "balanced_accuracy": plain(self.balanced_accuracy),
            "worst_group": plain(self.worst),
            **{name: [plain(v) for v in getattr(self, name)] for name in ("recall", "precision", "f1")},
        }


def _ratio(part: AnyArray, whole: AnyArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(len(part), np.nan, np.float32), where=whole > 0, casting="unsafe")


Mark = tuple[int, tuple[int, int], BoolArray]
"""Class of an outline, corner (y, x) on the grid of features, and which pixels from there on (h, w) it marks."""


def sample_pixels(
    inputs: Inputs, read: Callable[[Box], AnyArray], marks: Sequence[Mark], seed: Sequence[int], most: int = MAX_PIXELS
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return features (n_features, n), classes (n,) and outlines (n,) of the marked pixels of one slide.

    An outline with more than `most` pixels gives a random choice of them; pixels that outlines of two classes cover are left out.

    Parameters
    ----------
    read : raw pixels of a part of the slide (y0, y1, x0, x1)
    seed : of the choice
    """
    places, labels, outline = [], [], []
    names = np.array([name for name, _, _ in marks])
    low = np.array([corner for _, corner, _ in marks])
    high = low + [mask.shape for _, _, mask in marks]
    for number, (name, (y0, x0), mask) in enumerate(marks):
        own = mask.copy()
        for other in np.flatnonzero((names != name) & (low < high[number]).all(axis=1) & (low[number] < high).all(axis=1)).tolist():
            _take_away(own, (y0, x0), marks[other][2], marks[other][1])
        y, x = np.nonzero(own)
        if len(y) > most:
            chosen = np.sort(np.random.default_rng([*seed, number]).choice(len(y), most, replace=False))
            y, x = y[chosen], x[chosen]
        places.append(np.stack([y + y0, x + x0]))
        labels.append(np.full(len(y), name))
        outline.append(np.full(len(y), number))
    y, x = np.concatenate(places, axis=1)
    n_features = len(inputs.names) * (6 * len(inputs.scales_um) - 2)
    values = np.empty((n_features, len(y)), np.float32)
    tile = (y // SIDE) * (inputs.grid[1] // SIDE + 1) + x // SIDE
    for t in np.unique(tile):
        on = np.flatnonzero(tile == t)
        box = int(y[on].min()), int(y[on].max()) + 1, int(x[on].min()), int(x[on].max()) + 1
        found = inputs.features(box, read(inputs.on_slide(inputs.around(box))))
        values[:, on] = found[:, y[on] - box[0], x[on] - box[2]]
    return values, np.concatenate(labels), np.concatenate(outline)


def _take_away(mask: BoolArray, corner: tuple[int, int], other: BoolArray, there: tuple[int, int]) -> None:
    """Clear the pixels of a mask that another marks too; both lie at their corners on one grid, and meet."""
    low = [max(a, b) for a, b in zip(corner, there, strict=True)]
    high = [min(a + n, b + m) for a, n, b, m in zip(corner, mask.shape, there, other.shape, strict=True)]
    mine, theirs = (tuple(slice(a - c, b - c) for a, b, c in zip(low, high, at, strict=True)) for at in (corner, there))
    mask[mine] &= ~other[theirs]


def pixels_of_an_outline(outlines: Sequence[int]) -> int:
    """Return how many pixels an outline may give, from the number of outlines of each class: about PIXELS_A_CLASS in all."""
    return int(np.clip(PIXELS_A_CLASS // max(*outlines, 1), MIN_PIXELS, MAX_PIXELS))


def unit_to_leave_out(labels: IntArray, places: Mapping[str, IntArray]) -> str:
    """Return the first of UNITS of which every class has two or more; the last where none has.

    `places` : {unit: (n,) int64, which animal, slide or outline each pixel is from}
    """
    present = np.unique(labels)
    for unit in UNITS:
        if unit in places and all(len(np.unique(places[unit][labels == c])) > 1 for c in present):
            return unit
    return UNITS[-1]


def cross_validate(values: FloatArray, labels: IntArray, places: Mapping[str, IntArray], n_classes: int, seed: int) -> OutOfSample:
    """Return the error on pixels of animals, slides or outlines that were left out, all of one together.

    At most ten folds, each of whole groups. A class that is nowhere else than in what is left out cannot be found, so its pixels there
    do not count.

    Parameters
    ----------
    values : (n_features, n) float32
    labels : (n,) int64
    places : see `unit_to_leave_out`
    """
    unit = unit_to_leave_out(labels, places)
    names, group = np.unique(places[unit], return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names))[group] % MAX_FOLDS
    found = np.full(len(labels), -1)
    for k in np.unique(fold):
        rest, held = fold != k, fold == k
        held &= np.isin(labels, labels[rest])
        if held.any() and len(np.unique(labels[rest])) > 1:
            forest = grow(values[:, rest], labels[rest], n_classes, seed)
            found[held] = classes_of(vote(np.ascontiguousarray(values[:, None, held]), forest)[:, 0])
    told = found >= 0
    whole = _confusion(labels[told], found[told], n_classes)
    apart = [_confusion(labels[on], found[on], n_classes) for on in (told & (group == g) for g in range(len(names)))]
    accuracies = [OutOfSample(unit, 1, c, np.nan).balanced_accuracy for c in apart if c.any()]
    return OutOfSample(unit, len(names), whole, min(accuracies, default=float("nan")))


def classes_of(probabilities: FloatArray) -> IntArray:
    """Return the class of each pixel as it is measured: that with an even chance or more, else n_classes; (n_classes, n) to (n,) int64."""
    likely = probabilities.argmax(axis=0)
    return np.where(probabilities.max(axis=0) * np.float32(PER_MILLE) >= EVEN_CHANCE, likely, len(probabilities))


def _confusion(drawn: IntArray, found: IntArray, n_classes: int) -> IntArray:
    index = drawn * (n_classes + 1) + found
    return np.bincount(index, minlength=n_classes * (n_classes + 1)).reshape(n_classes, n_classes + 1).astype(np.int64)


def cautions(outcome: OutOfSample, classes: Sequence[str]) -> list[str]:
    """Return what a reader of the error must know, one sentence each."""
    said = []
    if outcome.unit == "outline":
        said.append(
            "not every class is drawn on two slides or more, so whole outlines were left out instead of slides: the error of another "
            "slide is larger. Draw every class on several slides, of several animals."
        )
    elif outcome.unit == "slide":
        said.append("not every class is drawn on two animals or more: the error of another animal can be larger.")
    elif outcome.groups < FEW_GROUPS:
        said.append(f"{outcome.groups} animals tell little of the next one: draw on more.")
    unknown = [name for name, recall in zip(classes, outcome.recall, strict=True) if np.isnan(recall)]
    return said + [f"the error of {name} could not be told: it is drawn once only." for name in unknown]
