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
from sevhisto.imaging.blobs import Box, parts
from sevhisto.imaging.bubbles import bubbles
from sevhisto.imaging.defocus import out_of_focus
from sevhisto.imaging.folds import folds
from sevhisto.imaging.gaps import missing_data, notches, tears
from sevhisto.imaging.geometry import dilated, eroded
from sevhisto.imaging.measure import SATURATED_SHARE
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.seams import seam_step
from sevhisto.imaging.shifts import Line, doubtful_lines, shift_at
from sevhisto.imaging.surroundings import SOFTEN_UM, block_means, tile_means
from sevhisto.types import AnyArray, BoolArray, FloatArray, PixelSource, SectionRecord

FAULT_NAMES = ("missing_data", "torn", "folded", "bubble", "out_of_focus")
"""What can cover a part of a section, in the order of their codes in the record's mask `faults` (from 1)."""
NO_CAVITY = ("missing_data", "torn", "bubble")
"""Holes that are no cavity."""
DIM_SHARE = 0.15
"""Of the light of tissue: a hole shows that of the glass, with what scatters into it."""
CLIPPED_SHARE = 0.01
"""A camera whose offset is 2.3 sd of its noise or less; then the mean of dark tissue is too high."""
WINDOW_PX, N_WINDOWS = 256, 8
SEAM_STEP = 0.065
"""Of brightness: shading correction leaves 1 to 5 %."""
MIN_GLASS_PX = 400
"""The median of so many pixels is known to a fifteenth of their spread."""
MIN_BELOW = 3.0
"""Grey levels under a plateau that are looked at, at least: of a faint channel a fiftieth of the range is less than one."""


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
    doubtful_lines, told_by : where `shifts.shift_at` shall look, and at which markers
    """

    masks: dict[str, BoolArray] = field(default_factory=dict)
    blur_um: float = float("nan")
    flags: list[str] = field(default_factory=list)
    share: dict[str, float] = field(default_factory=dict)
    light: dict[str, float] = field(default_factory=dict)
    seam_step: float = float("nan")
    doubtful_lines: list[Line] = field(default_factory=list)
    told_by: list[int] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return what goes into the record: the share of the outline that each fault covers, and numbers of the whole section."""
        numbers = {"blur_um": self.blur_um, "seam_step": self.seam_step}
        return {
            "share": {name: round(v, 6) for name, v in self.share.items()},
            "light": {marker: round(v, 3) for marker, v in self.light.items()},
            "doubtful_lines": [list(line) for line in self.doubtful_lines],
            "told_by": list(self.told_by),
            **{name: None if np.isnan(v) else round(v, 4) for name, v in numbers.items()},
        }


MOST_MASKED = 0.5
"""A fault that would cover more than half of a section is told, not masked: whether to leave the section out is for a person to say."""
MOST_PX = 1_000_000
"""Larger sections are searched for faults on means of whole blocks of their overview, which takes time and memory that do not grow."""


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
    # in colour, stains that lie over each other and compression look like blur
    nucleus_um = (settings.nucleus_diameter_um or TYPICAL_NUCLEUS_UM) if panel.kind == "fluorescence" else None
    k = math.ceil(math.sqrt(outline.size / MOST_PX))
    small, raw_small = (np.stack([block_means(c, k) for c in image[here]]) if k > 1 else image[here] for image in (values, raw))
    inside, hollow = (block_means(m, k) >= 0.5 if k > 1 else m for m in (outline, cavity))
    found = find_faults(small, raw_small, level, inside, hollow, row, bends, um * k, nucleus_um)
    if k > 1:
        h, w = outline.shape
        found.doubtful_lines = [(axis, first * k, last * k) for axis, first, last in found.doubtful_lines]
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
    nucleus_um: float | None,
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
    bends : whether folds and bubbles are sought
    um : overview pixel size
    nucleus_um : diameter of a typical nucleus; None: focus is not judged
    """
    found = Faults()
    if not outline.any():
        return found
    missing = missing_data(raw, outline, um)
    torn, opened = tears(cavity & ~missing, outline, um)
    notched = bool(notches(outline | missing, um).any())
    solid = outline & ~cavity & ~missing
    folded = bubble = np.zeros_like(outline)
    if glass is not None and (bends or nuclei is not None):  # a control without stains shows one thing in all channels
        light = values - glass[:, None, None]
        stains = light[[i for i in range(len(light)) if i != nuclei]]
        bubble = bubbles(stains, solid | _dim(stains, cavity & ~missing, solid), um)
        folded = folds(light, solid, nuclei, um) if bends else folded
        _seams(found, light, eroded(solid, max(round(SOFTEN_UM / um), 1)), um)
    soft = np.zeros_like(outline)
    if glass is not None and nuclei is not None and nucleus_um is not None:
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
    told = {"torn": notched, "cavity_open": opened, "seams": found.seam_step > SEAM_STEP, "missing_data": missing.any()}
    found.flags = sorted({*found.share, *(name for name, there in told.items() if there)})
    return found


def _seams(found: Faults, light: FloatArray, solid: BoolArray, um: float) -> None:
    found.seam_step = seam_step(light, solid, um)
    found.doubtful_lines, found.told_by = doubtful_lines(light, solid, um)


def _dim(light: FloatArray, cavity: BoolArray, solid: BoolArray) -> BoolArray:
    """Return the cavities that are not as dark as glass in any channel: they may be bubbles."""
    out = np.zeros_like(cavity)
    if solid.any():
        usual = [float(np.median(channel[solid])) for channel in light]
        for box, part in parts(cavity):
            if all(np.median(channel[box][part]) > DIM_SHARE * u for channel, u in zip(light, usual, strict=True)):
                out[box] |= part
    return out


def filled_in(values: FloatArray, masks: dict[str, BoolArray]) -> FloatArray:
    """Return an overview (n_markers, h, w) with the nearest light in place of fields without data: their black is no lesion's."""
    void = masks.get("missing_data")
    if void is None or void.all():
        return values
    nearest = ndimage.distance_transform_edt(dilated(void, 1), return_distances=False, return_indices=True)
    return np.asarray(values[:, nearest[0], nearest[1]], np.float32)


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


