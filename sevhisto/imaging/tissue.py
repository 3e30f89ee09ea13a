"""Which pixels of a slide are tissue, which pieces lie on it, and where a piece has cavities."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from sevhisto.config import ImagingSettings
from sevhisto.imaging.blobs import half_width, parts
from sevhisto.imaging.geometry import dilated, eroded, filled
from sevhisto.imaging.glass import LIMITS, Signal, tissue_signal
from sevhisto.types import AnyArray, BoolArray, FloatArray

CLOSING_UM = 40.0
STANDS_OUT = 3.0
BAND_UM = (30.0, 100.0)
RIM_UM, RIM_SHARE = 24.0, 0.3
THIN_SHARE = 0.04
NEARLY_ALL = 0.9
POCKET_UM, POCKET = 150.0, 1.2
AS_GLASS, AROUND_UM, HEART = 0.1, 80.0, 0.2
COMPACT, TOUCHING = 0.85, 0.3
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


def outlines(signal: Signal, um: float, smallest_px: float) -> tuple[BoolArray, BoolArray]:
    """Return the filled outlines of tissue, and the tissue in them with its holes, each (h, w) bool.

    What stands STANDS_OUT spreads above the glass is taken first; its outline then moves to half of the height of the tissue along it,
    channel by channel and weighted by how well each tells tissue from glass. Where the glass is without noise and
    tissue can be as dark (8-bit exports), the tissue is what lies inside the flat glass, if a brighter rim shows that it ends there.
    """
    field = ~signal.padding
    bright = (signal.together > STANDS_OUT) & field
    first = solid(bright, um, smallest_px)
    inside = solid(field, um, smallest_px)
    lost = first.sum() < NEARLY_ALL * inside.sum()
    if signal.bare and _share_at_end(inside, np.ones_like(field)) < TOUCHING:
        return inside, inside & ~_holes(signal, inside, um)
    if (
        lost
        and _share_at_end(inside, np.ones_like(field)) < TOUCHING
        and _on_flat_glass(signal)
        and _rim_share(signal, inside, um) > RIM_SHARE
    ):
        return inside, inside
    outline, tissue = first, bright & first
    for _ in range(2):  # the first outline lies out in the blur, where the tissue along it seems dim
        found = _height_share(signal, outline, um)
        if found is None:
            break
        share, height = found
        outline = solid((share > 0.5) & bright, um, smallest_px)
        tissue = outline & ~_hollow(share, outline, um, max(AS_GLASS, 2 / height))
    return outline, tissue


def with_pockets(part: BoolArray, um: float) -> BoolArray:
    """Return one piece (h, w) with the cysts that open to the outside: gaps wider within than where they open, by POCKET times at least.

    A fissure, a tear or a notch is widest where it opens. A mouth may be POCKET_UM wide.
    """
    reach = POCKET_UM / 2 / um
    margin = math.ceil(reach) + 2
    wide = np.pad(part, margin)
    closed = filled(_distance(_distance(~wide) <= reach) > reach)
    for box, gap in parts(closed & ~wide):
        mouth = int((dilated(gap, 1) & ~closed[box] & ~wide[box]).sum())
        width = 2 * half_width(gap)
        if mouth and width >= POCKET * mouth and width * um > CLOSING_UM:
            wide[box] |= gap
    return np.asarray(wide[margin:-margin, margin:-margin], bool)


def _distance(mask: BoolArray) -> FloatArray:
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _holes(signal: Signal, outline: BoolArray, um: float) -> BoolArray:
    found = _height_share(signal, outline, um)
    return np.zeros_like(outline) if found is None else _hollow(found[0], outline, um, max(AS_GLASS, 2 / found[1]))


def _hollow(share: FloatArray, outline: BoolArray, um: float, as_glass: float) -> BoolArray:
    """Return holes: what is as dark as glass inside an outline, up to half of the height of the tissue around it.

    Tissue may be as dark as half of the tissue elsewhere: a core in GFAP, white matter, the gaps between nuclei.

    Parameters
    ----------
    share : as `_height_share` gives it
    as_glass : share up to which tissue cannot be told from glass
    """
    solid = outline & (share > as_glass)
    sigma = AROUND_UM / um
    weight = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), sigma)
    height = cv2.GaussianBlur(np.where(solid, np.minimum(share, 1), 0).astype(np.float32), (0, 0), sigma) / np.maximum(weight, 1e-3)
    dark = outline & (share < 0.5 * height)
    n, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    hearts = np.bincount(labels[dark & (share < as_glass)], minlength=n)
    keep = hearts > HEART * np.bincount(labels.ravel(), minlength=n)
    keep[0] = False
    return np.asarray(keep[labels], bool)


def _height_share(signal: Signal, outline: BoolArray, um: float) -> tuple[FloatArray, float] | None:
    """Return intensity above glass over that of the tissue along an outline, (h, w) float32, and that in spreads of glass.

    None where that hardly stands out.
    """
    depth = cv2.distanceTransform(np.pad(outline, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] * um
    along = (depth > BAND_UM[0]) & (depth < BAND_UM[1])
    if not along.any():
        return None
    height = np.array([np.median(channel[along]) for channel in signal.above])
    weight = np.clip(height, 0.1, 10.0)
    mean = float(np.average(height, weights=weight))
    if mean <= 2 * STANDS_OUT:
        return None
    share = np.zeros(outline.shape, np.float32)
    for channel, top, w in zip(signal.above, height, weight, strict=True):
        share += np.float32(w / weight.sum()) * np.clip(channel / max(float(top), 1e-3), -1, 1.5)
    return share, mean


def solid(mask: BoolArray, um: float, smallest_px: float) -> BoolArray:
    """Return the filled outlines of pieces of a mask: gaps up to CLOSING_UM closed, thin things that hang on to a piece taken away."""
    radius = max(round(CLOSING_UM / 2 / um), 1)
    closed = cv2.morphologyEx(np.pad(mask, radius).astype(np.uint8), cv2.MORPH_CLOSE, _disc(radius))[radius:-radius, radius:-radius]
    labels, _ = ndimage.label(filled(closed > 0))
    out = np.zeros(mask.shape, bool)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        part = labels[box] == number
        size = int(part.sum())
        if size >= smallest_px:
            thin = max(round(THIN_SHARE * size**0.5), 1)
            part = with_pockets(part, um)  # while its lips are there
            out[box] |= _opened(np.pad(part, 2 * thin, mode="edge"), thin)[2 * thin : -2 * thin, 2 * thin : -2 * thin]
    return out


def _opened(mask: BoolArray, radius: int) -> BoolArray:
    """Return a mask opened with a disc: by distances, which take the same time at any radius."""
    kept = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1] > radius
    if not kept.any():
        return np.zeros_like(mask)
    return np.asarray(mask & (cv2.distanceTransform((~kept).astype(np.uint8), cv2.DIST_L2, 5) <= radius), bool)


def _disc(radius: int) -> AnyArray:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


def _on_flat_glass(signal: Signal) -> bool:
    """Return whether most of what borders on the field is as dark as its darkest parts: then the flat areas are glass, not a frame."""
    field = ~signal.padding
    contact = (cv2.dilate(field.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & signal.padding
    return bool(contact.any() and signal.flat_glass[contact].mean() > 0.5)


def _rim_share(signal: Signal, inside: BoolArray, um: float) -> float:
    """Return the share of an outline along which something bright lies within RIM_UM of it."""
    edge = inside & ~eroded(inside, 1)
    if not edge.any():
        return 0.0
    bright = np.where(inside, signal.together, LIMITS[0]).astype(np.float32)
    bright[[0, -1]] = bright[:, [0, -1]] = LIMITS[0]  # where the image ends nothing shows that the tissue does
    near = cv2.dilate(bright, _disc(max(round(RIM_UM / um), 1)))
    near[[0, -1]] = near[:, [0, -1]] = LIMITS[0]
    return float((near[edge] > STANDS_OUT).mean())


FIELD_OF_VIEW = 7
"""Times the smallest section: less is a part of a section rather than a slide."""


def tissue_mask(overview: FloatArray, um: float, settings: ImagingSettings) -> tuple[BoolArray, BoolArray, bool]:
    """Return the filled outlines of tissue, the tissue in them with its holes, each (h, w) bool, and whether all of the image is tissue.

    No holes are known in a whole field, where nothing tells a hole from tissue without signal. An image that is smaller than the smallest
    section lies inside the tissue; so does one of a few times its size, or one whose signal is not two populations, if it has no outline of
    its own: sparse cells on dark tissue are the field of a microscope, not sections on a slide. Nothing stands out:
    nothing is tissue.
    """
    smallest_px = settings.min_section_mm2 * 1e6 / um**2
    signal = tissue_signal(overview, um)
    if float(np.ptp(signal.together)) == 0:
        nothing = np.zeros(signal.padding.shape, bool)
        return nothing, nothing, False
    if signal.padding.size < smallest_px:
        return np.ones(signal.padding.shape, bool), np.ones(signal.padding.shape, bool), True
    outline, tissue = outlines(signal, um, smallest_px)
    field = ~signal.padding
    values = signal.together[field]
    apart = float(np.ptp(values)) > 0 and separability(values, float(threshold_otsu(values))) >= MIN_SEPARABILITY
    size = signal.padding.size / (FIELD_OF_VIEW * smallest_px)
    part = (size < 1 and _share_at_end(outline, field) > 0) or (size < 2 and not outline.any())
    if part or not (signal.bare or apart or _stands_alone(outline, field)):
        return np.ones(signal.padding.shape, bool), np.ones(signal.padding.shape, bool), True
    return outline, tissue, False


def _stands_alone(outline: BoolArray, field: BoolArray) -> bool:
    """Return whether outlines are shapes of their own: round rather than ragged, and hardly touching where the field ends."""
    contours, _ = cv2.findContours(outline.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return False
    area = sum(cv2.contourArea(c) for c in contours)
    hull = sum(cv2.contourArea(cv2.convexHull(c)) for c in contours)
    return area > COMPACT * hull and _share_at_end(outline, field) < TOUCHING


def _share_at_end(outline: BoolArray, field: BoolArray) -> float:
    """Return how much of an outline lies where the field ends."""
    edge = outline & ~eroded(outline, 1)
    return float((~eroded(field, 3))[edge].mean()) if edge.any() else 1.0


def find_pieces(overview: FloatArray, um: float, settings: ImagingSettings) -> tuple[list[Piece], BoolArray]:
    """Return the pieces of tissue in slide order (rows from the top, each from the left), and the mask of all tissue with its holes."""
    outline, mask, whole_field = tissue_mask(overview, um, settings)
    if whole_field:
        return [Piece(0, mask.shape[0], 0, mask.shape[1], mask.copy(), True, True)], mask
    labels, n = ndimage.label(outline)
    boxes = ndimage.find_objects(labels)
    smallest = settings.min_section_mm2 * 1e6 / um**2
    pieces = []
    for number in range(1, n + 1):
        sy, sx = boxes[number - 1]
        part = labels[sy, sx] == number
        if part.sum() >= smallest:
            edge = sy.start == 0 or sx.start == 0 or sy.stop == mask.shape[0] or sx.stop == mask.shape[1]
            pieces.append(Piece(sy.start, sy.stop, sx.start, sx.stop, part, edge))
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
