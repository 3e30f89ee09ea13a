"""The lesion core: dark in the landmark (GFAP) or dense in a marker, dense in nuclei, holds the cavity, enclosed by a border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from sevhisto.config import LESION_CUES, ImagingSettings, PanelSettings
from sevhisto.imaging.core_evidence import SURE, Evidence, dice, spread, weigh
from sevhisto.imaging.geometry import around, dilated, filled
from sevhisto.types import BoolArray, FloatArray

BORDER_UM = 80.0
RIM_UM = 40.0  # the glial border is brightest here
NEARBY_UM, LEAST_RISE = 80.0, 0.25
MAX_STEPS = 12
BLOBS = 3  # at every level
SAME = 0.95  # Dice from which a blob settles where an earlier one did


@dataclass(frozen=True)
class Cues:
    """What shows the lesion of one section, at overview resolution, background subtracted.

    Attributes
    ----------
    landmark : (h, w) float32, dark inside; None where the panel has none
    nuclei : (h, w) float32, dense inside; None where there are none
    markers : {marker: (h, w) float32}, dense inside, such as CD68
    cavity : whether a hole in the tissue belongs to the lesion
    """

    landmark: FloatArray | None = None
    nuclei: FloatArray | None = None
    markers: dict[str, FloatArray] = field(default_factory=dict)
    cavity: bool = True

    @property
    def draw(self) -> bool:
        """Whether one of them shows a border: nuclei and cavity alone do not."""
        return self.landmark is not None or bool(self.markers)


def cue_markers(panel: PanelSettings, settings: ImagingSettings) -> tuple[str, ...]:
    """Return the markers of a panel that are cues of the lesion by their name."""
    return tuple(c for c in settings.lesion_cues if c not in LESION_CUES and c in panel.markers)


def draws_border(panel: PanelSettings, settings: ImagingSettings) -> bool:
    """Return whether a cue draws the lesion's border in this panel; nuclei and cavity alone do not."""
    landmark = "landmark" in settings.lesion_cues and panel.marker_of_role("landmark") is not None
    return landmark or bool(cue_markers(panel, settings))


@dataclass(frozen=True)
class Core:
    """A lesion core.

    Attributes
    ----------
    mask : (h, w) bool, with its cavity
    contrast : brighter over darker side of its border; NaN where no cue drew it
    flags : what the section has to tell of it
    facts : for the record
    confidence : 0 to 1, how sure the outline is; NaN where the program did not draw it
    markers : markers other than landmark and nuclei that had a part in it
    """

    mask: BoolArray
    contrast: float
    flags: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    confidence: float = float("nan")
    markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Field:
    """One section while its core is sought: tissue, cavity that counts, tissue without any cavity, pixel size, smallest core in pixels."""

    tissue: BoolArray
    cavity: BoolArray
    solid: BoolArray
    um: float
    smallest: float
    settings: ImagingSettings

    def smooth(self, image: FloatArray, share: float = 1.0) -> FloatArray:
        return _smooth_inside(image, self.solid, share * self.settings.lesion_smoothing_um / self.um)


def find_core(cues: Cues, tissue: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings) -> Core:
    """Return the lesion core of one section.

    Parameters
    ----------
    cues : at least one of them draws a border
    tissue : (h, w) bool, filled outline
    cavity : (h, w) bool
    um : overview pixel size

    Notes
    -----
    Candidates are blobs of pixels whose smoothed landmark is low and whose density of nuclei and markers is high for this section (sum of
    logs), at levels above which a half, a quarter, an eighth of the tissue lies: a small lesion hardly moves the histogram, and white
    matter can be the larger dark blob. The border of each moves to where the landmark (else the first marker) lies halfway between core
    and the rim nearby, until it rests. One that shows a second sign besides its contrast is a lesion (`Evidence.claims`): the surest, and
    others beside it that are sure on their own; none may be.
    """
    solid = tissue & ~cavity
    named = tuple(cues.markers)
    nothing = Core(np.zeros(tissue.shape, bool), 1.0, ("no_lesion",), markers=named)
    here = _Field(tissue, cavity & tissue & cues.cavity, solid, um, settings.min_lesion_mm2 * 1e6 / um**2, settings)
    if solid.sum() < here.smallest or not cues.draw:
        return nothing
    guide, densities = _guide(cues, here)
    found = [(core, _evidence(core, guide, densities, here)) for core in _settled(_score(cues, here), guide, here)]
    found = [(core, e) for core, e in found if e.claims]
    if not found:
        return nothing
    core, evidence, confidence, parts = _together(found)
    flags = ["contour_unreviewed"] + (["contour_uncertain"] if confidence < SURE else [])
    return Core(core, evidence.contrast, tuple(flags), evidence.facts | {"parts": parts}, confidence, named)


