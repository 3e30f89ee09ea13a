"""How the pixels of a file become marker intensities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sevhisto.imaging import kernels
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
    """

    channels: tuple[int, ...]
    convert: Callable[[AnyArray], AnyArray]
    top: float
    bottom: float
    brightfield: bool = False

    def saturated(self, plane: AnyArray, place: AnyArray) -> int:
        """Return how many examined pixels of one channel are saturated; `place` : (h, w), below zero where not examined."""
        # most blocks: quicker than asking pixel by pixel
        if plane.max() < self.top and (self.bottom == -np.inf or plane.min() > self.bottom):
            return 0
        return kernels.saturated(plane, place, np.float32(self.top), np.float32(self.bottom))
