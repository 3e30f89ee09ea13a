"""Faults of a section that overviews show: no data, torn, folded, bubbled, out of focus, stitched wrongly, empty.

Light is intensity above the slide's own glass. What doubles or bends it in every channel alike is no stain: a stain is in one channel, and
tissue glows in all of them. Every limit is a size or a ratio with a reason beside it; none was fitted to images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.background import GLASS_MARGIN_UM
from sevhisto.imaging.defocus import blur_of_tiles, merging_blur
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.types import AnyArray, BoolArray, FloatArray

FAULT_NAMES = ("missing_data", "torn", "folded", "bubble", "out_of_focus")
"""What can cover a part of a section, in the order of their codes in the record's mask `faults` (from 1)."""
NO_CAVITY = ("missing_data", "torn")
"""Holes that are no cavity."""
TILE_UM = 96.0
DOUBLED = float(np.sqrt(2))
"""Half way between one layer of tissue and two, as a ratio."""
DIMMED = 0.8
RIM, RIM_UM = 1.15, 20.0
"""A bubble weakens light by a fifth or more inside, and gathers it at its rim."""
ROUND = 0.75
MIN_CHANNELS = 3
MIN_LINE_PX = 30
MIN_GLASS_PX = 400
"""The median of so many pixels is known to a fifteenth of their spread."""
FOLD_LENGTH = 3.0
"""A fold is at least three times as long as wide; clumps of cells are round."""
MIN_FAULT_UM2 = 1500.0
"""About the area of thirty nuclei: smaller things are structure."""
SOFTEN_UM = 8.0
REFERENCE_UM = 64.0
REFERENCE_TILES = 7
"""Tissue around: the median over 7 x 7 squares of 64 um, so that a fold or rim, which is narrower than half of it, does not move it."""

Box = tuple[slice, slice]


