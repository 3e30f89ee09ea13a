"""How far two readings of the same area, or of the same objects, agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sevhisto.types import BoolArray, DoubleArray, IntArray

IOU = 0.5


@dataclass(frozen=True)
class Overlap:
    """Two areas laid over each other.

    Attributes
    ----------
    area_a_um2, area_b_um2 : their areas
    dice : twice the common area over the sum of both; NaN where both are empty, 0 where one is
    border_p95_um : 95 % of either border lie at most this far from the other; NaN where an area is empty
    """

    area_a_um2: float
    area_b_um2: float
    dice: float
    border_p95_um: float


def overlap(a: BoolArray, b: BoolArray, um: float) -> Overlap:
    """Compare two masks of one shape (h, w); `um` is the size of a pixel.

    The border distance is the larger of the two 95th percentiles [Taha and Hanbury, BMC Med Imaging 15:29, 2015], between pixel centres.
    """
    n_a, n_b = int(np.count_nonzero(a)), int(np.count_nonzero(b))
    dice = 2 * np.count_nonzero(a & b) / (n_a + n_b) if n_a + n_b else float("nan")
    return Overlap(n_a * um**2, n_b * um**2, float(dice), _border_p95(a, b) * um if n_a and n_b else float("nan"))


def _border_p95(a: BoolArray, b: BoolArray) -> float:
    rows, columns = (np.flatnonzero((a | b).any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    borders = [_border(np.pad(mask[box], 1)) for mask in (a, b)]
    reached = [_distance_to(other)[own] for own, other in (borders, borders[::-1])]
    return float(max(np.percentile(d, 95) for d in reached))


def _border(mask: BoolArray) -> BoolArray:
    return np.asarray(mask & ~ndimage.binary_erosion(mask), bool)


def _distance_to(mask: BoolArray) -> DoubleArray:
    return np.asarray(ndimage.distance_transform_edt(~mask), np.float64)


def matched_objects(a: IntArray, b: IntArray, iou: float = IOU) -> tuple[int, int, int]:
    """Return the objects in `a`, in `b`, and the pairs that share at least `iou` of their union.

    `a`, `b` : (h, w) integers, one number per object, 0 for none. From 0.5 on an object has one partner at most.
    """
    ids_a, flat_a = np.unique(a, return_inverse=True)
    ids_b, flat_b = np.unique(b, return_inverse=True)
    common = np.bincount(flat_a.ravel() * len(ids_b) + flat_b.ravel(), minlength=len(ids_a) * len(ids_b)).reshape(len(ids_a), len(ids_b))
    union = common.sum(axis=1, keepdims=True) + common.sum(axis=0, keepdims=True) - common
    pairs = (common >= iou * union)[np.ix_(ids_a != 0, ids_b != 0)]
    return int((ids_a != 0).sum()), int((ids_b != 0).sum()), int(min(pairs.any(axis=1).sum(), pairs.any(axis=0).sum()))


def objects_of(labels: IntArray) -> IntArray:
    """Return labels as they are; of a mask, which has one value, its connected parts (by edge or corner) numbered."""
    values = np.unique(labels[labels != 0])
    if len(values) > 1:
        return labels
    return np.asarray(ndimage.label(labels != 0, np.ones((3, 3)))[0], np.int64)
