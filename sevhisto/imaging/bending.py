"""What bends or doubles light in every channel alike: folds and bubbles.

A stain is in one channel; what all channels share is the glow of the tissue and what lies in the way of the light. Light is intensity above
the slide's own glass.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.blobs import Box, elongation, large, parts, roundness
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.types import AnyArray, BoolArray, FloatArray

FOLD_LENGTH = 3.0
"""A fold is at least three times as long as wide; clumps of cells are round."""
MIN_FAULT_UM2 = 1500.0
"""About the area of thirty nuclei: smaller things are structure."""
SOFTEN_UM = 8.0
REFERENCE_UM = 64.0
REFERENCE_TILES = 7
"""Tissue around: the median over 7 x 7 squares of 64 um, so that a fold or rim, which is narrower than half of it, does not move it."""
DOUBLED = float(np.sqrt(2))
"""Half way between one layer of tissue and two, as a ratio; twice of it lies half way between two and four.

Of nuclei, few as they are, its root is enough."""
DIMMED = 0.8
RIM, RIM_UM = 1.15, 20.0
"""A bubble weakens light by a fifth or more inside, and gathers it at its rim."""
ROUND = 0.6
"""Of a disc from which cells at its border take bites; the rim decides."""
MIN_CHANNELS = 3
THREAD_UM = 25.0
MIN_LINE_PX = 30


def bent_light(light: FloatArray, solid: BoolArray, nuclei: int | None, um: float) -> tuple[BoolArray, BoolArray]:
    """Return folds and bubbles, each (h, w) bool: strips that are bright, and discs that are dim with a bright rim, in every channel alike.

    Places come from what lies between cells (the local minimum), since every channel has it; nuclei leave too little there and are asked
    about the whole candidate. Fewer than three channels cannot tell a fold from a scar: then both are empty.
    """
    folds, bubbles = np.zeros_like(solid), np.zeros_like(solid)
    if len(light) < MIN_CHANNELS:
        return folds, bubbles
    shown = [i for i in range(len(light)) if i != nuclei]
    floor = np.stack([cv2.erode(cv2.GaussianBlur(channel, (0, 0), 1), np.ones((3, 3), np.uint8)) for channel in light])
    ratio = np.stack([_over_surroundings(floor[i], solid, um) for i in shown])
    smallest, margin = MIN_FAULT_UM2 / um**2, max(round(SOFTEN_UM / um), 1)
    for level in (np.sqrt(DOUBLED), DOUBLED):  # a scar beside a fold may join it at the lower one
        for box, part in parts(large((ratio.min(axis=0) > level) & solid, smallest)):
            if elongation(part) >= FOLD_LENGTH:
                beside = _beside(light, floor, box, part, solid, nuclei, um)
                if _all_doubled(beside, nuclei):
                    folds[box] |= part
    inner = eroded(solid, 2 * margin)  # light falls off where the tissue ends
    whole_level = np.array([np.median(channel[solid]) for channel in floor[shown]]) if solid.any() else np.zeros(len(shown))
    for reference in (ratio, _ratio_to(floor[shown], whole_level, solid)):  # a bubble may be larger than what counts as surroundings
        # cells of one stain may shine through
        for box, part in parts(large(_without_threads((np.sort(reference, axis=0)[-2] < DIMMED) & inner, um), smallest)):
            whole = filled(np.pad(part, 1))[1:-1, 1:-1]
            if roundness(whole) > ROUND and _has_rim(light[shown], box, whole, solid, um):
                bubbles[box] |= whole
    return dilated(folds, margin) & solid, dilated(bubbles, round(RIM_UM / um) + margin)


def _all_doubled(beside: list[float], nuclei: int | None) -> bool:
    """Return whether the light of every channel is about doubled."""
    return all((np.sqrt(DOUBLED) if i == nuclei else DOUBLED) < r < 2 * DOUBLED for i, r in enumerate(beside))


def _without_threads(mask: BoolArray, um: float) -> BoolArray:
    """Return a mask without holes, and without what is narrower than 50 um."""
    closed = filled(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0)
    side = 2 * max(round(THREAD_UM / um), 1) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(closed.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0, bool)


def _around(box: Box, part: BoolArray, solid: BoolArray, first_um: float, last_um: float, um: float) -> tuple[Box, BoolArray, BoolArray]:
    """Return a wider box, the part in it, and the tissue between two distances from it."""
    reach = round(last_um / um) + 1
    wide = slice(max(box[0].start - reach, 0), box[0].stop + reach), slice(max(box[1].start - reach, 0), box[1].stop + reach)
    inside = np.zeros(solid[wide].shape, bool)
    y, x = box[0].start - wide[0].start, box[1].start - wide[1].start
    inside[y : y + part.shape[0], x : x + part.shape[1]] = part
    far = np.asarray(ndimage.distance_transform_edt(~inside), np.float32) * um
    return wide, inside, np.asarray((far > first_um) & (far <= last_um) & solid[wide], bool)


def _beside(
    light: FloatArray, floor: FloatArray, box: Box, part: BoolArray, solid: BoolArray, nuclei: int | None, um: float
) -> list[float]:
    """Return, per channel, the light of a part over that of the tissue beside it: means of the nuclei, else medians of the floor."""
    wide, inside, ring = _around(box, part, solid, 2 * SOFTEN_UM, 8 * SOFTEN_UM, um)
    if not ring.any():
        return [0.0]
    found = []
    for i in range(len(light)):
        channel = light[i][wide] if i == nuclei else floor[i][wide]
        here, there = (np.mean(channel[m]) if i == nuclei else np.median(channel[m]) for m in (inside, ring))
        found.append(float(here) / float(there) if there > 0 else 0.0)
    return found


def _ratio_to(light: FloatArray, level: AnyArray, solid: BoolArray) -> FloatArray:
    """Return light over one level per channel; 1 where the level or the tissue is missing."""
    known = level > 0
    scaled = light / np.where(known, level, 1)[:, None, None].astype(np.float32)
    return np.asarray(np.where(solid & known[:, None, None], scaled, 1), np.float32)


def _has_rim(light: FloatArray, box: Box, part: BoolArray, solid: BoolArray, um: float) -> bool:
    """Return whether every channel is brighter along a line around a part than beyond it: medians, so that single cells do not count."""
    wide, _, beyond = _around(box, part, solid, RIM_UM + 2 * SOFTEN_UM, RIM_UM + 6 * SOFTEN_UM, um)
    _, inside, _ = _around(box, part, solid, 0, RIM_UM + 6 * SOFTEN_UM, um)
    far = np.asarray(ndimage.distance_transform_edt(~inside), np.float32)
    lines = [(far > d) & (far <= d + 1) & solid[wide] for d in range(round(RIM_UM / um) + 1)]
    lines = [line for line in lines if line.sum() >= MIN_LINE_PX]
    if beyond.sum() < MIN_LINE_PX or not lines:
        return False
    return all(max(float(np.median(c[wide][n])) for n in lines) > RIM * float(np.median(c[wide][beyond])) for c in light)


def _over_surroundings(light: FloatArray, solid: BoolArray, um: float) -> FloatArray:
    """Return softened light over the median of the tissue around, (h, w) float32; 0 where there is none."""
    weight = solid.astype(np.float32)
    sigma = SOFTEN_UM / um
    soft = cv2.GaussianBlur(np.where(solid, light, 0).astype(np.float32), (0, 0), sigma)
    soft /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
    step = max(round(REFERENCE_UM / um), 1)
    mean, share = tile_means(np.where(solid, light, 0), step), tile_means(weight, step)
    level = np.where(share > 0.25, mean / np.maximum(share, 1e-3), np.nan)
    around = _median_around(level, REFERENCE_TILES)
    fit = cv2.resize(np.nan_to_num(around), (around.shape[1] * step, around.shape[0] * step), interpolation=cv2.INTER_LINEAR)
    fit = fit[: light.shape[0], : light.shape[1]]
    return np.asarray(np.where(solid & (fit > 0), soft / np.maximum(fit, 1e-3), 0), np.float32)


def tile_means(image: AnyArray, step: int) -> FloatArray:
    """Return means over squares of `step` pixels, (ceil(h / step), ceil(w / step)) float32; what lies beyond the image counts as 0."""
    h, w = image.shape
    padded = np.pad(np.asarray(image, np.float32), ((0, -h % step), (0, -w % step)))
    return np.asarray(padded.reshape(padded.shape[0] // step, step, -1, step).mean((1, 3)), np.float32)


def _median_around(level: FloatArray, side: int) -> FloatArray:
    """Return the median of the known values in side x side squares, the nearest known one where there are none."""
    if not np.isfinite(level).any():
        return np.zeros_like(level)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(level, side // 2, constant_values=np.nan), (side, side))
    flat = np.sort(windows.reshape(*level.shape, -1), axis=-1)  # NaN last
    n = np.isfinite(flat).sum(axis=-1)
    middle = np.take_along_axis(flat, np.maximum(n - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    unknown = np.asarray(n == 0)
    if unknown.any():
        nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
        middle = middle[tuple(nearest)]
    return np.asarray(middle, np.float32)
