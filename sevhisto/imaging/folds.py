"""Folds: strips that are bright in every channel alike, since tissue lies there two or three times.

A stain is in one channel; what all channels share is the glow of the tissue and what lies in the way of the light. Light is intensity above
the slide's own glass.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.blobs import Box, elongation, large, parts
from sevhisto.imaging.gaps import MIN_FAULT_UM2
from sevhisto.imaging.geometry import dilated
from sevhisto.imaging.surroundings import SOFTEN_UM, common, over_surroundings
from sevhisto.types import BoolArray, FloatArray

FOLD_LENGTH = 3.0
"""A fold is at least three times as long as wide; clumps of cells are round."""
DOUBLED = float(np.sqrt(2))
"""Half way between one layer of tissue and two, as a ratio. Of nuclei, few as they are, its root is enough."""
SECOND_LAYER = 5 / 3
"""Mean of the channels: a second layer adds as much light as the first, of which the softened edge loses a third at most."""
MOST_LAYERS = float(np.sqrt(3 * 4))
"""Half way between the three layers of a pleat and four."""
ALIKE = 1.4
"""Layers are counted by every channel, to within two fifths."""
LEVELS = (DOUBLED**0.5, DOUBLED, DOUBLED**2)
"""A scar beside a fold may join it at a lower one."""
APART_UM = 24.0
"""Tissue lies double or it does not; nuclei and tracts become denser by and by."""
MIN_PAIRS = 12
RAISED, BOTH_SIDES = 1.25, 0.65
"""A fold ends on both sides, a band of tissue goes over into its neighbour on one."""
MIN_CHANNELS = 3


def folds(light: FloatArray, solid: BoolArray, nuclei: int | None, um: float) -> BoolArray:
    """Return where tissue is folded, (h, w) bool.

    Parameters
    ----------
    light : (n, h, w) float32, intensity above the glass
    solid : (h, w) bool, tissue that counts
    nuclei : row of the nuclear stain, where there is one
    um : pixel size

    Places come from what lies between cells (the local minimum), since every channel has it; nuclei leave too little there and are asked
    about the whole candidate. Fewer than three channels cannot tell a fold from a scar: then there are none.
    """
    found = np.zeros_like(solid)
    if len(light) < MIN_CHANNELS:
        return found
    shown = [i for i in range(len(light)) if i != nuclei]
    floor = [cv2.erode(cv2.GaussianBlur(light[i], (0, 0), 1), np.ones((3, 3), np.uint8)) for i in shown]
    raised = common(np.log(np.maximum([over_surroundings(channel, solid, um) for channel in floor], 1e-3)))
    for level in LEVELS:
        for box, part in parts(large((raised > np.log(level)) & solid, MIN_FAULT_UM2 / um**2)):
            if elongation(part) >= FOLD_LENGTH and _in_layers(_across_edge(light, box, part, solid, nuclei, um), nuclei):
                found[box] |= part
    return dilated(found, max(round(SOFTEN_UM / um), 1)) & solid


def _in_layers(ratios: list[float], nuclei: int | None) -> bool:
    """Return whether every channel is brighter as by one or two more layers, and all about as much."""
    if not all((np.sqrt(DOUBLED) if i == nuclei else DOUBLED) < r < MOST_LAYERS for i, r in enumerate(ratios)):
        return False
    shown = [r for i, r in enumerate(ratios) if i != nuclei]
    if np.exp(np.mean(np.log(shown))) < SECOND_LAYER:
        return False
    return max(shown) < ALIKE * min(shown) and max(ratios) < ALIKE**2 * min(shown)  # nuclei are few: they scatter more


def _across_edge(light: FloatArray, box: Box, part: BoolArray, solid: BoolArray, nuclei: int | None, um: float) -> list[float]:
    """Return, per channel, the light inside the edge of a part over that outside it: of pairs of places, `APART_UM` apart across the edge.

    A fold may cross different tissue, but at each place it doubles what is beside it, and from one pixel to the next. The median of the
    pairs' ratios counts; of the nuclei, between which there is little light, the ratio of the sums. All are 0 where less than two
    thirds of the edge show it.
    """
    reach = round(2 * APART_UM / um) + 1
    wide = slice(max(box[0].start - reach, 0), box[0].stop + reach), slice(max(box[1].start - reach, 0), box[1].stop + reach)
    inside = np.zeros(solid[wide].shape, bool)
    y, x = box[0].start - wide[0].start, box[1].start - wide[1].start
    inside[y : y + part.shape[0], x : x + part.shape[1]] = part
    signed = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    slope = np.stack(np.gradient(cv2.GaussianBlur(signed.astype(np.float32), (0, 0), 1.5)))
    slope /= np.maximum(np.hypot(*slope), 1e-6)
    edge = np.argwhere(inside & (signed >= -1.5))
    step = slope[:, edge[:, 0], edge[:, 1]].T * APART_UM / 2 / um
    inner, outer = (np.rint(edge + sign * step).astype(int) for sign in (-1, 1))
    h, w = int(np.size(inside, 0)), int(np.size(inside, 1))
    within = np.logical_and.reduce([(p[:, 0] >= 0) & (p[:, 1] >= 0) & (p[:, 0] < h) & (p[:, 1] < w) for p in (inner, outer)])
    inner, outer = inner[within], outer[within]
    used = solid[wide][tuple(outer.T)] & ~inside[tuple(outer.T)]
    if used.sum() < MIN_PAIRS:
        return [0.0] * len(light)
    found, each = [], []
    for i, channel in enumerate(light):
        soft = cv2.GaussianBlur(channel[wide], (0, 0), 1)
        here, there = (soft[tuple(p[used].T)] for p in (inner, outer))
        ratio = here.sum() / max(float(there.sum()), 1e-6) if i == nuclei else np.median(here / np.maximum(there, 1e-6))
        found.append(float(ratio))
        if i != nuclei:
            each.append(here / np.maximum(there, 1e-6))
    return found if (np.median(each, axis=0) > RAISED).mean() > BOTH_SIDES else [0.0] * len(light)