@dataclass
class Faults:
    """What is wrong with a section.

    Attributes
    ----------
    masks : {name: (h, w) bool} of `FAULT_NAMES` that cover a part; no pixel belongs to two
    blur_um : median blur of the nuclear stain over the section (sigma, um); NaN where it cannot be told
    flags : names of what was found, also of what covers no part
    share : {name: share of the outline that it covers}
    """

    masks: dict[str, BoolArray] = field(default_factory=dict)
    blur_um: float = float("nan")
    flags: list[str] = field(default_factory=list)
    share: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return what goes into the record: the share of the outline that each fault covers, and numbers of the whole section."""
        blur = None if np.isnan(self.blur_um) else round(self.blur_um, 3)
        return {"share": {name: round(v, 6) for name, v in self.share.items()}, "blur_um": blur}


def find_faults(
    values: FloatArray,
    raw: FloatArray,
    glass: FloatArray | None,
    outline: BoolArray,
    cavity: BoolArray,
    nuclei: int | None,
    um: float,
    nucleus_um: float,
) -> Faults:
    """Return the faults of one section at overview resolution.

    Parameters
    ----------
    values : (n_markers, h, w) float32, uncorrected intensity
    raw : (n_channels, h, w) float32, pixels as in the file
    glass : (n_markers,) intensity of the slide's glass; None where it shows none: then nothing is said of folds and bubbles
    outline : (h, w) bool, tissue with its holes filled
    cavity : (h, w) bool, holes that count as cavity
    nuclei : row of the nuclear stain, where there is one
    um : overview pixel size
    nucleus_um : diameter of a typical nucleus
    """
    found = Faults()
    if not outline.any():
        return found
    missing = missing_data(raw, outline, um)
    torn, opened = tears(cavity & ~missing, outline, um)
    notched = bool(notches(outline | missing, um).any())
    solid = outline & ~cavity & ~missing
    folded = bubble = np.zeros_like(outline)
    if glass is not None:
        light = values - glass[:, None, None]
        folded, bubble = bent_light(light, solid, nuclei, um)
    soft = np.zeros_like(outline)
    if nuclei is not None:
        usable = solid & ~folded & ~bubble
        soft, found.blur_um = out_of_focus(values[nuclei], usable, um, nucleus_um)
    free = np.ones_like(outline)
    for name, mask in zip(FAULT_NAMES, (missing, torn, folded, bubble, soft), strict=True):
        part = mask & outline & free
        if part.any():
            found.masks[name] = part
            found.share[name] = float(part.sum() / outline.sum())
            free &= ~part
    blurred = found.blur_um > merging_blur(nucleus_um)
    more = [name for name, there in (("torn", notched), ("cavity_open", opened), ("out_of_focus", blurred)) if there]
    found.flags = sorted({*found.masks, *more})
    return found


def fault_codes(masks: dict[str, BoolArray], shape: tuple[int, ...]) -> AnyArray:
    """Return one map of all faults, (h, w) uint8: 0, or the place of its name in `FAULT_NAMES`, from 1."""
    codes = np.zeros(shape, np.uint8)
    for name, part in masks.items():
        codes[part] = FAULT_NAMES.index(name) + 1
    return codes


def glass_light(values: FloatArray, tissue: BoolArray, um: float) -> FloatArray | None:
    """Return the intensity of the slide's glass in each marker, (n_markers,) float32; None where too little glass is seen.

    Glass is 60 um and more from tissue, and not padding (0 in every channel).
    """
    far = cv2.distanceTransform((~tissue).astype(np.uint8), cv2.DIST_L2, 3) * um > GLASS_MARGIN_UM if tissue.any() else ~tissue
    glass = far & (values != 0).any(axis=0)
    if glass.sum() < MIN_GLASS_PX:
        return None
    return np.array([np.median(channel[glass]) for channel in values], np.float32)


def missing_data(raw: FloatArray, outline: BoolArray, um: float) -> BoolArray:
    """Return where every channel is exactly 0 over a whole patch inside the outline: a field that was not scanned, (h, w) bool.

    A camera's noise leaves no pixel at 0 in all channels, and no mean of many; black background of a processed image is not inside tissue
    in every channel at once.
    """
    void = np.asarray((raw == 0).all(axis=0) & outline, bool)
    return _large(dilated(eroded(void, 1), 1) & void, MIN_FAULT_UM2 / um**2)


def _large(mask: BoolArray, pixels: float) -> BoolArray:
    """Return the parts of a mask with at least so many pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= pixels
    keep[0] = False
    return np.asarray(keep[labels], bool)


def _parts(mask: BoolArray) -> list[tuple[Box, BoolArray]]:
    """Return the box of each connected part, one pixel wider where there is room, and the part inside it."""
    labels, n = ndimage.label(mask, np.ones((3, 3), int))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels, n), 1):
        wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        found.append(((wide[0], wide[1]), np.asarray(labels[wide] == number, bool)))
    return found


def _half_width(part: BoolArray) -> float:
    """Return the radius of the largest disc inside a part, in pixels."""
    return float(cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 5).max())


def elongation(part: BoolArray) -> float:
    """Return length over width of a strip, from its area and the widest disc inside: 0.8 for a disc, 1 for a square."""
    return float(part.sum()) / (2 * _half_width(part)) ** 2


def tears(cavity: BoolArray, outline: BoolArray, um: float) -> tuple[BoolArray, bool]:
    """Return the slits among the cavities that open to the outside, (h, w) bool, and whether a round one opens to it too.

    A tear is at least twice as long as wide. A round hole at the border may be a cyst or lost tissue; no picture tells which.
    """
    torn = np.zeros_like(cavity)
    opened = False
    near = dilated(~outline, max(round(SOFTEN_UM / um), 1))
    near[[0, -1]] |= outline[[0, -1]]
    near[:, [0, -1]] |= outline[:, [0, -1]]
    for box, part in _parts(cavity):
        if not (dilated(part, 1) & near[box]).any():
            continue
        if elongation(part) >= 2:
            torn[box] |= part
        else:
            opened = True
    return torn, opened


