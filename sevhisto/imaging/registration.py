"""A lesion outline carried over from the neighbouring section: two sections laid over each other by their outlines and nuclei."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray

GRID_UM = 20.0
"""Pixel of the images that are laid over each other: single nuclei, which neighbours do not share, are gone."""
SMOOTHING_UM = 30.0
DEEP_UM = 250.0
"""Depth under the surface beyond which the outline tells nothing more."""
TURN_DEG = 6
BLIND_TURN_DEG = 30
"""Without nuclei an oval fits itself upside down: then sections count as mounted alike, within this turn."""
TRIED = 4
MIN_OVERLAP = 0.75
SURE_OVERLAP = 0.90
SURE_LIKENESS = 0.5
NUCLEI_WEIGHT = 0.5


@dataclass(frozen=True)
class Neighbour:
    """A section whose lesion core is known, to be laid over another.

    Attributes
    ----------
    tissue, core : (h, w) bool
    nuclei : (h, w) float32, the nuclear marker; None where it has none
    um : size of a pixel
    mirrored : whether it lies mirrored against the other on its slide
    gap_um : distance along the cord between the two; NaN where not known
    markers : markers by which its core was found, besides landmark and nuclei
    unsure : whether its own outline is uncertain
    """

    tissue: BoolArray
    core: BoolArray
    nuclei: FloatArray | None
    um: float
    mirrored: bool = False
    gap_um: float = float("nan")
    markers: tuple[str, ...] = ()
    unsure: bool = False


@dataclass(frozen=True)
class Carried:
    """What was carried: core (h, w) bool, overlap of the tissues (0..1), likeness of their images (-1..1; NaN from outlines alone)."""

    core: BoolArray
    overlap: float
    likeness: float

    @property
    def fits(self) -> bool:
        """Whether the sections lie over each other well enough to take the outline at all."""
        return self.overlap >= MIN_OVERLAP

    @property
    def sure(self) -> bool:
        """Whether they do so well, and not by their outlines alone."""
        return self.overlap >= SURE_OVERLAP and self.likeness >= SURE_LIKENESS


def carry_core(near: Neighbour, tissue: BoolArray, nuclei: FloatArray | None, um: float) -> Carried:
    """Return the neighbour's core where it lies in another section.

    Parameters
    ----------
    tissue, nuclei, um : of the section that lacks a core, as in `Neighbour`

    Notes
    -----
    Both sections become images of the depth under their surface and of the smoothed nuclei. Turns in steps of 6 degrees are tried about the
    centroids; the best are refined by the enhanced correlation coefficient (Evangelidis and Psarakis 2008, as OpenCV has it), and the one
    most alike is taken. Only turned and shifted: a stretch would follow meninges that one stain shows and the other does not, and change
    the core's area. Without nuclei in both, turns of up to 30 degrees are tried.
    """
    nothing = Carried(np.zeros(tissue.shape, bool), 0.0, float("nan"))
    if not tissue.any() or not near.tissue.any():
        return nothing
    with_nuclei = nuclei is not None and near.nuclei is not None
    size = round(1.3 * max(_extent(tissue) * um, _extent(near.tissue) * near.um) / GRID_UM)
    there, there_place = _image(near.tissue, near.nuclei if with_nuclei else None, near.um, size, near.mirrored)
    here, here_place = _image(tissue, nuclei if with_nuclei else None, um, size, False)
    found = max((_refined(there, here, turn) for turn in _turns(there, here, with_nuclei)), key=lambda f: f[0])
    whole = np.linalg.inv(here_place) @ found[1] @ there_place  # neighbour's pixels -> this section's pixels
    laid = _warped(near.tissue, whole, tissue.shape)
    core = _warped(near.core, whole, tissue.shape) & tissue if near.core.any() else nothing.core
    overlap = float((laid & tissue).sum() / (laid | tissue).sum())
    return Carried(core, overlap, found[0] if with_nuclei else float("nan"))


def _extent(mask: BoolArray) -> float:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(np.hypot(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1))


def _image(tissue: BoolArray, nuclei: FloatArray | None, um: float, size: int, mirrored: bool) -> tuple[FloatArray, DoubleArray]:
    """Return a section's depth and nuclei as one image on the common grid, (size, size), and the map of its pixels onto that grid."""
    y, x = (float(v.mean()) for v in np.nonzero(tissue))
    scale = um / GRID_UM
    across = -scale if mirrored else scale
    place = np.array([[across, 0, size / 2 - across * x], [0, scale, size / 2 - scale * y], [0, 0, 1]])
    soft = _grid(cv2.GaussianBlur(tissue.astype(np.float32), (0, 0), max(0.5 / scale, 0.3)), place, size)
    inside = soft >= 0.5
    depth = np.minimum(ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * GRID_UM / DEEP_UM, 1).astype(np.float32)
    if nuclei is None:
        return depth, place
    sigma = SMOOTHING_UM / um
    weight = _grid(cv2.GaussianBlur(tissue.astype(np.float32), (0, 0), sigma), place, size)
    values = _grid(cv2.GaussianBlur(np.where(tissue, nuclei, 0).astype(np.float32), (0, 0), sigma), place, size)
    density = np.log(np.maximum(values / np.maximum(weight, 1e-3), 1.0))
    mean, sd = (float(f(density[inside])) if inside.any() else 1.0 for f in (np.mean, np.std))
    standard = np.clip((density - mean) / max(sd, 1e-6), -3, 3)
    return np.asarray(np.where(inside, depth + NUCLEI_WEIGHT * standard, 0), np.float32), place


