"""Faults of a section that overviews show: no data, torn, folded, bubbled, out of focus, stitched wrongly, empty.

Light is intensity above the slide's own glass. What doubles or bends it in every channel alike is no stain: a stain is in one channel, and
tissue glows in all of them. Every limit is a size or a ratio with a reason beside it; none was fitted to images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.config import TYPICAL_NUCLEUS_UM, ImagingSettings, PanelSettings
from sevhisto.imaging.background import GLASS_MARGIN_UM
from sevhisto.imaging.bending import MIN_FAULT_UM2, SOFTEN_UM, bent_light, tile_means
from sevhisto.imaging.blobs import Box, elongation, half_width, large, parts
from sevhisto.imaging.defocus import blur_of_tiles, merging_blur
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.imaging.seams import seam_step
from sevhisto.types import AnyArray, BoolArray, FloatArray, PixelSource

FAULT_NAMES = ("missing_data", "torn", "folded", "bubble", "out_of_focus")
"""What can cover a part of a section, in the order of their codes in the record's mask `faults` (from 1)."""
NO_CAVITY = ("missing_data", "torn")
"""Holes that are no cavity."""
TILE_UM = 96.0
FILLED_BOX = 0.95
CLIPPED_SHARE = 0.01
"""A camera whose offset is 2.3 sd of its noise or less; then the mean of dark tissue is too high."""
WINDOW_PX, N_WINDOWS = 256, 8
SEAM_STEP = 0.08
"""Of brightness: shading correction leaves 1 to 5 %."""
MIN_TILES = 4
"""A blurred tile alone may hold a vessel or a tract; focus is lost over areas."""
MIN_GLASS_PX = 400
"""The median of so many pixels is known to a fifteenth of their spread."""


@dataclass
class Faults:
    """What is wrong with a section.

    Attributes
    ----------
    masks : {name: (h, w) bool} of `FAULT_NAMES` that cover a part; no pixel belongs to two
    blur_um : median blur of the nuclear stain over the section (sigma, um); NaN where it cannot be told
    flags : names of what was found, also of what covers no part
    share : {name: share of the outline that it covers}
    light : {marker: median intensity of the tissue above the glass}; empty where no glass is seen
    seam_step : see `seams.seam_step`
    """

    masks: dict[str, BoolArray] = field(default_factory=dict)
    blur_um: float = float("nan")
    flags: list[str] = field(default_factory=list)
    share: dict[str, float] = field(default_factory=dict)
    light: dict[str, float] = field(default_factory=dict)
    seam_step: float = float("nan")

    def facts(self) -> dict[str, Any]:
        """Return what goes into the record: the share of the outline that each fault covers, and numbers of the whole section."""
        numbers = {"blur_um": self.blur_um, "seam_step": self.seam_step}
        return {
            "share": {name: round(v, 6) for name, v in self.share.items()},
            "light": {marker: round(v, 3) for marker, v in self.light.items()},
            **{name: None if np.isnan(v) else round(v, 4) for name, v in numbers.items()},
        }


MOST_MASKED = 0.5
"""A fault that would cover more than half of a section is told, not masked: whether to leave the section out is for a person to say."""
MOST_PX = 1_000_000
"""Larger sections are searched for faults on means of whole blocks of their overview, which takes time and memory that do not grow."""


