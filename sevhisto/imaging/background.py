"""What is subtracted from raw intensity: fixed for a panel and batch from its controls, never from the section itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sevhisto.config import BatchSettings, PanelSettings
from sevhisto.imaging.kernels import correct
from sevhisto.types import AnyArray, BoolArray, Correction, DoubleArray, FloatArray, Problem, SlideError

GLASS_MARGIN_UM = 60.0
FEWEST_BRIGHT_PX, FEWEST_BRIGHT = 50, 0.002  # fewer bright pixels, or a smaller share of the tissue, tell nothing of their own
WORST_FITTING = 0.2
CLEAR = 10.0  # standard errors by which neighbours must be alike
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
    """

    role: str
    values: FloatArray
    tissue: BoolArray
    glass: BoolArray


def glass_mask(tissue: BoolArray, values: FloatArray, um: float) -> BoolArray:
    """Return pixels at least 60 um from tissue that are not padding (exactly zero in every channel)."""
    far = ndimage.distance_transform_edt(~tissue) * um > GLASS_MARGIN_UM if tissue.any() else np.ones(tissue.shape, bool)
    return np.asarray(far & (values != 0).any(axis=0), bool)


def estimate_correction(samples: Sequence[BackgroundSample], panel: PanelSettings, batch: BatchSettings) -> Correction:
    """Return the correction of one panel and batch.

    The offset of a marker is what tissue without the stain shows: the median over no-primary tissue of the batch, else over
    unstained tissue (for the nuclear counterstain, which is on no-primary slides too, unstained only). Without such controls it is
    the median over the glass of the batch's control slides, else of its samples; without glass, zero. Shares of an
    autofluorescence channel come from tissue of unstained and no-primary controls; bleed-through is as declared.

    Light adds up: raw - offset = A s, with the stains s (and the autofluorescence) and what each adds to every channel in the columns of A.
    `unmix` is the inverse of A.

    Raises
    ------
    SlideError
        The shares declared or measured cannot be told apart: A has no usable inverse.
    """
    markers = panel.markers
    found = [_offset(samples, row, channel.role == "nuclei") for row, channel in enumerate(panel.channels)]
    mixing = np.eye(len(markers))
    for into, leaks in batch.bleed_through.items():
        for origin, share in leaks.items():
            if into in markers and origin in markers:
                mixing[markers.index(into), markers.index(origin)] += share
    shares: dict[str, float] = {}
    blank = panel.marker_of_role("autofluorescence")
    if blank is not None:
        column = markers.index(blank)
        for row, channel in enumerate(panel.channels):
            fraction = None if row == column else _autofluorescence_share(samples, row, column, channel.role == "nuclei")
            if fraction is not None:
                shares[channel.marker] = fraction
                mixing[row, column] += fraction
    if np.linalg.cond(mixing) > WORST_CONDITION:
        where = f"the channels {', '.join(markers)} cannot be told apart"
        raise SlideError(Problem("bleed-through", where, "look at batches.X.bleed_through, and at the control slides"))
    offset = np.array([value for value, _ in found])
    return Correction(offset, np.asarray(np.linalg.inv(mixing), np.float64), tuple(source for _, source in found), shares)


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
    parts = [_deviations(s, row, column) for s in samples if s.role in roles and s.tissue.any()]
    if not parts:
        return None
    y, x, near = (np.concatenate(p) for p in zip(*parts, strict=True))
    return max(slope_where_bright(y, x, near), 0.0)


def _deviations(sample: BackgroundSample, row: int, column: int) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return how far each pixel of tissue lies from the tissue's median in two channels, and its neighbours in the second."""
    tissue = sample.tissue
    y, x = (sample.values[k].astype(np.float64) for k in (row, column))
    x = np.where(tissue, x - np.median(x[tissue]), 0.0)
    cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    n = ndimage.convolve(tissue.astype(np.float64), cross, mode="constant")
    near = ndimage.convolve(x, cross, mode="constant") / np.maximum(n, 1)
    return y[tissue] - np.median(y[tissue]), x[tissue], near[tissue]


def slope_where_bright(y: DoubleArray, x: DoubleArray, near: DoubleArray) -> float:
    """Return the slope of y on x, both with noise, where x is bright.

    Where it matters is where autofluorescence is bright: in macrophages, whose spectrum need not be that of the tissue around them. So
    only pixels count whose neighbours are far above the rest (median + 5 x 1.4826 MAD), or all where hardly any are.
    Noise in x makes an ordinary slope too flat; the neighbours, whose noise is another, serve as instrument instead:
    sum(near y) / sum(near x) [instrumental variable, Wald 1940]. The fifth of the pixels that fit worst is left out: its errors are as
    often above as below, and what shines in one channel only is among it. Zero where x shows nothing but noise.

    Parameters
    ----------
    y, x : (n,) float64, grey levels from the median of their tissue
    near : (n,) float64, the mean of the neighbouring pixels of x
    """
    middle = np.median(near)
    bright = near > middle + 5 * 1.4826 * np.median(np.abs(near - middle))
    if bright.sum() >= max(FEWEST_BRIGHT_PX, FEWEST_BRIGHT * len(x)):
        y, x, near = y[bright], x[bright], near[bright]
    keep = np.ones(len(x), bool)
    slope = 0.0
    for _ in range(10):
        products = near[keep] * x[keep]
        if products.sum() <= CLEAR * np.sqrt((products**2).sum()):
            return 0.0  # nothing but noise
        slope = float((near[keep] * y[keep]).sum() / products.sum())
        residual = np.abs(y - slope * x)
        keep = residual <= np.quantile(residual, 1 - WORST_FITTING)
    return slope


def corrected_marker(raw: AnyArray, correction: Correction, row: int) -> FloatArray:
    """Return the corrected intensity of one marker, float32 (h, w), from `raw` (n_markers, h, w) of any type."""
    shares = correction.unmix[row]
    return correct(raw, row, shares, np.float32(shares @ correction.offset))


def apply_correction(raw: FloatArray, correction: Correction) -> FloatArray:
    """Return corrected intensity, float32, same shape (n_markers, h, w) as `raw`; the plain form of `corrected_marker`, for all markers."""
    corrected = np.tensordot(correction.unmix, raw.astype(np.float64) - correction.offset[:, None, None], axes=1)
    return np.asarray(corrected, np.float32)
