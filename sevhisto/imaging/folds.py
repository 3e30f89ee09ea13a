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
from sevhisto.imaging.surroundings import SOFTEN_UM, over_surroundings
from sevhisto.types import BoolArray, FloatArray

FOLD_LENGTH = 3.0
"""A fold is at least three times as long as wide; clumps of cells are round."""
DOUBLED = float(np.sqrt(2))
"""Half way between one layer of tissue and two, as a ratio. Of nuclei, few as they are, its root is enough."""
MOST_LAYERS = float(np.sqrt(3 * 4))
"""Half way between the three layers of a pleat and four."""
ALIKE = 2.0
"""Layers are counted by every channel: two in one and four in another are none."""
LEVELS = (DOUBLED**0.5, DOUBLED, DOUBLED**2)
"""A scar beside a fold may join it at a lower one."""
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
    floor = np.stack([cv2.erode(cv2.GaussianBlur(channel, (0, 0), 1), np.ones((3, 3), np.uint8)) for channel in light])
    lowest = np.stack([over_surroundings(floor[i], solid, um) for i in shown]).min(axis=0)
    for level in LEVELS:
        for box, part in parts(large((lowest > level) & solid, MIN_FAULT_UM2 / um**2)):
            if elongation(part) >= FOLD_LENGTH and _in_layers(_beside(light, floor, box, part, solid, nuclei, um), nuclei):
                found[box] |= part
    return dilated(found, max(round(SOFTEN_UM / um), 1)) & solid


def _in_layers(beside: list[float], nuclei: int | None) -> bool:
    """Return whether every channel is brighter as by one or two more layers, and all about as much."""
    if not all((np.sqrt(DOUBLED) if i == nuclei else DOUBLED) < r < MOST_LAYERS for i, r in enumerate(beside)):
        return False
    shown = [r for i, r in enumerate(beside) if i != nuclei]
    return max(shown) < ALIKE * min(shown)


def _beside(
    light: FloatArray, floor: FloatArray, box: Box, part: BoolArray, solid: BoolArray, nuclei: int | None, um: float
) -> list[float]:
    """Return, per channel, the light of a part over that of the tissue beside it: means of the nuclei, else medians of the floor."""
    reach = round(8 * SOFTEN_UM / um) + 1
    wide = slice(max(box[0].start - reach, 0), box[0].stop + reach), slice(max(box[1].start - reach, 0), box[1].stop + reach)
    inside = np.zeros(solid[wide].shape, bool)
    y, x = box[0].start - wide[0].start, box[1].start - wide[1].start
    inside[y : y + part.shape[0], x : x + part.shape[1]] = part
    far = np.asarray(ndimage.distance_transform_edt(~inside), np.float32) * um
    ring = (far > 2 * SOFTEN_UM) & (far <= 8 * SOFTEN_UM) & solid[wide]
    if not ring.any():
        return [0.0]
    found = []
    for i in range(len(light)):
        channel = light[i][wide] if i == nuclei else floor[i][wide]
        here, there = (np.mean(channel[m]) if i == nuclei else np.median(channel[m]) for m in (inside, ring))
        found.append(float(here) / float(there) if there > 0 else 0.0)
    return found
