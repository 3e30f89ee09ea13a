"""What is subtracted from raw intensity: fixed for a panel and batch from its controls, never from the section itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sevhisto.config import BatchSettings, PanelSettings
from sevhisto.imaging.kernels import correct
from sevhisto.types import AnyArray, BoolArray, Correction, DoubleArray, FloatArray

GLASS_MARGIN_UM = 60.0


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
    """
    markers = panel.markers
    found = [_offset(samples, row, channel.role == "nuclei") for row, channel in enumerate(panel.channels)]
    offset = np.array([value for value, _ in found])
    unmix = np.eye(len(markers))
    for into, leaks in batch.bleed_through.items():
        for origin, share in leaks.items():
            if into in markers and origin in markers:
                unmix[markers.index(into), markers.index(origin)] -= share
    blank = panel.marker_of_role("autofluorescence")
    if blank is not None:
        column = markers.index(blank)
        for row, channel in enumerate(panel.channels):
            if row != column:
                unmix[row, column] -= _autofluorescence_share(samples, offset, row, column, channel.role == "nuclei")
    return Correction(offset, unmix, tuple(source for _, source in found))


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


def _autofluorescence_share(samples: Sequence[BackgroundSample], offset: DoubleArray, row: int, column: int, counterstained: bool) -> float:
    # the counterstain is on no-primary slides too, so only unstained tissue tells its autofluorescence
    roles = ("unstained",) if counterstained else ("unstained", "no_primary")
    chosen = [s for s in samples if s.role in roles and s.tissue.any()]
    if not chosen:
        return 0.0
    y = np.concatenate([s.values[row, s.tissue] for s in chosen]).astype(np.float64) - offset[row]
    x = np.concatenate([s.values[column, s.tissue] for s in chosen]).astype(np.float64) - offset[column]
    share = 0.0
    keep = np.ones(len(x), bool)
    for _ in range(5):  # least squares through the origin, without the pixels that fit worst
        denominator = float((x[keep] ** 2).sum())
        if denominator <= 0:
            return 0.0
        share = float((x[keep] * y[keep]).sum()) / denominator
        residual = np.abs(y - share * x)
        keep = residual <= np.quantile(residual, 0.95)
    return max(share, 0.0)


def corrected_marker(raw: AnyArray, correction: Correction, row: int) -> FloatArray:
    """Return the corrected intensity of one marker, float32 (h, w), from `raw` (n_markers, h, w) of any type."""
    shares = correction.unmix[row]
    return correct(raw, row, shares, np.float32(shares @ correction.offset))


def apply_correction(raw: FloatArray, correction: Correction) -> FloatArray:
    """Return corrected intensity, float32, same shape (n_markers, h, w) as `raw`; the plain form of `corrected_marker`, for all markers."""
    corrected = np.tensordot(correction.unmix, raw.astype(np.float64) - correction.offset[:, None, None], axes=1)
    return np.asarray(corrected, np.float32)
