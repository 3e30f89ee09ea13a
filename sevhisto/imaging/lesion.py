"""The lesion core: dark in the landmark (GFAP), dense in nuclei, enclosed by a bright border."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.imaging.geometry import dilated, filled
from sevhisto.types import BoolArray, FloatArray

BORDER_UM = 80.0
RIM_UM = 40.0  # the glial border is brightest here
MAX_STEPS = 12
MIN_CONTRAST = 2.0  # border over core: below it, no lesion is claimed
SURE_CONTRAST = 3.0


@dataclass(frozen=True)
class Core:
    """A lesion core: mask (h, w) bool with its cavity, contrast of border over core in the landmark, flags, and facts for the record."""

    mask: BoolArray
    contrast: float
    flags: tuple[str, ...]
    facts: dict[str, float | None] = field(default_factory=dict)


def find_core(
    landmark: FloatArray, nuclei: FloatArray | None, tissue: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings
) -> Core:
    """Return the lesion core of one section.

    Parameters
    ----------
    landmark, nuclei : (h, w) float32 at overview resolution, background subtracted; `nuclei` may be absent
    tissue : (h, w) bool, filled outline
    cavity : (h, w) bool
    um : overview pixel size

    Notes
    -----
    Candidates are pixels whose smoothed landmark is low and nuclear density high for this section (log ratio), at several levels, because a
    small lesion hardly moves the histogram. The border of each moves to where the landmark lies halfway between core and rim, until it
    rests. The largest whose rim is bright enough over its core counts; none may.
    """
    solid = tissue & ~cavity
    nothing = Core(np.zeros(tissue.shape, bool), 1.0, ("no_lesion",))
    smallest = settings.min_lesion_mm2 * 1e6 / um**2
    if solid.sum() < smallest:
        return nothing
    glia = _smooth_inside(landmark, solid, settings.lesion_smoothing_um / um)
    score = -np.log(np.maximum(glia, 1.0))
    if nuclei is not None:
        score += np.log(np.maximum(_smooth_inside(nuclei, solid, settings.lesion_smoothing_um / um), 1.0))
    sharp = _smooth_inside(landmark, solid, settings.lesion_smoothing_um / um / 2)
    found = []
    for level in _levels(score[solid]):
        candidate = _largest((score > level) & tissue | cavity, cavity, um, settings)
        core = _settle(candidate, sharp, tissue, cavity, um, settings)
        contrast = _contrast(core, sharp, solid, um)
        if core.sum() >= smallest and contrast >= MIN_CONTRAST:
            found.append((int(core.sum()), contrast, core))
    if not found:
        return nothing
    _, contrast, core = max(found, key=lambda f: f[:2])
    flags = ["contour_unreviewed"] + (["contour_uncertain"] if contrast < SURE_CONTRAST else [])
    return Core(core, contrast, tuple(flags))


def _levels(score: FloatArray) -> list[float]:
    median = float(np.median(score))
    spread = 1.4826 * float(np.median(np.abs(score - median)))
    return [float(threshold_otsu(score)), *(median + k * spread for k in (3.0, 6.0))] if np.ptp(score) > 0 else []


def _smooth_inside(image: FloatArray, inside: BoolArray, sigma: float) -> FloatArray:
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    values = cv2.GaussianBlur(np.where(inside, image, 0).astype(np.float32), (0, 0), sigma)
    return np.asarray(values / np.maximum(weight, 1e-3), np.float32)


def _disc(radius_um: float, um: float) -> BoolArray:
    radius = max(round(radius_um / um), 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)) > 0, bool)


def _largest(mask: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings) -> BoolArray:
    """Return the largest blob after removing thin bridges, holes filled."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, _disc(settings.lesion_smoothing_um, um).astype(np.uint8)) > 0
    opened |= cavity & mask
    n, labels = cv2.connectedComponents(opened.astype(np.uint8), connectivity=4)
    if n == 1:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return filled(np.asarray(labels == sizes.argmax(), bool))


def _settle(
    candidate: BoolArray, glia: FloatArray, tissue: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings
) -> BoolArray:
    margin = round((BORDER_UM + settings.lesion_smoothing_um) / um) + 4  # the border moves no farther in one step
    for _ in range(MAX_STEPS):
        if not candidate.any():
            return candidate
        rows, columns = np.flatnonzero(candidate.any(axis=1)), np.flatnonzero(candidate.any(axis=0))
        box = slice(max(rows[0] - margin, 0), rows[-1] + margin + 1), slice(max(columns[0] - margin, 0), columns[-1] + margin + 1)
        moved = np.zeros_like(candidate)
        moved[box] = _refine(candidate[box], glia[box], tissue[box], cavity[box], um, settings)
        if (moved == candidate).all() or not moved.any():
            return moved
        candidate = moved
    return candidate


def _refine(
    candidate: BoolArray, glia: FloatArray, tissue: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings
) -> BoolArray:
    grown = dilated(candidate, max(round(BORDER_UM / um), 1)) & tissue
    rim = dilated(candidate, max(round(RIM_UM / um), 1)) & tissue & ~candidate & ~cavity
    inner = candidate & ~cavity
    if not rim.any() or not inner.any():
        return candidate
    level = (float(np.median(glia[inner])) + float(np.median(glia[rim]))) / 2  # where a blurred edge has its place
    dark = (grown & (glia < level)) | (cavity & grown)
    return _largest(dark, cavity, um, settings) & tissue


def _contrast(core: BoolArray, glia: FloatArray, solid: BoolArray, um: float) -> float:
    rim = dilated(core, max(round(BORDER_UM / um), 1)) & ~core & solid
    inner = core & solid
    if not rim.any():
        return 1.0
    inside = float(np.median(glia[inner])) if inner.any() else 1.0
    return max(float(np.median(glia[rim])), 1.0) / max(inside, 1.0)
