"""What is subtracted from raw intensity: fixed for a panel and batch from its controls, never from the section itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.config import BatchSettings, PanelSettings
from sevhisto.imaging.kernels import correct
from sevhisto.types import AnyArray, BoolArray, Correction, DoubleArray, FloatArray, Leak, Problem, SlideError

GLASS_MARGIN_UM = 60.0
FEWEST_BRIGHT_PX, FEWEST_BRIGHT = 400, 0.01  # fewer bright pixels, or a smaller share of the tissue, tell too little alone
WORST_FITTING = 0.2
AROUND_PX = 31  # pixels of the overview: some 120 um
CLEAR = 10.0  # standard errors by which neighbours must be alike
LEAST_LEAK = 0.005  # a smaller one is not told from none
WORST_CONDITION = 20.0  # noise would grow about as many times


@dataclass
class BackgroundSample:
    """One control or sample slide at overview resolution.

    Attributes
    ----------
    role : slide role of the tissue on it
    values : (n_markers, h, w) float32, uncorrected intensity
    tissue : (h, w) bool, tissue of this role
    glass : (h, w) bool, far from any tissue
    marker : the one that is stained, where the role is single_stain
    """

    role: str
    values: FloatArray
    tissue: BoolArray
    glass: BoolArray
    marker: str = ""


def glass_mask(tissue: BoolArray, values: FloatArray, um: float) -> BoolArray:
    """Return pixels at least 60 um from tissue that are not padding (exactly zero in every channel)."""
    far = ndimage.distance_transform_edt(~tissue) * um > GLASS_MARGIN_UM if tissue.any() else np.ones(tissue.shape, bool)
    return np.asarray(far & (values != 0).any(axis=0), bool)


def estimate_correction(samples: Sequence[BackgroundSample], panel: PanelSettings, batch: BatchSettings) -> Correction:
    """Return the correction of one panel and batch.

    The offset of a marker is what tissue without the stain shows: the median over no-primary tissue of the batch, else over
    unstained tissue (for the nuclear counterstain, which is on no-primary slides too, unstained only). Without such controls it is
    the median over the glass of the batch's control slides, else of its samples; without glass, zero. Shares of an
    autofluorescence channel come from tissue of unstained and no-primary controls. Bleed-through is as declared, else what single stains
    show.

    Light adds up: raw - offset = A s, with the stains s (and the autofluorescence) and what each adds to every channel in the columns of A.
    `unmix` is the inverse of A.

    Raises
    ------
    SlideError
        The shares declared or measured cannot be told apart: A has no usable inverse.
    """
    markers = panel.markers
    offset, source = offsets_of(samples, panel)
    mixing = np.eye(len(markers))
    declared = {(into, origin): share for into, of in batch.bleed_through.items() for origin, share in of.items()}
    declared = {pair: share for pair, share in declared.items() if set(pair) <= set(markers)}
    for (into, origin), share in declared.items():
        mixing[markers.index(into), markers.index(origin)] = share
    shares: dict[str, float] = {}
    blank = panel.marker_of_role("autofluorescence")
    if blank is not None:
        column = markers.index(blank)
        for row, channel in enumerate(panel.channels):
            fraction = None if row == column else _autofluorescence_share(samples, row, column, channel.role == "nuclei")
            if fraction is not None:
                shares[channel.marker] = fraction
                mixing[row, column] += fraction
    leaks, notes = _leaks(samples, panel, mixing, declared)
    for (into, origin), leak in leaks.items():
        if leak.source == "single_stain":
            mixing[markers.index(into), markers.index(origin)] = leak.share
    if np.linalg.cond(mixing) > WORST_CONDITION:
        where = f"the channels {', '.join(markers)} cannot be told apart"
        raise SlideError(Problem("bleed-through", where, "look at batches.X.bleed_through, and at the control slides"))
    unmix = np.asarray(np.linalg.inv(mixing), np.float64)
    return Correction(offset, unmix, source, shares, leaks, tuple(notes))


def offsets_of(samples: Sequence[BackgroundSample], panel: PanelSettings) -> tuple[DoubleArray, tuple[str, ...]]:
    """Return the offset of every marker, (n_markers,), and where each is from; see `estimate_correction`."""
    found = [_offset(samples, row, channel.role == "nuclei") for row, channel in enumerate(panel.channels)]
    return np.array([value for value, _ in found]), tuple(source for _, source in found)


def _offset(samples: Sequence[BackgroundSample], row: int, counterstain: bool) -> tuple[float, str]:
    for role in ("unstained",) if counterstain else ("no_primary", "unstained"):
        tissue = [s.values[row, s.tissue] for s in samples if s.role == role and s.tissue.any()]
        if tissue:
            return float(np.median(np.concatenate(tissue))), role
    for source, wanted in (("glass", False), ("sample_glass", True)):
        glass = [s.values[row, s.glass] for s in samples if (s.role == "sample") == wanted and s.glass.any()]
        if glass:
            return float(np.median(np.concatenate(glass))), source
    return 0.0, "assumed_zero"


def _autofluorescence_share(samples: Sequence[BackgroundSample], row: int, column: int, counterstained: bool) -> float | None:
    # the counterstain is on no-primary slides too, so only unstained tissue tells its autofluorescence
    roles = ("unstained",) if counterstained else ("unstained", "no_primary")
    parts = [_deviations(s.values[row], s.values[column], s.tissue) for s in samples if s.role in roles and s.tissue.any()]
    if not parts:
        return None
    y, x, near = (np.concatenate(p) for p in zip(*parts, strict=True))
    return max(slope_where_bright(y, x, near) or 0.0, 0.0)


def _leaks(
    samples: Sequence[BackgroundSample], panel: PanelSettings, mixing: DoubleArray, declared: Mapping[tuple[str, str], float]
) -> tuple[dict[tuple[str, str], Leak], list[str]]:
    """Return every leak by (into, origin), and notes: single stains without signal, and those that contradict what was declared.

    `mixing` : what is known before: declared leaks, and the shares of an autofluorescence channel, which is taken away first.
    """
    markers, notes = panel.markers, []
    blank = panel.marker_of_role("autofluorescence")
    found = {pair: Leak(share, "declared", None) for pair, share in declared.items()}
    for origin in dict.fromkeys(s.marker for s in samples if s.role == "single_stain"):
        slides = [s for s in samples if s.role == "single_stain" and s.marker == origin and s.tissue.any()]
        own = markers.index(origin)
        for row, into in enumerate(markers):
            if into in (origin, blank):
                continue
            share = _leak(slides, row, own, None if blank is None else markers.index(blank), mixing)
            if share is None:
                notes.append(f"single stain of {origin}: shows no signal of its own, so it tells nothing of its leaks")
                break
            leak = Leak(share if share >= LEAST_LEAK else 0.0, "single_stain", share)
            said = declared.get((into, origin))
            if said is not None:
                leak = Leak(said, "declared", share)
                if abs(share - said) > max(LEAST_LEAK, 0.25 * said):
                    told = f"is declared as {said:g}; single stains show {share:.3f}"
                    notes.append(f"bleed-through of {origin} into {into} {told}. The declared value was used")
            found[into, origin] = leak
    return found, notes


def _leak(slides: Sequence[BackgroundSample], row: int, own: int, blank: int | None, mixing: DoubleArray) -> float | None:
    """Return what the stain of marker `own` shows in channel `row`; None where it shows nothing in its own."""
    parts = []
    for s in slides:
        y, x = s.values[row], s.values[own]
        if blank is not None:
            y, x = (v - mixing[k, blank] * s.values[blank] for v, k in ((y, row), (x, own)))
        parts.append(_deviations(y, x, s.tissue))
    if not parts:
        return None
    slope = slope_where_bright(*(np.concatenate(p) for p in zip(*parts, strict=True)))
    if slope is None or blank is None:
        return slope
    into_blank = mixing[blank, own]  # as declared: what the blank channel shows of the stain was taken away too much
    return float(slope * (1 - mixing[own, blank] * into_blank) + mixing[row, blank] * into_blank)


def _deviations(y_image: AnyArray, x_image: AnyArray, tissue: BoolArray) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return how far each pixel of tissue stands above the tissue around it in two channels, and its neighbours in the second.

    Uneven light and uneven tissue, which differ between channels, are smooth; what shares are measured on is small.
    """
    common = tissue & ~_far_above(y_image, tissue) & ~_far_above(x_image, tissue)  # one for both: what a cell adds must not differ
    n = _sum_around(common, AROUND_PX)
    y, x = (image - _sum_around(np.where(common, image, 0), AROUND_PX) / np.maximum(n, 1) for image in (y_image, x_image))
    inside = tissue & (n >= 0.05 * AROUND_PX**2)
    x[~inside] = 0
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float64)
    beside = cv2.filter2D(inside.astype(np.float64), -1, cross, borderType=cv2.BORDER_CONSTANT)
    near = cv2.filter2D(x, -1, cross, borderType=cv2.BORDER_CONSTANT) / np.maximum(beside, 1)
    return y[inside], x[inside], near[inside]


