"""The pass: one section read once, block by block, into its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from sevhisto.config import LABELS, ImagingSettings, PanelSettings, segmenter_name
from sevhisto.imaging import kernels, puncta, scramble, uptake
from sevhisto.imaging.autofluorescence import audit_block
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.blocks import Block, blocks, with_tissue
from sevhisto.imaging.classify import Classifier, add_up
from sevhisto.imaging.focus import ROW_STEP, focus_sums
from sevhisto.imaging.geometry import Layout, border_turn, class_codes, neighbours, upsample_at
from sevhisto.imaging.labels import Labelled
from sevhisto.imaging.local import NO_BACKGROUND, LocalBackground, local_block
from sevhisto.imaging.nuclear_size import reduction
from sevhisto.imaging.nuclei import cell_step, containing_pixel, contrast_threshold, local_contrast, measure_cells
from sevhisto.imaging.outlining import cell_outlines
from sevhisto.imaging.process import give_back_memory
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.segmenters import Segmenter, segmenters
from sevhisto.imaging.shading import flattened
from sevhisto.imaging.sums import Sums, bounded_rows, empty_sums, joint_pairs
from sevhisto.imaging.tally import BIN_OF_QUANTUM, N_COARSE, intensity_bin, quantise
from sevhisto.types import (
    N_DISTANCE,
    N_INTENSITY,
    NEAR_VESSEL,
    AnyArray,
    BoolArray,
    Correction,
    FloatArray,
    IntArray,
    PixelSource,
)

BLOCKS_A_TRIM = 16  # blocks of many sizes leave gaps in the memory, which would grow with the section
SAMPLE_PX, N_SAMPLES = 512, 16  # windows that tell the contrast of nuclei
SATURATED_SHARE = 0.001


def halo_px(settings: ImagingSettings, um: float, cell_um: float) -> int:
    """Return how far beyond a block the filters reach, and what a cell depends on with its ring (`cell_um`), in pixels."""
    reach = max(4 * settings.blur_um, cell_um + settings.ring_um, 4 * settings.fibre_sigma_um)
    reach = max(reach, puncta.reach_um(settings.puncta_diameter_um), 4 * settings.fibre_sigma_um + settings.vessel_reach_um)
    return int(np.ceil(reach / um)) + 2


@dataclass(frozen=True)
class _Pass:
    """What every block of a section needs."""

    source: PixelSource
    reader: MarkerReader
    layout: Layout
    codes: AnyArray
    panel: PanelSettings
    settings: ImagingSettings
    correction: Correction
    turn: FloatArray
    nuclei: Labelled | None
    local: LocalBackground
    classifier: Classifier | None
    segmenter: Segmenter
    diameter_um: float = 0.0

    @property
    def um(self) -> float:
        return self.source.um_per_px

    @property
    def step(self) -> int:
        return cell_step(self.um, self.diameter_um, self.segmenter.across_px)

    @property
    def halo(self) -> int:
        wide = self.cell_reach + int(np.ceil(puncta.reach_um(self.settings.puncta_diameter_um) / self.um)) + 3 if self.nuclei else 0
        return max(halo_px(self.settings, self.um, self.segmenter.reach * self.diameter_um) + self.step, wide)

    @property
    def cell_reach(self) -> int:
        """How far from its centre a cell with its ring, and the rings of its neighbours, can reach."""
        wide = self.nuclei.reach_px + int(np.ceil(2 * self.settings.ring_um / self.um)) + 2 * self.step if self.nuclei else 0
        return max(uptake.reach_px(self.diameter_um, self.settings.ring_um, self.um), wide)

    @property
    def cell_row(self) -> int:
        """Which marker shows the cells."""
        return self.panel.markers.index(str(self.panel.cell_marker))

    @property
    def order(self) -> list[int]:
        """Markers by number, the autofluorescence first: it tells what is subtracted from the others."""
        return sorted(range(len(self.panel.channels)), key=lambda i: self.panel.channels[i].role != "autofluorescence")

    def read(self, block: Block) -> AnyArray:
        """Raw pixels of a block with its halo."""
        return self.source.read(self.reader.channels, block.ry0, block.ry1, block.rx0, block.rx1)

    def read_classified(self, block: Block) -> tuple[AnyArray, dict[str, FloatArray]]:
        """Raw pixels of a block with its halo, and the probability of each class there; what a classifier needs is read with them."""
        if self.classifier is None:
            return self.read(block), {}
        box = block.ry0, block.ry1, block.rx0, block.rx1
        y0, y1, x0, x1 = self.classifier.needs(box)
        raw = self.source.read(self.reader.channels, y0, y1, x0, x1)
        planes = self.classifier.planes(box, raw, (y0, x0))
        return np.ascontiguousarray(raw[:, block.ry0 - y0 : block.ry1 - y0, block.rx0 - x0 : block.rx1 - x0]), planes

    def marker(self, block: Block, row: int) -> FloatArray:
        """Corrected intensity of one marker in a block with its halo; reads only the channels that it takes."""
        if self.reader.brightfield:
            return corrected_marker(self.reader.values(self.read(block), block.ry0, block.rx0), self.correction, row)
        shares = self.correction.unmix[row]
        used = [int(c) for c in np.flatnonzero(shares)]
        channels = [self.reader.channels[c] for c in used]
        raw = self.source.read(channels, block.ry0, block.ry1, block.rx0, block.rx1)
        if self.reader.flat is not None:
            raw = flattened(raw, self.reader.flat.of(used), block.ry0, block.rx0)
        return kernels.correct(raw, used.index(row), shares[used], np.float32(shares @ self.correction.offset))

    def places(self, block: Block) -> AnyArray:
        """Where each owned pixel counts; see kernels.places."""
        h, w = self.codes.shape
        rows = neighbours(h, self.layout.factor, np.arange(block.y0, block.y1))
        columns = neighbours(w, self.layout.factor, np.arange(block.x0, block.x1))
        return kernels.places(self.codes, self.layout.distance, self.layout.has_core, *rows, *columns)

    def cells_of(self, block: Block) -> tuple[IntArray, IntArray]:
        """Overview column of each column, and row of each row, that a block owns."""
        h, w = self.codes.shape
        x, y = np.arange(block.x0, block.x1), np.arange(block.y0, block.y1)
        return np.minimum(x // self.layout.factor, w - 1), np.minimum(y // self.layout.factor, h - 1)

    def share_of_tissue(self, b: Block) -> float:
        """Roughly how much of a block is tissue."""
        f = self.layout.factor
        part = self.layout.tissue[b.y0 // f : max(b.y1 // f, b.y0 // f + 1), b.x0 // f : max(b.x1 // f, b.x0 // f + 1)]
        return float(part.mean()) if part.size else 0.0


def measure(
    source: PixelSource,
    reader: MarkerReader,
    layout: Layout,
    panel: PanelSettings,
    settings: ImagingSettings,
    correction: Correction,
    tick: Callable[[int], Any] = lambda px: None,
    nuclei: Labelled | None = None,
    local: LocalBackground = NO_BACKGROUND,
    classifier: Classifier | None = None,
    segmenter: Segmenter | None = None,
) -> Sums:
    """Read one section once and return its sums.

    Parameters
    ----------
    source : the section's pixels; its origin is the layout's origin
    layout : overview maps, ``layout.factor`` full-resolution pixels per overview pixel
    tick : called with the number of pixels of each block, when its turn comes
    nuclei : labels made elsewhere, which replace the segmenter; no cells are sought without them where it is "labels"
    local : local background of the markers that are tallied over it too
    classifier : for the section's shape, where the panel has markers that are classes of one
    segmenter : a person's own; None for the registered one that the settings name

    Memory is bounded by the block, whatever the size of the section.
    """
    give_back_memory()
    turn = np.zeros((2, 0, 0), np.float32) if panel.marker_of_role("ecm") is None else border_turn(layout.distance, layout.um)
    name = segmenter_name(panel, settings)
    segmenter = segmenter or segmenters["watershed" if name == LABELS else name]
    job = _Pass(source, reader, layout, class_codes(layout), panel, settings, correction, turn, nuclei, local, classifier, segmenter)
    fine = puncta.is_resolved(job.um, settings.puncta_diameter_um)
    totals = empty_sums(panel, len(reader.channels), fine, correction, local.levels, layout.tissue.shape)
    threshold = float("inf")
    if panel.cell_marker and (nuclei is not None or name != LABELS):
        known = settings.nucleus_diameter_um if panel.marker_of_role("nuclei") else None
        job = replace(job, diameter_um=known or (nuclei.diameter_um if nuclei else _cell_diameter(job)))
        totals.nucleus_diameter_um = job.diameter_um
        threshold = 0.0 if nuclei else _cell_contrast(job)
    halo = job.halo
    for number, block in enumerate(blocks(source.shape, halo, job.step)):
        if number % BLOCKS_A_TRIM == 0:
            give_back_memory()
        tick((block.y1 - block.y0) * (block.x1 - block.x0))
        place = job.places(block)
        if kernels.count_unexamined(place, totals.cavity_px.reshape(-1), totals.masked_px.reshape(-1)):
            block, place = with_tissue(block, place, source.shape, halo, job.step)
            raw, seen = job.read_classified(block)
            for i, plane in enumerate(raw):
                totals.saturated_px[i] += reader.saturated(plane[block.inner], place)
            values = reader.values(raw, block.ry0, block.rx0)
            small, spots = _tally_block(totals, job, values, seen, block, place, np.isfinite(threshold))
            if small is not None:
                _cells_block(totals, job, small, spots, block, place, threshold)
    return totals


def _tally_block(
    totals: Sums, job: _Pass, values: AnyArray, seen: dict[str, FloatArray], block: Block, place: AnyArray, cells: bool
) -> tuple[FloatArray | None, dict[str, uptake.Contrast]]:
    """Add a block to the tallies; return every marker on the grid of the cells, None where none are sought, and each tracer's contrast."""
    pairs = joint_pairs(job.panel)
    bins = {m: np.empty(place.shape, np.int16) for pair in pairs for m in pair}
    spare = np.empty(place.shape, np.int16)
    small: FloatArray | None = None
    spots: dict[str, uptake.Contrast] = {}
    blank: FloatArray | None = None
    for i in job.order:
        channel = job.panel.channels[i]
        corrected = seen[channel.marker] if channel.marker in seen else corrected_marker(values, job.correction, i)
        soft = _blurred_inner(corrected, block, job.settings.blur_um / job.um, 0)[0]
        here = bins.get(channel.marker, spare)
        kernels.tally_into(soft, place, BIN_OF_QUANTUM, totals.tally[i], here)
        if channel.marker in totals.local:
            local_block(totals.local[channel.marker], soft, job.local.levels[channel.marker], job.local.factor, block, place)
        if channel.role == "autofluorescence":
            blank = soft
        elif blank is not None and channel.marker in totals.autofluorescent:
            share = job.correction.autofluorescence[channel.marker]
            audit_block(totals.autofluorescent[channel.marker], soft, here, blank, share, place, block.y0)
        if channel.role == "ecm":
            smooth, y, x = _blurred_inner(corrected, block, max(job.settings.fibre_sigma_um / job.um, 0.5), 1)
            sums = totals.fibres[channel.marker].reshape(2 * N_DISTANCE, N_COARSE, -1)
            kernels.fibres_into(smooth, y, x, place, here, BIN_OF_QUANTUM, job.turn, *job.cells_of(block), sums)
        if channel.role == "vessel":
            bins[NEAR_VESSEL] = _near_vessel(corrected, block, job)
        if channel.marker in totals.puncta:
            counts = totals.puncta[channel.marker].reshape(2 * N_DISTANCE, N_INTENSITY)
            spots[channel.marker] = _spots_block(counts, corrected, block, place, job)
        y, x = block.y0 - block.ry0, block.x0 - block.rx0
        if channel.marker in seen:
            add_up(totals.seen[channel.marker], corrected[block.inner], *job.cells_of(block))
        else:
            totals.focus[i] += focus_sums(corrected, y, x, place, -block.y0 % ROW_STEP).astype(object)
        if cells:
            reduced = kernels.reduced(corrected, job.step)
            small = np.empty((len(job.panel.channels), *reduced.shape), np.float32) if small is None else small
            small[i] = reduced
    for pair in pairs:
        kernels.joint_into(place, bins[pair[0]], bins[pair[1]], totals.joint[pair])
    scramble.scramble_block(totals.scrambled, bins, place, (block.y0, block.x0), job.um)
    return small, spots