def block_means(image: AnyArray, k: int) -> FloatArray:
    """Return means over squares of k pixels, (ceil(h / k), ceil(w / k)) float32; the last row and column stand in for what is beyond."""
    h, w = image.shape
    padded = np.pad(np.asarray(image, np.float32), ((0, -h % k), (0, -w % k)), mode="edge")
    return np.asarray(cv2.resize(padded, (padded.shape[1] // k, padded.shape[0] // k), interpolation=cv2.INTER_AREA), np.float32)


def faults_in(
    values: FloatArray,
    raw: FloatArray,
    glass: BoolArray,
    box: Box,
    outline: BoolArray,
    cavity: BoolArray,
    panel: PanelSettings,
    um: float,
    settings: ImagingSettings,
) -> Faults:
    """Return the faults of the section in a box of a slide's overview; `glass` : (h, w) bool of the slide, where no tissue is."""
    nuclei = panel.marker_of_role("nuclei")
    row = None if nuclei is None else panel.markers.index(nuclei)
    here = (slice(None), *box)
    level = glass_light(values, ~glass, um)
    # clumps of glowing cells are bright in every channel too, but not in a stain of the tissue itself, which they displace
    bends = panel.marker_of_role("landmark") is not None
    nucleus_um = settings.nucleus_diameter_um or TYPICAL_NUCLEUS_UM
    k = math.ceil(math.sqrt(outline.size / MOST_PX))
    small, raw_small = (np.stack([block_means(c, k) for c in image[here]]) if k > 1 else image[here] for image in (values, raw))
    inside, hollow = (block_means(m, k) >= 0.5 if k > 1 else m for m in (outline, cavity))
    found = find_faults(small, raw_small, level, inside, hollow, row, bends, um * k, nucleus_um)
    if k > 1:
        h, w = outline.shape
        found.masks = {name: m.repeat(k, axis=0).repeat(k, axis=1)[:h, :w] for name, m in found.masks.items()}
    free = outline & ~cavity & ~np.logical_or.reduce([np.zeros_like(outline), *found.masks.values()])
    if level is not None and free.any():
        found.light = {m: float(np.median(v[free]) - g) for m, v, g in zip(panel.markers, values[here], level, strict=True)}
    return found


def find_faults(
    values: FloatArray,
    raw: FloatArray,
    glass: FloatArray | None,
    outline: BoolArray,
    cavity: BoolArray,
    nuclei: int | None,
    bends: bool,
    um: float,
    nucleus_um: float,
) -> Faults:
    """Return the faults of one section at overview resolution.

    Parameters
    ----------
    values : (n_markers, h, w) float32, uncorrected intensity
    raw : (n_channels, h, w) float32, pixels as in the file
    glass : (n_markers,) intensity of the slide's glass; where None, nothing is said of folds, bubbles, seams and focus
    outline : (h, w) bool, tissue with its holes filled
    cavity : (h, w) bool, holes that count as cavity
    nuclei : row of the nuclear stain, where there is one
    bends : whether folds, bubbles and seams are sought
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
    if glass is not None and bends:
        light = values - glass[:, None, None]
        folded, bubble = bent_light(light, solid, nuclei, um)
        found.seam_step = seam_step(light, eroded(solid, max(round(SOFTEN_UM / um), 1)), um)
    soft = np.zeros_like(outline)
    if glass is not None and nuclei is not None:
        usable = solid & ~folded & ~bubble
        soft, found.blur_um = out_of_focus(values, usable, um, nucleus_um)
    free = np.ones_like(outline)
    for name, mask in zip(FAULT_NAMES, (missing, torn, folded, bubble, soft), strict=True):
        part = mask & outline & free
        if part.any():
            found.share[name] = float(part.sum() / outline.sum())
            free &= ~part
            if found.share[name] <= MOST_MASKED:
                found.masks[name] = part
    more = [name for name, there in (("torn", notched), ("cavity_open", opened), ("seams", found.seam_step > SEAM_STEP)) if there]
    found.flags = sorted({*found.share, *more})
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


def clipped_share(source: PixelSource, channels: Sequence[int], tissue: BoolArray, factor: int) -> FloatArray:
    """Return the share of tissue pixels at 0 in each channel, (n_channels,) float32, from a few windows; NaN without tissue.

    Parameters
    ----------
    source : the section at full resolution
    tissue : (h, w) bool, at overview resolution, examined
    factor : full-resolution pixels per overview pixel
    """
    side = max(WINDOW_PX // factor, 1)
    share = tile_means(tissue, side)
    places = np.argwhere(share > 0.5) if (share > 0.5).any() else np.argwhere(share > 0)
    chosen = places[np.unique(np.linspace(0, max(len(places) - 1, 0), N_WINDOWS).astype(int))] if len(places) else places
    zero, n = np.zeros(len(channels)), 0
    for ty, tx in chosen * side:
        y0, x0 = int(ty) * factor, int(tx) * factor
        pixels = source.read(channels, y0, min(y0 + side * factor, source.shape[0]), x0, min(x0 + side * factor, source.shape[1]))
        here = tissue[ty : ty + side, tx : tx + side].repeat(factor, axis=0).repeat(factor, axis=1)[: pixels.shape[1], : pixels.shape[2]]
        zero += [int(np.count_nonzero(plane[here] == 0)) for plane in pixels[:, : here.shape[0], : here.shape[1]]]
        n += int(here.sum())
    return np.asarray(zero / n if n else np.full(len(channels), np.nan), np.float32)


def missing_data(raw: FloatArray, outline: BoolArray, um: float) -> BoolArray:
    """Return where every channel is exactly 0 over a whole patch inside the outline: a field that was not scanned, (h, w) bool.

    A field has straight sides. The dark of a processed 8-bit image is 0 too, but has the shape of what it surrounds.
    """
    void = np.asarray((raw == 0).all(axis=0), bool)
    found = np.zeros_like(void)
    for box, part in parts(large(void, MIN_FAULT_UM2 / um**2)):
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        whole = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        if part.sum() > FILLED_BOX * whole:
            found[box] |= part
    return found & outline


def tears(cavity: BoolArray, outline: BoolArray, um: float) -> tuple[BoolArray, bool]:
    """Return the slits among the cavities that open to the outside, (h, w) bool, and whether a round one opens to it too.

    A tear is at least twice as long as wide. A round hole at the border may be a cyst or lost tissue; no picture tells which.
    """
    torn = np.zeros_like(cavity)
    opened = False
    near = dilated(~outline, max(round(SOFTEN_UM / um), 1))
    near[[0, -1]] |= outline[[0, -1]]
    near[:, [0, -1]] |= outline[:, [0, -1]]
    for box, part in parts(cavity):
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
    for box, part in parts(dilated(eroded(gap, 1), 1) & gap):
        wide = 2 * half_width(part) * um
        deep = float(depth[box][part].max())
        if deep >= 150 and deep >= 2 * wide:
            out[box] |= part
    return out


def out_of_focus(values: FloatArray, usable: BoolArray, um: float, nucleus_um: float) -> tuple[BoolArray, float]:
    """Return the part of a section that is out of focus, (h, w) bool, and the section's median blur (um).

    A tile is as sharp as its sharpest channel: what is out of focus is so in all, while the structures of one stain can be large. It must
    be blurred until touching nuclei merge, and twice as much as the sharper quarter of the section, since panels differ in how fine their
    finest structures are. A section that is blurred all over has no such part; its median tells it from others of its batch.
    """
    tile = max(round(TILE_UM / um), 8)
    out = np.zeros_like(usable)
    if not usable.any():
        return out, float("nan")
    blur = np.full((-(-usable.shape[0] // tile), -(-usable.shape[1] // tile)), np.nan, np.float32)
    for channel in values:
        flat = np.where(usable, channel - np.median(channel[usable]), 0).astype(np.float32)  # no step where the tissue ends
        blur = np.fmin(blur, blur_of_tiles(flat, usable, um, nucleus_um, tile))
    known = np.isfinite(blur)
    if not known.any():
        return out, float("nan")
    middle, sharp = (float(v) for v in np.percentile(blur[known], (50, 25)))
    bad = large(np.nan_to_num(blur) > max(merging_blur(nucleus_um), 2 * sharp), MIN_TILES)
    bad |= _enclosed(bad, known)
    out |= np.repeat(np.repeat(bad, tile, axis=0), tile, axis=1)[: out.shape[0], : out.shape[1]]
    return out, middle


def _enclosed(bad: BoolArray, known: BoolArray) -> BoolArray:
    """Return tiles without a say most of whose neighbours with a say are bad."""
    ones = np.ones((3, 3), np.float32)
    n_bad = ndimage.convolve(bad.astype(np.float32), ones, mode="constant")
    n_known = ndimage.convolve(known.astype(np.float32), ones, mode="constant")
    return np.asarray(~known & (n_bad > 0) & (n_bad > n_known / 2), bool)