def _together(found: list[tuple[BoolArray, Evidence]]) -> tuple[BoolArray, Evidence, float, int]:
    """Return the surest core with those beside it that are sure as well, its evidence, the lowest confidence, and how many they are."""
    ranked = sorted(found, key=lambda f: (round(f[1].confidence, 3), int(f[0].sum())), reverse=True)
    core, evidence = ranked[0][0].copy(), ranked[0][1]
    confidence, parts = evidence.confidence, 1
    for other, its in ranked[1:]:
        if its.confidence >= SURE and not (dilated(other, 1) & core).any():
            core |= other
            confidence, parts = min(confidence, its.confidence), parts + 1
    return core, evidence, confidence, parts


def _guide(cues: Cues, here: _Field) -> tuple[FloatArray, list[FloatArray]]:
    """Return the cue that draws the border, low inside, and the smoothed densities that do not."""
    dense = [*([cues.nuclei] if cues.nuclei is not None else []), *cues.markers.values()]
    if cues.landmark is not None:
        return here.smooth(cues.landmark, 0.5), [here.smooth(d) for d in dense]
    first = next(iter(cues.markers.values()))
    return -here.smooth(first), [here.smooth(d) for d in dense if d is not first]


def _score(cues: Cues, here: _Field) -> FloatArray:
    score = np.zeros(here.tissue.shape, np.float32)
    if cues.landmark is not None:
        score -= np.log(np.maximum(here.smooth(cues.landmark), 1.0))
    if cues.nuclei is not None:
        score += np.log(np.maximum(here.smooth(cues.nuclei), 1.0))
    for marker in cues.markers.values():
        values = here.smooth(marker)
        usual = values[here.solid]
        score += np.log(np.maximum(values, max(float(np.median(usual)) + 3 * spread(usual), 1.0)))
    return score


def _settled(score: FloatArray, guide: FloatArray, here: _Field) -> Iterator[BoolArray]:
    """Yield the places where borders come to rest, each once."""
    seen: list[BoolArray] = []
    for level in _levels(score[here.solid], here.smallest):
        for blob in _blobs((score > level) & here.tissue | here.cavity, here):
            if any(dice(blob, other) > SAME for other in seen):
                continue
            core = _settle(blob, guide, here)
            if core.sum() >= here.smallest and not any((core == other).all() for other in seen):
                seen.append(core)
                yield core


def _levels(score: FloatArray, smallest: float) -> list[float]:
    """Return levels of the score from the darkest: those that leave a half of it, a quarter, down to the smallest lesion; and Otsu's."""
    if np.ptp(score) == 0:
        return []
    halvings = int(np.log2(max(score.size / max(smallest, 1.0), 2.0)))
    shares = 0.5 ** np.arange(halvings, 0, -1)
    return [*(float(v) for v in np.quantile(score, 1 - shares)), float(threshold_otsu(score))]


def _evidence(core: BoolArray, guide: FloatArray, densities: list[FloatArray], here: _Field) -> Evidence:
    nearer, farther = (int(_refine_in_box(core, guide, here, cut).sum()) for cut in (0.4, 0.6))
    stability = min(nearer, farther) / max(nearer, farther, 1)
    others = [dice(core, _refine_in_box(core, -d, here)) for d in densities]
    agreement = float(np.mean(others)) if others else float("nan")
    return weigh(core, guide, densities, here.solid, here.um, stability, agreement)