def _near_vessel(corrected: FloatArray, block: Block, job: _Pass) -> AnyArray:
    """Return the intensity bin of the brightest smoothed pixel within reach, (h, w) int16 of the owned pixels.

    At or above any threshold it is where a positive pixel lies within reach, so the threshold can be decided later.
    """
    reach = int(job.settings.vessel_reach_um / job.um)
    soft, y, x = _blurred_inner(corrected, block, max(job.settings.fibre_sigma_um / job.um, 0.5), reach)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    brightest = cv2.dilate(soft, disc)[y : y + block.y1 - block.y0, x : x + block.x1 - block.x0]
    return intensity_bin(quantise(brightest)).astype(np.int16)


def _spots_block(counts: IntArray, image: FloatArray, block: Block, place: AnyArray, job: _Pass) -> uptake.Contrast:
    diameter_um = job.settings.puncta_diameter_um
    wide = block.around(int(np.ceil(puncta.reach_um(diameter_um) / job.um)) + 2 + job.cell_reach)
    y, x = block.inner[0].start - wide[0].start, block.inner[1].start - wide[1].start
    contrast = puncta.contrast(image[wide], job.um, diameter_um)
    puncta.spots_into(contrast, y, x, place, BIN_OF_QUANTUM, counts)
    return contrast, (wide[0].start, wide[1].start)


