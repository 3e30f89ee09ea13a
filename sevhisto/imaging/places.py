"""Where every pixel of a measured section counts, told again from what its record keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sevhisto.imaging import kernels
from sevhisto.imaging.geometry import neighbours
from sevhisto.types import DISTANCE_EDGES_UM, DISTANCE_STEP_UM, N_DISTANCE, NO_DISTANCE, AnyArray, FloatArray, IntArray, SectionView

REGIONS = ("outside", "tissue", "cavity", "masked")
"""What a pixel is, by the last digit of its code to base 4; the rest of it is the distance bin."""
_PLACES = 2 * N_DISTANCE
_LOWEST = kernels.IN_MASKED - 2 * (_PLACES - 1)


def _codes() -> AnyArray:
    """Return the code of every value of kernels.places, from the lowest on."""
    codes = np.zeros(_PLACES - _LOWEST, np.int16)
    place = np.arange(_PLACES)
    for region, value in ((1, place), (2, kernels.IN_CAVITY - 2 * place), (3, kernels.IN_MASKED - 2 * place)):
        codes[value - _LOWEST] = 4 * (place % N_DISTANCE) + region
    return codes


_CODE = _codes()


@dataclass(frozen=True)
class SectionPlaces:
    """The places of a section's pixels as the pass counted them, but for distances, which are kept in whole um.

    Attributes
    ----------
    shape : height and width of the section at full resolution
    factor : full-resolution pixels per overview pixel
    codes : (h, w) uint8, overview pixels as sums of kernels.TISSUE, CAVITY and MASKED
    distance : (h, w) float32, um
    """

    shape: tuple[int, int]
    factor: int
    has_core: bool
    codes: AnyArray
    distance: FloatArray

    @classmethod
    def of(cls, view: SectionView) -> SectionPlaces:
        """Return the places of a section that was measured."""
        kinds = {"tissue": kernels.TISSUE, "cavity": kernels.CAVITY, "masked": kernels.MASKED}
        codes = sum(((view.masks[name] > 0) * np.uint8(bit) for name, bit in kinds.items()), np.zeros_like(view.masks["tissue"]))
        height, width = (int(n) for n in view.meta["shape_px"])
        core = bool(view.meta["has_core"])
        return cls((height, width), int(view.meta["overview_factor"]), core, codes, view.masks["distance"].astype(np.float32))

    def at(self, y: IntArray, x: IntArray) -> AnyArray:
        """Return codes of the pixels in these rows and columns, (len(y), len(x)) int16: four times the distance bin, plus the region."""
        (h, w), factor = self.codes.shape, self.factor
        placed = kernels.places(self.codes, self.distance, self.has_core, *neighbours(h, factor, y), *neighbours(w, factor, x))
        return np.asarray(_CODE[placed - _LOWEST], np.int16)

    def range_at(self, y: IntArray, x: IntArray) -> tuple[int, int] | None:
        """Return the lowest and highest code that `at` can give there; None where pixels of several regions are."""
        (top, below, _), (left, right, _) = (neighbours(n, self.factor, p) for n, p in zip(self.codes.shape, (y, x), strict=True))
        box = slice(int(top[0]), int(below[-1]) + 1), slice(int(left[0]), int(right[-1]) + 1)
        codes = self.codes[box]
        if (codes != codes[0, 0]).any():
            return None
        code = int(codes[0, 0])
        region = 0 if not code & kernels.TISSUE else 3 if code & kernels.MASKED else 2 if code & kernels.CAVITY else 1
        if not self.has_core:
            return 4 * NO_DISTANCE + region, 4 * NO_DISTANCE + region
        steps = (int(np.floor(v / DISTANCE_STEP_UM)) for v in (self.distance[box].min(), self.distance[box].max()))
        low, high = (min(max(s + 1 - int(DISTANCE_EDGES_UM[0]) // DISTANCE_STEP_UM, 0), len(DISTANCE_EDGES_UM)) for s in steps)
        return 4 * low + region, 4 * high + region