def _smooth_inside(image: FloatArray, inside: BoolArray, sigma: float) -> FloatArray:
    weight = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma)
    values = cv2.GaussianBlur(np.where(inside, image, 0).astype(np.float32), (0, 0), sigma)
    return np.asarray(values / np.maximum(weight, 1e-3), np.float32)


def _opened(mask: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings) -> BoolArray:
    """Remove thin bridges; cavity stays."""
    radius = max(round(settings.lesion_smoothing_um / um), 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray((cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0) | (cavity & mask), bool)


def _blobs(mask: BoolArray, here: _Field) -> Iterator[BoolArray]:
    """Yield the largest blobs of a mask, holes filled."""
    opened = _opened(mask, here.cavity, here.um, here.settings)
    _, labels, facts, _ = cv2.connectedComponentsWithStats(opened.astype(np.uint8), connectivity=4)
    sizes = facts[1:, cv2.CC_STAT_AREA]
    for i in np.argsort(-sizes, kind="stable")[:BLOBS]:
        if sizes[i] >= here.smallest / 2:
            yield filled(np.asarray(labels == i + 1, bool))


def _largest(mask: BoolArray, cavity: BoolArray, um: float, settings: ImagingSettings) -> BoolArray:
    """Return the largest blob after removing thin bridges, holes filled."""
    n, labels = cv2.connectedComponents(_opened(mask, cavity, um, settings).astype(np.uint8), connectivity=4)
    if n == 1:
        return np.zeros(mask.shape, bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return filled(np.asarray(labels == sizes.argmax(), bool))


def _settle(candidate: BoolArray, guide: FloatArray, here: _Field) -> BoolArray:
    for _ in range(MAX_STEPS):
        if not candidate.any():
            return candidate
        moved = _refine_in_box(candidate, guide, here)
        if (moved == candidate).all() or not moved.any():
            return moved
        candidate = moved
    return candidate


def _refine_in_box(candidate: BoolArray, guide: FloatArray, here: _Field, cut: float = 0.5) -> BoolArray:
    box = around(candidate, round((BORDER_UM + here.settings.lesion_smoothing_um) / here.um) + 4)  # the border moves no farther in a step
    moved = np.zeros_like(candidate)
    moved[box] = _refine(candidate[box], guide[box], here.tissue[box], here.cavity[box], here.solid[box], here, cut)
    return moved


def _refine(
    candidate: BoolArray, guide: FloatArray, tissue: BoolArray, cavity: BoolArray, solid: BoolArray, here: _Field, cut: float
) -> BoolArray:
    """Move the border to where the guide lies `cut` of the way from inside to the rim nearby: a blurred edge has its place halfway.

    The rim is not equally bright all around: where the glial border is open, half of the way to it lies in tissue beyond.
    """
    grown = dilated(candidate, max(round(BORDER_UM / here.um), 1)) & tissue
    rim = dilated(candidate, max(round(RIM_UM / here.um), 1)) & ~candidate & solid
    inner = candidate & solid
    if not rim.any() or not inner.any():
        return candidate
    inside, outside = float(np.median(guide[inner])), float(np.median(guide[rim]))
    size = 2 * max(round(NEARBY_UM / here.um), 1) + 1
    weight = cv2.blur(rim.astype(np.float32), (size, size), borderType=cv2.BORDER_CONSTANT)
    nearby = cv2.blur(np.where(rim, guide - inside, 0).astype(np.float32), (size, size), borderType=cv2.BORDER_CONSTANT)
    rise = np.where(weight > 1e-6, nearby / np.maximum(weight, 1e-6), outside - inside)
    rise = np.maximum(rise, LEAST_RISE * (outside - inside))
    dark = (grown & (guide < inside + cut * rise)) | (cavity & grown)
    return _largest(dark, cavity, here.um, here.settings) & tissue