def _grid(values: FloatArray, place: DoubleArray, size: int) -> FloatArray:
    return np.asarray(cv2.warpAffine(values, place[:2], (size, size), flags=cv2.INTER_LINEAR), np.float32)


def _turns(there: FloatArray, here: FloatArray, with_nuclei: bool) -> list[DoubleArray]:
    """Return the turns (3, 3) about the middle that make the images most alike, best first, no two of them neighbours."""
    size = len(here)
    limit = 180 if with_nuclei else BLIND_TURN_DEG
    tried = []
    for degrees in range(-limit + TURN_DEG * with_nuclei, limit + 1, TURN_DEG):
        turn = np.vstack([cv2.getRotationMatrix2D((size / 2, size / 2), degrees, 1.0), [0, 0, 1]])
        tried.append((_likeness(_grid(there, turn, size), here), degrees, turn))
    best: list[tuple[float, int, DoubleArray]] = []
    for one in sorted(tried, key=lambda t: (-t[0], abs(t[1]))):
        if all(min(abs(one[1] - other[1]), 360 - abs(one[1] - other[1])) > 2 * TURN_DEG for other in best):
            best.append(one)
    return [turn for _, _, turn in best[:TRIED]]


def _refined(there: FloatArray, here: FloatArray, start: DoubleArray) -> tuple[float, DoubleArray]:
    """Return how alike the images are under the refined map, and the map (3, 3)."""
    before = (_likeness(_grid(there, start, len(here)), here), start)
    backwards = np.linalg.inv(start)[:2].astype(np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
    try:
        _, backwards = cv2.findTransformECC(here, there, backwards, cv2.MOTION_EUCLIDEAN, stop, None, 5)
    except cv2.error:  # it did not converge
        return before
    found = np.linalg.inv(np.vstack([backwards, [0, 0, 1]]).astype(np.float64))
    return max(before, (_likeness(_grid(there, found, len(here)), here), found), key=lambda f: f[0])


def _likeness(a: FloatArray, b: FloatArray) -> float:
    """Return the correlation of two images where either shows tissue."""
    shown = (a != 0) | (b != 0)
    if shown.sum() < 2:
        return -1.0
    p, q = a[shown].astype(np.float64), b[shown].astype(np.float64)
    p, q = p - p.mean(), q - q.mean()
    return float((p * q).sum() / max(float(np.sqrt((p * p).sum() * (q * q).sum())), 1e-12))


def _warped(mask: BoolArray, map_: DoubleArray, shape: tuple[int, ...]) -> BoolArray:
    laid: AnyArray = cv2.warpAffine(mask.astype(np.float32), map_[:2], (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(laid >= 0.5, bool)