def _far_above(values: AnyArray, among: BoolArray) -> BoolArray:
    """Return what is more than 5 x 1.4826 MAD above the median of the chosen values."""
    middle = np.median(values[among])
    return np.asarray(values > middle + 5 * 1.4826 * np.median(np.abs(values[among] - middle)), bool)


def _sum_around(image: AnyArray, side: int) -> DoubleArray:
    """Return the sum over a square around each pixel, (h, w) float64."""
    return np.asarray(cv2.boxFilter(image.astype(np.float64), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT))


def slope_where_bright(y: DoubleArray, x: DoubleArray, near: DoubleArray) -> float | None:
    """Return the slope of y on x, both with noise, where x is bright.

    Autofluorescence matters where it is bright: in macrophages, whose spectrum need not be that of the tissue around them. So only pixels
    count whose neighbours are far above the rest (median + 5 x 1.4826 MAD), or all where hardly any are.
    Noise in x makes an ordinary slope too flat; the neighbours, whose noise is another, serve as instrument instead:
    sum(near y) / sum(near x) [instrumental variable, Wald 1940]. The fifth of the pixels that fit worst is left out: its errors are as
    often above as below, and what shines in one channel only is among it. None where x shows nothing but noise.

    Parameters
    ----------
    y, x : (n,) float64, grey levels above the surroundings
    near : (n,) float64, the mean of the neighbouring pixels of x
    """
    bright = _far_above(near, np.ones(len(near), bool))
    if bright.sum() >= max(FEWEST_BRIGHT_PX, FEWEST_BRIGHT * len(x)):
        y, x, near = y[bright], x[bright], near[bright]
    keep = np.ones(len(x), bool)
    slope = 0.0
    for _ in range(10):
        products = near[keep] * x[keep]
        if products.sum() <= 0:
            return None
        slope = float((near[keep] * y[keep]).sum() / products.sum())
        residual = np.abs(y - slope * x)
        keep = residual <= np.quantile(residual, 1 - WORST_FITTING)
    products = near[keep] * x[keep]
    return slope if products.sum() > CLEAR * np.sqrt((products**2).sum()) else None


def corrected_marker(raw: AnyArray, correction: Correction, row: int) -> FloatArray:
    """Return the corrected intensity of one marker, float32 (h, w), from `raw` (n_markers, h, w) of any type."""
    shares = correction.unmix[row]
    return correct(raw, row, shares, np.float32(shares @ correction.offset))


def apply_correction(raw: FloatArray, correction: Correction) -> FloatArray:
    """Return corrected intensity, float32, same shape (n_markers, h, w) as `raw`; the plain form of `corrected_marker`, for all markers."""
    corrected = np.tensordot(correction.unmix, raw.astype(np.float64) - correction.offset[:, None, None], axes=1)
    return np.asarray(corrected, np.float32)
