"""Which pixels of a slide are tissue, which pieces lie on it, and where a piece has cavities."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.types import BoolArray, FloatArray

SMOOTHING_UM = 8.0
CLOSING_UM = 40.0


@dataclass(frozen=True)
class Piece:
    """One piece of tissue on a slide: its box in overview pixels (half-open) and its filled outline inside the box."""

    y0: int
    y1: int
    x0: int
    x1: int
    outline: BoolArray
    touches_edge: bool


def tissue_signal(overview: FloatArray, um: float) -> FloatArray:
    """Return one image in which tissue stands out from glass, shape (h, w).

    Parameters
    ----------
    overview : (c, h, w) float32, fluorescence in grey levels or stains in milli optical density
    um : overview pixel size

    Each channel is smoothed, set to zero at its darkest level, compressed and scaled by its own spread, so that no bright
    channel decides alone.
    """
    total = np.zeros(overview.shape[1:], np.float32)
    for channel in overview:
        smooth = cv2.GaussianBlur(np.ascontiguousarray(channel, np.float32), (0, 0), max(SMOOTHING_UM / um, 0.5))
        low, middle, high = (float(v) for v in np.percentile(smooth, (1, 50, 99)))
        if high <= low:
            continue
        noise = max(1.4826 * float(np.median(np.abs(smooth - middle))), (high - low) / 100)
        squeezed = np.log1p(np.maximum(smooth - low, 0) / noise)
        total += squeezed / max(float(np.percentile(squeezed, 99)), 1e-6)
    return total


def tissue_mask(overview: FloatArray, um: float) -> BoolArray:
    """Return where the overview shows tissue, shape (h, w); holes are kept. Nothing stands out: nothing is tissue."""
    signal = tissue_signal(overview, um)
    if float(np.ptp(signal)) == 0:
        return np.zeros(signal.shape, bool)
    return np.asarray(signal > threshold_otsu(signal), bool)


def find_pieces(overview: FloatArray, um: float, settings: ImagingSettings) -> tuple[list[Piece], BoolArray]:
    """Return the pieces of tissue in slide order (rows from the top, each from the left), and the mask of all tissue with its holes."""
    mask = tissue_mask(overview, um)
    radius = max(round(CLOSING_UM / 2 / um), 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    closed = cv2.morphologyEx(np.pad(mask, radius).astype(np.uint8), cv2.MORPH_CLOSE, kernel)[radius:-radius, radius:-radius]
    filled = np.asarray(ndimage.binary_fill_holes(closed), bool)
    labels, n = ndimage.label(filled)
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
    holes = ndimage.binary_opening(holes, iterations=1)
    labels, n = ndimage.label(holes)
    if n == 0:
        return np.zeros(outline.shape, bool)
    big = np.flatnonzero(np.bincount(labels.ravel()) * um**2 >= settings.min_cavity_um2)
    inner = ndimage.binary_erosion(outline, iterations=max(round(20 / um), 1))  # a notch in the outline is no cavity
    reaching_in = np.unique(labels[inner & holes])
    keep = np.intersect1d(big[big > 0], reaching_in)
    return np.asarray(np.isin(labels, keep), bool)


def trim_rim(outline: BoolArray, um: float, rim_um: float) -> BoolArray:
    """Return the outline without a rim of `rim_um` (meninges)."""
    if rim_um <= 0:
        return outline
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(outline, 1))[1:-1, 1:-1]) * um
    return np.asarray(depth > rim_um, bool)