def closer_look(source: PixelSource, reader: MarkerReader, record: SectionRecord) -> set[str]:
    """Return flags that a few windows at full resolution set: shifted fields, background cut off, range used up.

    Parameters
    ----------
    source : the section at full resolution
    reader : how its markers are read; brightfield is not looked at
    record : of the section
    """
    if reader.brightfield:
        return set()
    examined = (record.masks["tissue"] > 0) & (record.masks["cavity"] == 0) & (record.masks["masked"] == 0)
    factor, found = record.meta["overview_factor"], set()
    told = record.meta["faults"]
    if shift_at(source, [reader.channels[i] for i in told["told_by"]], examined, factor, told["doubtful_lines"]) > 0:
        found.add("seams")
    if reader.top > 255:  # 0 is the background of 8-bit pictures, and their steps are coarse
        zero, top = cut_shares(source, reader.channels, examined, factor)
        found |= {name for name, there in (("clipped", zero > CLIPPED_SHARE), ("saturated", top > SATURATED_SHARE)) if there.any()}
    return found


def cut_shares(source: PixelSource, channels: Sequence[int], tissue: BoolArray, factor: int) -> tuple[FloatArray, FloatArray]:
    """Return the shares of tissue pixels at 0, and at a plateau, in each channel, each (n_channels,) float32, of a few windows.

    Parameters
    ----------
    source : the section at full resolution
    tissue : (h, w) bool, at overview resolution, examined
    factor : full-resolution pixels per overview pixel

    A plateau is the highest value seen, where more pixels have it than the next fiftieth of the range: a camera whose range ends
    under its file's. NaN without tissue.
    """
    side = max(WINDOW_PX // factor, 1)
    share = tile_means(tissue, side)
    places = np.argwhere(share > 0.5) if (share > 0.5).any() else np.argwhere(share > 0)
    chosen = places[np.unique(np.linspace(0, max(len(places) - 1, 0), N_WINDOWS).astype(int))] if len(places) else places
    seen: list[list[AnyArray]] = [[] for _ in channels]
    for ty, tx in chosen * side:
        y0, x0 = int(ty) * factor, int(tx) * factor
        pixels = source.read(channels, y0, min(y0 + side * factor, source.shape[0]), x0, min(x0 + side * factor, source.shape[1]))
        here = tissue[ty : ty + side, tx : tx + side].repeat(factor, axis=0).repeat(factor, axis=1)[: pixels.shape[1], : pixels.shape[2]]
        for values, plane in zip(seen, pixels[:, : here.shape[0], : here.shape[1]], strict=True):
            values.append(plane[here])
    each = [np.concatenate(v) if v else np.zeros(0) for v in seen]
    return np.array([_share_at(v, 0) for v in each], np.float32), np.array([_plateau(v) for v in each], np.float32)


def _share_at(values: AnyArray, value: float) -> float:
    return float(np.count_nonzero(values == value)) / len(values) if len(values) else float("nan")


def _plateau(values: AnyArray) -> float:
    """Return the share of the values that are the highest one, if they are more than those a little below; else 0."""
    if not len(values):
        return float("nan")
    top, low = float(values.max()), float(values.min())
    share = _share_at(values, top)
    reach = max(0.02 * (top - low), MIN_BELOW)
    below = float(np.count_nonzero((values < top) & (values >= top - reach))) / len(values)
    return share if share > below else 0.0