def _blurred_inner(image: FloatArray, block: Block, sigma_px: float, margin: int) -> tuple[FloatArray, int, int]:
    """Return the owned pixels of a blurred image with up to `margin` around them, and where they start in it."""
    wide, narrow = block.around(int(np.ceil(4 * sigma_px)) + 1 + margin), block.around(margin)
    soft = blurred(image[wide], sigma_px)
    y, x = narrow[0].start - wide[0].start, narrow[1].start - wide[1].start
    inner = soft[y : y + narrow[0].stop - narrow[0].start, x : x + narrow[1].stop - narrow[1].start]
    return inner, block.inner[0].start - narrow[0].start, block.inner[1].start - narrow[1].start


def blurred(image: FloatArray, sigma_px: float) -> FloatArray:
    """Return a Gaussian-smoothed copy, float32; sigma under a third of a pixel changes nothing and is skipped."""
    if sigma_px < 1 / 3:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _samples(job: _Pass, side: int, halo: int) -> list[Block]:
    """Return evenly chosen windows with tissue."""
    grid = sorted(blocks(job.source.shape, halo, job.step, side), key=lambda b: (b.y0, b.x0))
    shares = [job.share_of_tissue(b) for b in grid]
    with_tissue = [b for b, s in zip(grid, shares, strict=True) if s > 0.2] or [b for b, s in zip(grid, shares, strict=True) if s > 0]
    evenly = np.unique(np.linspace(0, max(len(with_tissue) - 1, 0), N_SAMPLES).astype(int))
    return [with_tissue[i] for i in evenly if i < len(with_tissue)]


