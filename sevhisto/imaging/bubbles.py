"""Bubbles: discs across whose edge the light of every channel changes alike.

Air over the tissue bends light. At its edge light is lost, gathered, or both side by side; inside it may be weaker, blurred, or unchanged.
What all looks share is the circle: along it, light is unlike that on both sides, or unlike inside and outside, by one factor in every
channel. Circles are sought by the mean light on rings around every place, and believed where most of the circle shows it.
"""

from __future__ import annotations

import cv2
import numpy as np

from sevhisto.imaging.geometry import eroded
from sevhisto.imaging.surroundings import SOFTEN_UM, block_means, common, over_surroundings
from sevhisto.types import AnyArray, BoolArray, FloatArray

RADII_UM = np.arange(32.0, 340.0, 12.0)
"""From thrice the radius of a large cell up; larger bubbles spoil the section."""
SEARCH_UM = 8.0
MOST_SEARCHED = 150_000
FAINT = 0.04
"""Of a ring's mean logarithm, to be looked at closely."""
N_LOOKED_AT = 24
SECTORS = 16
BIN_UM = 8.0
REACH = 7
"""Bins that are looked at on both sides of a circle."""
RIM_UM = 24.0
"""From what was found of a rim to where light is undisturbed; a rim may have a bright and a dark side."""
CLEAR = float(np.log(1.22))
"""Rim or step of a bubble, all around, in each channel: shading correction leaves 1 to 5 %, and grey matter may be a fifth darker."""
ROUND_SHARE = 0.8
"""Of the circle's sectors that lie on tissue."""
MIN_SECTORS = 8
WHOLE = 0.8
STRETCHED = 0.15
"""Half of what an oval is longer than wide: surface tension makes bubbles round."""
ROUND_BINS = 0.7
"""How far the edge may lie off an oval; edges that chance picks lie two bins off."""
ALIKE = 1.8
"""A bubble weakens and gathers the light of all stains by one factor."""
MIN_CHANNELS = 3


def bubbles(light: FloatArray, solid: BoolArray, um: float) -> BoolArray:
    """Return where bubbles are, rims included, (h, w) bool.

    Parameters
    ----------
    light : (n, h, w) float32, intensity above the glass of every channel but the nuclear stain, which leaves too little between cells
    solid : (h, w) bool, tissue that counts
    um : pixel size

    Fewer than three channels cannot tell a bubble from a structure: then there are none.
    """
    out = np.zeros_like(solid)
    inner = eroded(solid, max(round(2 * SOFTEN_UM / um), 1))  # light falls off where the tissue ends
    if len(light) < MIN_CHANNELS or not inner.any():
        return out
    logs = np.stack([_log_over_surroundings(c, solid, inner, um) for c in light])
    for y, x, radius in _circles(common(logs), inner, um):
        if out[round(y), round(x)]:
            continue
        edge = _edge(logs, inner, (y, x), radius, um)
        if edge is not None:
            angles = (np.arange(SECTORS) + 0.5) * 2 * np.pi / SECTORS
            far = (edge + RIM_UM) / um
            points = np.stack([x + far * np.cos(angles), y + far * np.sin(angles)], axis=1)
            cv2.fillPoly(filled := out.astype(np.uint8), [np.rint(points).astype(np.int32)], 1)
            out |= filled > 0
    return out


def _log_over_surroundings(channel: FloatArray, solid: BoolArray, inner: BoolArray, um: float) -> FloatArray:
    level = over_surroundings(cv2.medianBlur(channel, 3), solid, um, SOFTEN_UM / 2)
    return np.asarray(np.where(inner, np.log(np.clip(level, 0.2, 3.0)), 0), np.float32)


def _circles(shared: FloatArray, inner: BoolArray, um: float) -> list[tuple[float, float, float]]:
    """Return places (y, x, in px) and radii (um) of circles that may be a bubble's, the clearest first."""
    k = max(round(SEARCH_UM / um), int(np.ceil(np.sqrt(shared.size / MOST_SEARCHED))), 1)
    small, cover = block_means(shared, k), block_means(inner.astype(np.float32), k)
    means = np.zeros((len(RADII_UM), *small.shape), np.float32)
    for i, radius in enumerate(RADII_UM):
        ring = _ring(radius / (um * k), BIN_UM / (um * k))
        on = cv2.filter2D(cover, -1, ring, borderType=cv2.BORDER_CONSTANT)
        means[i] = np.where(on > 0.4, cv2.filter2D(small, -1, ring, borderType=cv2.BORDER_CONSTANT) / np.maximum(on, 0.4), 0)
    before, here, after = means[:-2], means[1:-1], means[2:]
    score = np.maximum(np.abs(here - (before + after) / 2), np.abs(before - after) / 2)
    found: list[tuple[float, float, float]] = []
    best, which = score.max(axis=0), score.argmax(axis=0)
    top = (best == cv2.dilate(best, np.ones((3, 3), np.uint8))) & (best > FAINT)
    for y, x in sorted(np.argwhere(top).tolist(), key=lambda p: -float(best[p[0], p[1]]))[:N_LOOKED_AT]:
        found.append(((y + 0.5) * k - 0.5, (x + 0.5) * k - 0.5, float(RADII_UM[1 + which[y, x]])))
    return found