def notches(outline: BoolArray, um: float) -> BoolArray:
    """Return gaps that reach from the outside between two sides of the tissue, (h, w) bool.

    They are what a closing with a disc of 100 um fills, at least 150 um deep and twice as deep as wide: the ventral fissure of a rodent
    cord, a natural notch, is shallower where it is open.
    """
    radius = max(round(100 / um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    padded = np.pad(outline, radius + 1).astype(np.uint8)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[radius + 1 : -radius - 1, radius + 1 : -radius - 1] > 0
    gap = closed & ~outline
    depth = np.asarray(ndimage.distance_transform_edt(filled(closed)), np.float32) * um
    out = np.zeros_like(outline)
    for box, part in _parts(dilated(eroded(gap, 1), 1) & gap):
        wide = 2 * _half_width(part) * um
        deep = float(depth[box][part].max())
        if deep >= 150 and deep >= 2 * wide:
            out[box] |= part
    return out


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
    for box, part in _parts(_large((ratio.min(axis=0) > np.sqrt(DOUBLED)) & solid, smallest)):
        if elongation(part) >= FOLD_LENGTH:
            beside = _beside(light, floor, box, part, solid, nuclei, um)
            if min(beside) > DOUBLED:
                folds[box] |= part
    whole_level = np.array([np.median(channel[solid]) for channel in floor[shown]]) if solid.any() else np.zeros(len(shown))
    for reference in (ratio, _ratio_to(floor[shown], whole_level, solid)):  # a bubble may be larger than what counts as surroundings
        for box, part in _parts(_large(_closed((reference.max(axis=0) < DIMMED) & solid), smallest)):
            whole = filled(np.pad(part, 1))[1:-1, 1:-1]
            if roundness(whole) > ROUND and _has_rim(light[shown], box, whole, solid, um):
                bubbles[box] |= whole
    return dilated(folds, margin) & solid, dilated(bubbles, round(RIM_UM / um) + margin)


def _closed(mask: BoolArray) -> BoolArray:
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0, bool)


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


def roundness(part: BoolArray) -> float:
    """Return the area of a part over that of the disc about its centre that holds it: 1 for a disc, 0.64 for a square."""
    y, x = np.nonzero(part)
    reach = np.hypot(y - y.mean(), x - x.mean()).max() + 0.5
    return float(len(y) / (np.pi * reach**2))


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


def out_of_focus(nuclei: FloatArray, usable: BoolArray, um: float, nucleus_um: float) -> tuple[BoolArray, float]:
    """Return the part of a section whose nuclei are blurred until neighbours merge, (h, w) bool, and the section's median blur (um).

    Only a part can be masked: its tiles are blurred half as much again as the sharper quarter of the section too. A section that is
    blurred all over has no sharp part to tell it from large nuclei; its median says it.
    """
    tile = max(round(TILE_UM / um), 8)
    level = float(np.median(nuclei[usable])) if usable.any() else 0.0
    nuclei = np.where(usable, nuclei - level, 0).astype(np.float32)  # no step where the tissue ends
    blur = blur_of_tiles(nuclei, usable, um, nucleus_um, tile)
    known = np.isfinite(blur)
    out = np.zeros_like(usable)
    if not known.any():
        return out, float("nan")
    middle = float(np.median(blur[known]))
    sharp = float(np.percentile(blur[known], 25))
    limit = max(merging_blur(nucleus_um), 1.5 * sharp)
    bad = np.nan_to_num(blur) > limit
    bad = _large(bad, 4)  # a single tile may hold a vessel
    bad |= _enclosed(bad, known)
    h, w = usable.shape
    grown = np.repeat(np.repeat(bad, tile, axis=0), tile, axis=1)[:h, :w]
    out[: grown.shape[0], : grown.shape[1]] = grown
    return out, middle


def _enclosed(bad: BoolArray, known: BoolArray) -> BoolArray:
    """Return tiles without a say most of whose neighbours with a say are bad."""
    ones = np.ones((3, 3), np.float32)
    n_bad = ndimage.convolve(bad.astype(np.float32), ones, mode="constant")
    n_known = ndimage.convolve(known.astype(np.float32), ones, mode="constant")
    return np.asarray(~known & (n_bad > 0) & (n_bad > n_known / 2), bool)