def _cell_diameter(job: _Pass) -> float:
    """Return the diameter of a typical nucleus (or cell body) of this section, um; 0 where nothing stands out."""
    step = reduction(job.um)
    images = [kernels.reduced(job.marker(b, job.cell_row), step) for b in _samples(job, SAMPLE_PX * step, 0)[::2]]
    return float(np.nan_to_num(job.segmenter.diameter(images, job.um * step)))


def _cell_contrast(job: _Pass) -> float:
    """Return the contrast of nuclei (or cell bodies) of this section; inf where there are none."""
    samples, noise = [], []
    for b in _samples(job, SAMPLE_PX, job.halo) if job.diameter_um else []:
        image = kernels.reduced(job.marker(b, job.cell_row), job.step)
        contrast = local_contrast(image, job.um * job.step, job.diameter_um)
        examined = _in_frame(job.places(b) >= 0, b, job.step)[:: job.step, :: job.step][: image.shape[0], : image.shape[1]]
        samples.append(contrast[examined])
        noise.append(job.segmenter.noise(image, job.um * job.step, job.diameter_um))
    typical = np.median(noise, axis=0) if noise else np.zeros(2)
    return contrast_threshold(samples, (float(typical[0]), float(typical[1])))


def _in_frame(examined: BoolArray, block: Block, step: int) -> BoolArray:
    """Return a mask of owned pixels inside all that were read, with room for the last cell of the grid."""
    owned = np.zeros((block.ry1 - block.ry0 + step, block.rx1 - block.rx0 + step), bool)
    owned[block.inner] = examined
    return owned


