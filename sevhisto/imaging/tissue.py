"""Which pixels of a slide are tissue, which pieces lie on it, and where a piece has cavities."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.types import BoolArray, FloatArray

SMOOTHING_UM = 8.0
CLOSING_UM = 40.0
MIN_SEPARABILITY = 0.75
"""Otsu's eta of evenly spread values. Below it the signal is one population, and the split would cut through tissue, not between tissue and
glass."""


@dataclass(frozen=True)
class Piece:
    """One piece of tissue on a slide: its box in overview pixels (half-open) and its filled outline inside the box.

    `whole_field` : the image shows no glass, and all of it was taken as tissue.
    """

    y0: int
    y1: int
    x0: int
    x1: int
    outline: BoolArray
    touches_edge: bool
    whole_field: bool = False


def tissue_signal(overview: FloatArray, um: float) -> FloatArray:
    """Return one image in which tissue stands out from glass, shape (h, w).

    Parameters
    ----------
    overview : (c, h, w) float32, fluorescence in grey levels, or milli optical density
    um : overview pixel size

    Each channel is smoothed, set to zero at its darkest level, compressed and scaled by its own spread, so that no bright
    channel decides alone.
    """
    total = np.zeros(overview.shape[1:], np.float32)
    for channel in overview:
        smooth = cv2.GaussianBlur(np.ascontiguousarray(channel, np.float32), (0, 0), max(SMOOTHING_UM / um, 0.5))
        low, middle, high = (float(v) for v in np.percentile(smooth, (1, 50, 99)))
        if np.isclose(high, low, rtol=1e-5, atol=0):  # the blur of one value differs from it by rounding
            continue
        noise = max(1.4826 * float(np.median(np.abs(smooth - middle))), (high - low) / 100)
        squeezed = np.log1p(np.maximum(smooth - low, 0) / noise)
        total += squeezed / max(float(np.percentile(squeezed, 99)), 1e-6)
    return total


def separability(signal: FloatArray, threshold: float) -> float:
    """Return Otsu's eta: the share of the variance that lies between the two sides of `threshold`, 0 to 1.

    Otsu 1979, IEEE Trans SMC 9:62, eq. 18. At the best threshold it is 0.64 for a normal and 0.75 for a uniform distribution.
    """
    above = signal > threshold
    share = float(above.mean())
    variance = float(signal.var(dtype=np.float64))
    if variance == 0 or share in (0.0, 1.0):
        return 0.0
    apart = float(signal[above].mean(dtype=np.float64)) - float(signal[~above].mean(dtype=np.float64))
    return share * (1 - share) * apart**2 / variance


def tissue_mask(overview: FloatArray, um: float, settings: ImagingSettings) -> tuple[BoolArray, bool]:
    """Return where the overview shows tissue, shape (h, w), and whether that is the whole field because the image shows no glass.

    Holes are kept, but not in a whole field, where nothing tells a hole from tissue without signal. An image that is smaller than the
    smallest section lies inside the tissue; so does one whose signal is not two populations. Nothing stands out: nothing is tissue.
    """
    signal = tissue_signal(overview, um)
    if float(np.ptp(signal)) == 0:
        return np.zeros(signal.shape, bool), False
    threshold = float(threshold_otsu(signal))
    if signal.size * um**2 < settings.min_section_mm2 * 1e6 or separability(signal, threshold) < MIN_SEPARABILITY:
        return np.ones(signal.shape, bool), True
    return np.asarray(signal > threshold, bool), False


def find_pieces(overview: FloatArray, um: float, settings: ImagingSettings) -> tuple[list[Piece], BoolArray]:
    """Return the pieces of tissue in slide order (rows from the top, each from the left), and the mask of all tissue with its holes."""
    mask, whole_field = tissue_mask(overview, um, settings)
    if whole_field:
        return [Piece(0, mask.shape[0], 0, mask.shape[1], mask.copy(), True, True)], mask
    radius = max(round(CLOSING_UM / 2 / um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed = cv2.morphologyEx(np.pad(mask, radius).astype(np.uint8), cv2.MORPH_CLOSE, kernel)[radius:-radius, radius:-radius]
    labels, n = ndimage.label(filled(closed > 0))
    boxes = ndimage.find_objects(labels)
    smallest = settings.min_section_mm2 * 1e6 / um**2
    pieces = []
    for number in range(1, n + 1):
        sy, sx = boxes[number - 1]
        outline = labels[sy, sx] == number
        if outline.sum() >= smallest:
            edge = sy.start == 0 or sx.start == 0 or sy.stop == mask.shape[0] or sx.stop == mask.shape[1]
            pieces.append(Piece(sy.start, sy.stop, sx.start, sx.stop, outline, edge))
    return _slide_order(pieces), mask


def _slide_order(pieces: list[Piece]) -> list[Piece]:
    if not pieces:
        return []
    half = float(np.median([p.y1 - p.y0 for p in pieces])) / 2
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.y0 + p.y1):
        middle = (piece.y0 + piece.y1) / 2
        if rows and middle - (rows[-1][0].y0 + rows[-1][0].y1) / 2 < half:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [p for row in rows for p in sorted(row, key=lambda p: p.x0 + p.x1)]


def find_cavity(mask: BoolArray, outline: BoolArray, um: float, settings: ImagingSettings) -> BoolArray:
    """Return tissue-free holes inside `outline` that are large enough to be cavities, shape as given."""
    holes = outline & ~mask
    holes = dilated(eroded(holes, 1), 1)
    labels, n = ndimage.label(holes)
    if n == 0:
        return np.zeros(outline.shape, bool)
    big = np.flatnonzero(np.bincount(labels.ravel()) * um**2 >= settings.min_cavity_um2)
    inner = eroded(outline, max(round(20 / um), 1))  # a notch in the outline is no cavity
    reaching_in = np.unique(labels[inner & holes])
    keep = np.intersect1d(big[big > 0], reaching_in)
    return np.asarray(np.isin(labels, keep), bool)


def trim_rim(outline: BoolArray, um: float, rim_um: float) -> BoolArray:
    """Return the outline without a rim of `rim_um` (meninges)."""
    if rim_um <= 0:
        return outline
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(outline, 1))[1:-1, 1:-1]) * um
    return np.asarray(depth > rim_um, bool)
