"""The pass: one section read once, block by block, into its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from sevhisto.config import ImagingSettings, PanelSettings
from sevhisto.imaging.background import apply_correction
from sevhisto.imaging.geometry import Layout, distance_bin, upsample
from sevhisto.imaging.nuclei import REACH, contrast_threshold, local_contrast, measure_cells, nearest_pixel, segmenters
from sevhisto.imaging.tally import count_places, fibre_sums, intensity_bin, joint_tally, quantise, tally
from sevhisto.types import (
    N_DISTANCE,
    N_INTENSITY,
    AnyArray,
    Correction,
    FloatArray,
    IntArray,
    PixelSource,
)

BLOCK_PX = 1024  # filters always run on this grid, so results do not depend on how a file is tiled
SATURATED_SHARE = 0.001


@dataclass(frozen=True)
class MarkerReader:
    """How raw pixels of a slide become marker intensities: which channels are read, and what is done with them.

    Attributes
    ----------
    channels : channel numbers in the file, from 0
    convert : raw (len(channels), h, w) -> float32 (n_markers, h, w)
    top, bottom : raw values at or beyond which a pixel is saturated
    brightfield : raw is colour that the tissue absorbs
    """

    channels: tuple[int, ...]
    convert: Callable[[AnyArray], FloatArray]
    top: float
    bottom: float
    brightfield: bool = False


@dataclass
class Sums:
    """What the pass adds up; see SectionRecord for shapes."""

    counts: IntArray
    sums: IntArray
    cavity_px: IntArray
    masked_px: IntArray
    joint: dict[tuple[str, str], IntArray]
    fibres: dict[str, IntArray]
    saturated_px: IntArray
    cells: list[dict[str, FloatArray]] = field(default_factory=list)


def single_threaded() -> None:
    """Keep OpenCV to one thread, for a process that is one of many."""
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Block:
    """One block of the fixed grid: the pixels it owns (y0..y1, x0..x1) and those it reads (with halo)."""

    y0: int
    y1: int
    x0: int
    x1: int
    ry0: int
    ry1: int
    rx0: int
    rx1: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """The owned pixels inside the read ones."""
        return slice(self.y0 - self.ry0, self.y1 - self.ry0), slice(self.x0 - self.rx0, self.x1 - self.rx0)


def blocks(shape: tuple[int, int], halo: int) -> list[Block]:
    """Return the fixed grid of blocks over (height, width), each with a halo that stays inside the image."""
    h, w = shape
    return [
        Block(
            y,
            min(y + BLOCK_PX, h),
            x,
            min(x + BLOCK_PX, w),
            max(y - halo, 0),
            min(y + BLOCK_PX + halo, h),
            max(x - halo, 0),
            min(x + BLOCK_PX + halo, w),
        )
        for y in range(0, h, BLOCK_PX)
        for x in range(0, w, BLOCK_PX)
    ]


def halo_px(settings: ImagingSettings, um: float) -> int:
    """Return how far beyond a block the filters and a nucleus with its ring reach, in pixels."""
    reach = max(4 * settings.blur_um, REACH * settings.nucleus_diameter_um + settings.ring_um, 4 * settings.fibre_sigma_um)
    return int(np.ceil(reach / um)) + 2


def measure(
    source: PixelSource,
    reader: MarkerReader,
    layout: Layout,
    panel: PanelSettings,
    settings: ImagingSettings,
    correction: Correction,
    tick: Callable[[int], Any] = lambda px: None,
) -> Sums:
    """Read one section once and return its sums.

    Parameters
    ----------
    source : the section's pixels; its origin is the layout's origin
    layout : overview maps, ``layout.factor`` full-resolution pixels per overview pixel
    tick : called with the number of pixels of each finished block

    Memory is bounded by the block, whatever the size of the section.
    """
    um = source.um_per_px
    grid = blocks(source.shape, halo_px(settings, um))
    totals = _empty(panel, len(reader.channels))
    nuclear = panel.marker_of_role("nuclei")
    threshold = (
        _nuclear_threshold(source, reader, layout, panel.markers.index(nuclear), settings, correction, grid) if nuclear else float("inf")
    )
    for block in grid:
        maps = _maps(layout, block)
        if maps.tissue.any():
            raw = source.read(reader.channels, block.ry0, block.ry1, block.rx0, block.rx1)
            corrected = apply_correction(reader.convert(raw), correction)
            totals.saturated_px += _saturated(raw, reader, maps, block)
            _tally_block(totals, corrected, maps, block, panel, settings, um)
            if nuclear and np.isfinite(threshold):
                _cells_block(totals, corrected, maps, block, panel, settings, um, threshold, layout)
        tick((block.y1 - block.y0) * (block.x1 - block.x0))
    return totals


def _empty(panel: PanelSettings, n_channels: int) -> Sums:
    n = len(panel.markers)
    shape = (n, 2, N_DISTANCE, N_INTENSITY)
    zeros = np.zeros((2, N_DISTANCE), np.int64)
    nowhere = np.zeros(0, np.int64)
    joint = {pair: joint_tally(nowhere, nowhere, nowhere) for pair in panel.pairs}  # no tissue is a measurement: zeros
    nothing = np.zeros(0, np.float32)
    fibres = {c.marker: fibre_sums(nowhere, nowhere, nothing, nothing) for c in panel.channels if c.role == "ecm"}
    return Sums(np.zeros(shape, np.int64), np.zeros(shape, np.int64), zeros, zeros.copy(), joint, fibres, np.zeros(n_channels, np.int64))


@dataclass
class _Maps:
    """Full-resolution maps of one block without halo: what each pixel is and where it counts."""

    tissue: AnyArray
    cavity: AnyArray
    masked: AnyArray
    examined: AnyArray
    place: IntArray
    distance: FloatArray
    side: AnyArray


def _maps(layout: Layout, block: Block) -> _Maps:
    box = (block.y0, block.y1, block.x0, block.x1)

    def mask(values: AnyArray) -> AnyArray:
        return upsample(values, layout.factor, *box) >= 0.5

    tissue = mask(layout.tissue)
    cavity = tissue & mask(layout.cavity) if layout.cavity.any() else np.zeros_like(tissue)
    masked = tissue & mask(layout.masked) if layout.masked.any() else np.zeros_like(tissue)
    distance = upsample(layout.distance, layout.factor, *box) if layout.has_core else np.full(tissue.shape, np.nan, np.float32)
    side = mask(layout.side).astype(np.int64)
    place = side * N_DISTANCE + distance_bin(distance)
    return _Maps(tissue, cavity & ~masked, masked, tissue & ~cavity & ~masked, place, distance, side)


def _saturated(raw: AnyArray, reader: MarkerReader, maps: _Maps, block: Block) -> IntArray:
    inner = raw[(slice(None), *block.inner)]
    return np.array([np.count_nonzero(((c >= reader.top) | (c <= reader.bottom)) & maps.examined) for c in inner], np.int64)


def _tally_block(
    totals: Sums, corrected: FloatArray, maps: _Maps, block: Block, panel: PanelSettings, settings: ImagingSettings, um: float
) -> None:
    place = maps.place[maps.examined]
    totals.cavity_px += count_places(maps.place[maps.cavity])
    totals.masked_px += count_places(maps.place[maps.masked])
    bins: dict[str, IntArray] = {}
    for i, channel in enumerate(panel.channels):
        inner = blurred(corrected[i], settings.blur_um / um)[block.inner]
        quanta = quantise(inner[maps.examined])
        bins[channel.marker] = intensity_bin(quanta)
        counts, sums = tally(place, bins[channel.marker], quanta)
        totals.counts[i] += counts
        totals.sums[i] += sums
        if channel.role == "ecm":
            fy, fx = gradients(corrected[i], settings.fibre_sigma_um / um)
            here = fy[block.inner][maps.examined], fx[block.inner][maps.examined]
            totals.fibres[channel.marker] += fibre_sums(place, bins[channel.marker], *here)
    for a, b in panel.pairs:
        totals.joint[a, b] += joint_tally(place, bins[a], bins[b])


def blurred(image: FloatArray, sigma_px: float) -> FloatArray:
    """Return a Gaussian-smoothed copy, float32; sigma under a third of a pixel changes nothing and is skipped."""
    if sigma_px < 1 / 3:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101), np.float32)


def gradients(image: FloatArray, sigma_px: float) -> tuple[FloatArray, FloatArray]:
    """Return the derivatives along y and x at scale sigma, grey levels per pixel."""
    smooth = blurred(image, max(sigma_px, 0.5))
    fy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    fx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    return np.asarray(fy, np.float32), np.asarray(fx, np.float32)


def _nuclear_threshold(
    source: PixelSource,
    reader: MarkerReader,
    layout: Layout,
    index: int,
    settings: ImagingSettings,
    correction: Correction,
    grid: list[Block],
) -> float:
    """Return the contrast of nuclei from up to 9 evenly chosen blocks with tissue."""
    with_tissue = [b for b in grid if _share_of_tissue(layout, b) > 0.2] or [b for b in grid if _share_of_tissue(layout, b) > 0]
    chosen = [with_tissue[i] for i in np.unique(np.linspace(0, len(with_tissue) - 1, 9).astype(int))] if with_tissue else []
    samples = []
    for b in chosen:
        raw = source.read(reader.channels, b.ry0, b.ry1, b.rx0, b.rx1)
        image = apply_correction(reader.convert(raw), correction)[index]
        contrast = local_contrast(image, source.um_per_px, settings.nucleus_diameter_um)[b.inner]
        samples.append(contrast[_maps(layout, b).examined])
    return contrast_threshold(samples)


def _share_of_tissue(layout: Layout, b: Block) -> float:
    f = layout.factor
    part = layout.tissue[b.y0 // f : max(b.y1 // f, b.y0 // f + 1), b.x0 // f : max(b.x1 // f, b.x0 // f + 1)]
    return float(part.mean()) if part.size else 0.0


def _cells_block(
    totals: Sums,
    corrected: FloatArray,
    maps: _Maps,
    block: Block,
    panel: PanelSettings,
    settings: ImagingSettings,
    um: float,
    threshold: float,
    layout: Layout,
) -> None:
    nuclear = panel.markers.index(str(panel.marker_of_role("nuclei")))
    labels = segmenters[settings.segmenter](corrected[nuclear], um, threshold, settings)
    owned = np.zeros(labels.shape, bool)
    owned[block.inner] = maps.examined
    cells = measure_cells(labels, corrected, um, settings.ring_um, owned)
    if not len(cells.y):
        return
    iy = nearest_pixel(cells.y) + block.ry0 - block.y0
    ix = nearest_pixel(cells.x) + block.rx0 - block.x0
    columns: dict[str, FloatArray] = {
        "y_um": ((cells.y + block.ry0 + 0.5) * um).astype(np.float32),
        "x_um": ((cells.x + block.rx0 + 0.5) * um).astype(np.float32),
        "distance_um": maps.distance[iy, ix],
        "side": maps.side[iy, ix].astype(np.float32),
        "area_um2": (cells.area_px * um**2).astype(np.float32),
    }
    for i, marker in enumerate(panel.markers):
        columns[f"{marker}_nucleus"] = cells.nucleus[i]
        columns[f"{marker}_ring"] = cells.ring[i]
    totals.cells.append(columns)
