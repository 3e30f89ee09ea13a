"""Where a section is positive, as far as its overview shows it: to look at. The tables count full-resolution pixels."""

from __future__ import annotations

import numpy as np

from sevhisto.types import BoolArray, Shown, decode_thumbnail, examined

_GREY = decode_thumbnail(np.arange(256, dtype=np.uint8))


def positive_mask(record: Shown, marker: str, threshold: float) -> BoolArray:
    """Return examined overview pixels whose corrected intensity is at or above the threshold, (h, w) bool; none for NaN."""
    return examined(record) & (record.masks["thumbnail"][..., record.marker_index(marker)] >= positive_code(threshold))


def positive_code(threshold: float) -> int:
    """Return the lowest code of a thumbnail whose intensity is at or above a threshold (grey levels); 256 where none is, or for NaN."""
    return int(np.count_nonzero(~(threshold <= _GREY)))
