"""From raw pixels of a slide to the intensities of its markers, before any background is subtracted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sevhisto.imaging import kernels
from sevhisto.imaging.shading import Flat, flattened
from sevhisto.types import AnyArray


@dataclass(frozen=True)
class MarkerReader:
    """How raw pixels of a slide become marker intensities: which channels are read, and what is done with them.

    Attributes
    ----------
    channels : channel numbers in the file, from 0
    convert : raw (len(channels), h, w) -> uncorrected intensity (n_markers, h, w), any type
    top, bottom : raw values at or beyond which a pixel is saturated
    brightfield : raw is colour that the tissue absorbs
    flat : shading that is divided out first; None where nothing is
    """

    channels: tuple[int, ...]
    convert: Callable[[AnyArray], AnyArray]
    top: float
    bottom: float
    brightfield: bool = False
    flat: Flat | None = None

    def values(self, raw: AnyArray, y0: int, x0: int, step: int = 1) -> AnyArray:
        """Return uncorrected intensity of raw pixels (or means over `step` x `step` of them) that start at pixel (y0, x0)."""
        return self.convert(raw if self.flat is None else flattened(raw, self.flat, y0, x0, step))

    def seen_from(self, y0: int, x0: int) -> MarkerReader:
        """Return the reader of a part of the slide that starts at pixel (y0, x0)."""
        return self if self.flat is None else replace(self, flat=self.flat.seen_from(y0, x0))

    def saturated(self, plane: AnyArray, place: AnyArray) -> int:
        """Return how many examined pixels of one channel are saturated; `place` : (h, w), below zero where not examined."""
        # most blocks: quicker than asking pixel by pixel
        if plane.max() < self.top and (self.bottom == -np.inf or plane.min() > self.bottom):
            return 0
        return kernels.saturated(plane, place, np.float32(self.top), np.float32(self.bottom))
