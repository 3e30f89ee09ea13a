"""Segmenters: how cells are found in the image of one marker, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sevhisto.imaging.cell_bodies import body_diameter, body_noise, segment_bodies
from sevhisto.imaging.nuclear_size import typical_diameter
from sevhisto.imaging.nuclei import ACROSS_PX, REACH, contrast_noise, segment_watershed
from sevhisto.registry import Registry
from sevhisto.types import FloatArray, IntArray


@dataclass(frozen=True)
class Segmenter:
    """What finds cells in the image of one marker.

    Attributes
    ----------
    find : (intensity (h, w) float32, um per pixel, typical diameter in um, contrast threshold) -> labels (h, w), 0 for background
    diameter : (samples of one section, um per pixel) -> diameter of a typical cell in um, NaN where nothing stands out
    noise : as nuclei.contrast_noise
    reach : how far a label may depend on pixels, in typical diameters: blocks of one section must agree on the cells at their border
    across_px : pixels across a typical cell that it needs: a finer scan is reduced, but not below that
    """

    find: Callable[[FloatArray, float, float, float], IntArray]
    diameter: Callable[[list[FloatArray], float], float] = typical_diameter
    noise: Callable[[FloatArray, float, float], tuple[float, float]] = contrast_noise
    reach: float = REACH
    across_px: float = ACROSS_PX


segmenters: Registry[Segmenter] = Registry("segmenter")
segmenters.register("watershed")(Segmenter(segment_watershed))
segmenters.register("cell_bodies")(Segmenter(segment_bodies, body_diameter, body_noise, reach=4.0, across_px=35.0))
