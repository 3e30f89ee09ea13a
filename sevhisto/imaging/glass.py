"""What is glass on a slide, and how far everything else stands above it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.types import BoolArray, DoubleArray, FloatArray

SMOOTHING_UM = 8.0
LIMITS = (-3.0, 12.0)
FLAT_SHARE = 1e-6
BLOCK_UM, MIN_BLOCKS = 64.0, 24
FITS, FAR_WEIGHT = 24, 0.02
ORDERS, CLEARLY = (2, 4), 1.15
ABOVE_FLAT, NEARLY_ALL, STRAIGHT = 0.02, 0.9, 0.6


@dataclass(frozen=True)
class Signal:
    """How far each overview pixel stands above the glass.

    Attributes
    ----------
    above : (c, h, w) float32, intensity above the glass of each channel in units of its spread there; -3 in padding
    together : (h, w) float32, mean over the channels, each limited to LIMITS so that none decides alone
    padding : (h, w) bool, areas of one value at the edge of the image: frames, margins, or glass without any noise
    flat_glass : (h, w) bool, the padding that is as dark as the darkest parts of the rest
    bare : whether the padding is glass without any light of its own, above which all else stands
    """

    above: FloatArray
    together: FloatArray
    padding: BoolArray
    flat_glass: BoolArray
    bare: bool


def tissue_signal(overview: FloatArray, um: float) -> Signal:
    """Return what stands out from glass.

    Glass need not be equally bright everywhere: a surface along the darkest parts of a channel is taken away first (`glass_surface`). The
    level of glass is then the lowest clear mode (it may be the smaller part of the image, and tissue may have several levels of its own);
    its spread is that of the darker half of that mode.

    Parameters
    ----------
    overview : (c, h, w) float32, fluorescence in grey levels, or milli optical density
    um : overview pixel size
    """
    overview = np.ascontiguousarray(overview, np.float32)
    outside = padding(overview)
    field = ~outside
    if not field.any():
        nothing = np.full(overview.shape, LIMITS[0], np.float32)
        return Signal(nothing, nothing[0], outside, outside, False)
    sigma = max(SMOOTHING_UM / um, 0.5)
    weight = np.maximum(cv2.GaussianBlur(field.astype(np.float32), (0, 0), sigma), 1e-3)
    inner = cv2.erode(field.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0 if outside.any() else field
    inner = inner if inner.any() else field
    bare = _bare(overview, outside)
    above = np.empty_like(overview)
    for i, channel in enumerate(overview):
        top = float(np.percentile(some(channel[field]), 99.5))
        above[i] = cv2.GaussianBlur(np.where(field, np.minimum(channel, top), 0).astype(np.float32), (0, 0), sigma) / weight
        if bare:
            level = float(np.median(channel[outside]))
            spread = (top - level) / 500
        else:
            above[i] -= glass_surface(above[i], inner, um)
            level, spread = _glass(some(above[i][inner]))
        above[i] = (above[i] - level) / spread if spread > 0 else 0
        above[i][outside] = LIMITS[0]
    together = np.asarray(np.clip(above, *LIMITS).mean(axis=0), np.float32)
    return Signal(above, together, outside, _as_dark_as(overview, outside, field), bare)


def glass_surface(channel: FloatArray, field: BoolArray, um: float) -> FloatArray:
    """Return how glass changes over a slide, (h, w) float32, 0 at its lowest: a polynomial surface along the darkest parts.

    Zero everywhere, unless a surface of the second order explains clearly more of the slide than one level does (frames, and glass at two
    levels, make no slope); of the fourth where that explains clearly more again. Fitted to the minima of blocks of 64 um.

    Parameters
    ----------
    channel : (h, w) float32, smoothed
    field : (h, w) bool, where it shows the slide
    """
    side = max(round(BLOCK_UM / um), 1)
    h, w = channel.shape
    rows, columns = -(-h // side), -(-w // side)
    wide = np.full((rows * side, columns * side), np.inf, np.float32)
    wide[:h, :w] = np.where(field, channel, np.inf)
    low = wide.reshape(rows, side, columns, side).min(axis=(1, 3)).astype(np.float64)
    seen = np.isfinite(low)
    if seen.sum() < MIN_BLOCKS:
        return np.zeros(channel.shape, np.float32)
    step = np.concatenate([np.diff(np.where(seen, low, np.nan), axis=a).ravel() for a in (0, 1)])
    noise = max(1.4826 * float(np.nanmedian(np.abs(step))) / 2**0.5, float(np.ptp(low[seen])) / 500)
    blocks = np.zeros(low.shape)
    for order in ORDERS:
        terms = _terms(order, _unit(rows), _unit(columns))
        tried = np.tensordot(_along_the_dark(terms[:, seen].T, low[seen]), terms, 1)
        if _explained((low - tried)[seen], noise) < CLEARLY * _explained((low - blocks)[seen], noise):
            break
        blocks = tried
    matrix = np.array([[1 / side, 0, 0.5 / side - 0.5], [0, 1 / side, 0.5 / side - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    surface = cv2.warpAffine(blocks.astype(np.float32), matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(surface - surface[field].min(), np.float32)


def _unit(n: int) -> DoubleArray:
    return np.linspace(-1, 1, n) if n > 1 else np.zeros(1)


def _terms(order: int, y: DoubleArray, x: DoubleArray) -> DoubleArray:
    """Return the terms of a polynomial in two directions, (k, len(y), len(x))."""
    return np.stack([np.outer(y**i, x**j) for i in range(order + 1) for j in range(order + 1 - i)])


def _along_the_dark(terms: DoubleArray, values: DoubleArray) -> DoubleArray:
    """Return the coefficients (k,) of terms (n, k) that lie along the lower ones of `values` (n,).

    Values above count less the farther they lie: first a fiftieth (an expectile, Newey and Powell 1987), then by the weight of Geman and
    McClure in units of the scatter below, so that tissue takes no part.
    """
    weight = np.ones(len(values))
    scale = 0.0
    for step in range(FITS):
        weighed = terms * weight[:, None]
        fit = np.linalg.lstsq(weighed.T @ terms, weighed.T @ values, rcond=None)[0]
        over = values - terms @ fit
        if step == FITS // 2:
            scale = max(2 * float(np.sqrt(np.mean(np.minimum(over, 0) ** 2))), 1e-6)
        far = FAR_WEIGHT if step < FITS // 2 else 1 / (1 + (over / scale) ** 2) ** 2
        weight = np.where(over > 0, far, 1.0)
    return np.asarray(fit, np.float64)


def _explained(values: DoubleArray, noise: float) -> float:
    """Return the largest share of values that lie within 3 `noise` of one level."""
    ordered = np.sort(values)
    return float((np.searchsorted(ordered, ordered + 6 * noise) - np.arange(len(ordered))).max()) / len(ordered)


def _as_dark_as(overview: FloatArray, outside: BoolArray, field: BoolArray) -> BoolArray:
    if not outside.any() or outside.all():
        return outside
    n, labels = cv2.connectedComponents(outside.astype(np.uint8), connectivity=4)
    like = np.ones(n, bool)
    like[0] = False
    for channel in overview:
        dark, bright = (float(v) for v in np.percentile(some(channel[field]), (5, 99)))
        level = ndimage.median(channel, labels, np.arange(n))
        like &= np.abs(level - dark) <= 0.1 * max(bright - dark, 1e-6)
    return np.asarray(like[labels], bool)


def _bare(overview: FloatArray, outside: BoolArray) -> bool:
    """Return whether the flat areas are glass.

    Of one value, less than nearly all else, which has no straight sides as an image in a frame has.
    """
    if not outside.any() or outside.all():
        return False
    field = cv2.erode((~outside).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    brighter = np.zeros(int(field.sum()), bool)
    for channel in overview:
        low, level, high = (float(v) for v in np.percentile(some(channel[outside]), (1, 50, 99)))
        least = ABOVE_FLAT * (float(np.percentile(some(channel[~outside]), 99)) - level)
        if high - low > least:
            return False
        brighter |= channel[field] > level + least
    return brighter.size > 0 and float(brighter.mean()) > NEARLY_ALL and straight_share(~outside) < STRAIGHT


def straight_share(mask: BoolArray) -> float:
    """Return how much of the outlines of a mask (h, w) lies in straight runs, of at least a twelfth of an outline each.

    It is 1 for a square and 0 for a disc. The stairs of a turned image and of JPEG's blocks, up to 7 pixels, are straight.
    """
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 6.0) > 0.5
    contours, _ = cv2.findContours(soft.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    straight = total = 0.0
    for contour in contours:
        corners = cv2.approxPolyDP(contour, 3.5, True)[:, 0].astype(np.float64)
        runs = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
        total += float(runs.sum())
        straight += float(runs[runs >= runs.sum() / 12].sum())
    return straight / total if total else 0.0


def some(values: FloatArray) -> FloatArray:
    """Return evenly spread members of (n,), half a million or so: enough for percentiles, which take longer than all else."""
    return values[:: max(len(values) // 500_000, 1)]


def padding(overview: FloatArray) -> BoolArray:
    """Return areas of a single value in every channel that begin at the edge of the image, (h, w) bool."""
    flat = np.ones(overview.shape[1:], bool)
    cell = np.ones((3, 3), np.uint8)
    for channel in overview:
        low, high = (float(v) for v in np.percentile(some(channel.ravel()), (0.5, 99.5)))
        flat &= cv2.dilate(channel, cell) - cv2.erode(channel, cell) <= FLAT_SHARE * (high - low)
    wide = cv2.dilate(cv2.erode(flat.astype(np.uint8), cell), np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(wide, connectivity=4)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(np.isin(labels, edge[edge > 0]), bool)


def _glass(values: FloatArray) -> tuple[float, float]:
    """Return level and spread of the lowest clear mode; a spread of 0 where all values are one."""
    low, high = (float(v) for v in np.percentile(values, (0.1, 99)))
    if np.isclose(high, low, rtol=1e-5, atol=0):  # the blur of one value differs from it by rounding
        return low, 0.0
    counts, edges = np.histogram(values, 512, (low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), 3, mode="constant")
    highest = ndimage.maximum_filter1d(smooth, 17, mode="constant")
    mode = int(np.flatnonzero((smooth >= highest) & (smooth > smooth.max() / 4))[0])
    level = float(edges[mode] + edges[mode + 1]) / 2
    darker = values[values <= level]
    return level, max(1.4826 * float(np.median(level - darker)), (high - low) / 500)