def _ring(radius: float, width: float) -> FloatArray:
    reach = int(np.ceil(radius + width))
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    ring = np.clip(width / 2 + 0.5 - np.abs(np.hypot(yy, xx) - radius), 0, 1)
    return np.asarray(ring / ring.sum(), np.float32)


def _edge(logs: FloatArray, inner: BoolArray, centre: tuple[float, float], radius: float, um: float) -> AnyArray | None:
    """Return how far (um) the edge lies from the centre in each sector, (SECTORS,); None where there is no bubble."""
    reach = int(np.ceil((radius + (REACH + 1) * BIN_UM) / um))
    cy, cx = round(centre[0]), round(centre[1])
    box = slice(max(cy - reach, 0), cy + reach + 1), slice(max(cx - reach, 0), cx + reach + 1)
    yy, xx = np.mgrid[box[0], box[1]][:, : inner[box].shape[0], : inner[box].shape[1]]
    ring = np.floor((np.hypot(yy - centre[0], xx - centre[1]) * um - radius) / BIN_UM + 0.5).astype(int) + REACH
    sector = np.floor((np.arctan2(yy - centre[0], xx - centre[1]) % (2 * np.pi)) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    used = (ring >= 0) & (ring <= 2 * REACH) & inner[box]
    place = (sector * (2 * REACH + 1) + ring)[used]
    size = SECTORS * (2 * REACH + 1)
    n = np.bincount(place, minlength=size)
    total = np.stack([np.bincount(place, c[box][used], size) for c in logs])
    mean = np.where(n >= 3, total / np.maximum(n, 1), np.nan).reshape(len(logs), SECTORS, -1)
    found = (_all_around(shape[..., 1:-1], radius) for shape in (_rim(mean), _step(mean)))
    return next((edge for edge in found if edge is not None), None)


def _rim(mean: AnyArray) -> AnyArray:
    """Return how much each bin differs from those three bins before and after it, (n, SECTORS, 2 REACH - 5); NaN where unknown."""
    return np.asarray(mean[..., 3:-3] - (mean[..., :-6] + mean[..., 6:]) / 2)


def _step(mean: AnyArray) -> AnyArray:
    """Return how much the two bins before each differ from the two after it, of the same shape."""
    two = (mean[..., 1:] + mean[..., :-1]) / 2
    return np.asarray(two[..., 1:-4] - two[..., 4:-1])


def _all_around(change: AnyArray, radius: float) -> AnyArray | None:
    """Return the edge in each sector if the change (n, SECTORS, bins) is clear, alike in all channels, and on an oval nearly all around."""
    known = np.isfinite(change).all(axis=(0, 2))
    if known.sum() < MIN_SECTORS:
        return None
    shared = common(np.nan_to_num(change))
    angles = (np.arange(SECTORS) + 0.5) * 2 * np.pi / SECTORS
    waves = [np.ones(SECTORS), np.cos(angles), np.sin(angles)]  # a circle off its centre; from an arc no more can be told
    if known.sum() > WHOLE * SECTORS:
        waves += [np.cos(2 * angles), np.sin(2 * angles)]
    oval = np.stack(waves, axis=1)
    for sign in (1.0, -1.0):
        clear = known & ((sign * shared).max(axis=1) > CLEAR)
        if clear.sum() < max(ROUND_SHARE * known.sum(), MIN_SECTORS):
            continue
        bins = (sign * shared).argmax(axis=1)
        each = np.median(sign * change[:, np.flatnonzero(clear), bins[clear]], axis=1)
        size = np.linalg.lstsq(oval[clear], bins[clear], rcond=None)[0]
        fit = oval @ size
        stretch = float(np.hypot(*size[3:])) * BIN_UM / radius if len(size) > 3 else 0.0
        off = np.sqrt(((bins - fit)[clear] ** 2).sum() / (clear.sum() - oval.shape[1]))
        if off < ROUND_BINS and stretch < STRETCHED and each.max() < ALIKE * max(each.min(), CLEAR / 2):
            return np.asarray(radius + (fit - (change.shape[2] - 1) / 2) * BIN_UM, np.float64)
    return None