def _cells_block(
    totals: Sums, job: _Pass, small: FloatArray, spots: dict[str, uptake.Contrast], block: Block, place: AnyArray, threshold: float
) -> None:
    um, step, settings = job.um, job.step, job.settings
    if job.nuclei is None:
        labels, known = job.segmenter.find(small[job.cell_row], um * step, job.diameter_um, threshold), None
    else:
        labels, known = job.nuclei.in_frame(block, step)
    owned, bounded = _in_frame(place >= 0, block, step), bounded_rows(job.panel)
    cells = measure_cells(labels, small, um * step, settings.ring_um, owned, step, known, bounded)
    if not len(cells.y):
        return
    iy, ix = containing_pixel(cells.y, step) + block.ry0, containing_pixel(cells.x, step) + block.rx0
    far = upsample_at(job.layout.distance, job.layout.factor, iy, ix) if job.layout.has_core else np.full(len(iy), np.nan, np.float32)
    columns: dict[str, FloatArray] = {
        "y_um": (((cells.y + 0.5) * step + block.ry0) * um).astype(np.float32),
        "x_um": (((cells.x + 0.5) * step + block.rx0) * um).astype(np.float32),
        "distance_um": far,
        "side": (place[iy - block.y0, ix - block.x0] >= N_DISTANCE).astype(np.float32),
        "area_um2": (cells.area_px * (um * step) ** 2).astype(np.float32),
    }
    for i, marker in enumerate(job.panel.markers):
        columns[f"{marker}_nucleus"] = cells.nucleus[i]
        columns[f"{marker}_ring"] = cells.ring[i]
    for i, low, high in zip(bounded, cells.ring_low, cells.ring_high, strict=True):
        columns[f"{job.panel.markers[i]}_ring_low"], columns[f"{job.panel.markers[i]}_ring_high"] = low, high
    if spots:
        owner, area_px = uptake.footprints(labels, cells.labels, max(settings.ring_um / (um * step), 1.0))
        columns["footprint_um2"] = (area_px * (um * step) ** 2).astype(np.float32)
        near, before = block.around(job.cell_reach), sum(len(c["y_um"]) for c in totals.cells)
        for marker, contrast in spots.items():
            found = uptake.sparse_spots(contrast, near, owner, step, len(cells.y))
            totals.cell_spots.setdefault(marker, []).append(found + np.array([before, 0, 0]))
    totals.cells.append(columns)
    totals.outlines.append(cell_outlines(labels, cells.labels, step, (block.ry0, block.rx0)))
