"""The lesion core: dark in the landmark (GFAP), dense in nuclei, enclosed by a bright border."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.types import BoolArray, FloatArray

BORDER_UM = 80.0
MIN_CONTRAST = 1.6  # border over core: below it, no lesion is claimed
SURE_CONTRAST = 2.2


@dataclass(frozen=True)
class Core:
    """A lesion core: mask (h, w) bool with its cavity, contrast of border over core in the landmark, and flags."""

    mask: BoolArray
    contrast: float
    flags: tuple[str, ...]


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
    Candidates are pixels whose smoothed landmark is low and nuclear density high for this section (Otsu on the log ratio). The
    border is then put where the landmark lies halfway between core and rim. A candidate counts only where the rim is brighter
    than the core.
    """
    solid = tissue & ~cavity
    nothing = Core(np.zeros(tissue.shape, bool), 1.0, ("no_lesion",))
    if solid.sum() * um**2 < settings.min_lesion_mm2 * 1e6:
        return nothing
    glia = _smooth_inside(landmark, solid, settings.lesion_smoothing_um / um)
    score = -np.log(np.maximum(glia, 1.0))
    if nuclei is not None:
        score += np.log(np.maximum(_smooth_inside(nuclei, solid, settings.lesion_smoothing_um / um), 1.0))
    candidate = _largest((score > threshold_otsu(score[solid])) & tissue | cavity, cavity, um, settings)
    if not candidate.any():
        return nothing
    core = _refine(candidate, glia, tissue, cavity, um, settings)
    if core.sum() * um**2 < settings.min_lesion_mm2 * 1e6:
        return nothing
    contrast = _contrast(core, glia, solid, um)
    if contrast < MIN_CONTRAST:
        return nothing
    flags = ["contour_unreviewed"] + (["contour_uncertain"] if contrast < SURE_CONTRAST else [])
    return Core(core, contrast, tuple(flags))


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
    labels, n = ndimage.label(opened)
    if n == 0:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(labels == sizes.argmax()), bool)


def _refine(
    candidate: BoolArray, glia: FloatArray, tissue: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings
) -> BoolArray:
    grown = ndimage.binary_dilation(candidate, iterations=max(round(BORDER_UM / um), 1)) & tissue
    rim = grown & ~candidate & ~cavity
    inner = candidate & ~cavity
    if not rim.any() or not inner.any():
        return candidate
    level = (float(np.median(glia[inner])) + float(np.median(glia[rim]))) / 2  # where a blurred edge has its place
    dark = (grown & (glia < level)) | (cavity & grown)
    return _largest(dark, cavity, um, settings) & tissue


def _contrast(core: BoolArray, glia: FloatArray, solid: BoolArray, um: float) -> float:
    rim = ndimage.binary_dilation(core, iterations=max(round(BORDER_UM / um), 1)) & ~core & solid
    inner = core & solid
    if not rim.any():
        return 1.0
    inside = float(np.median(glia[inner])) if inner.any() else 1.0
    return max(float(np.median(glia[rim])), 1.0) / max(inside, 1.0)
