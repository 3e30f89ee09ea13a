"""What is true of a synthetic section: outlines, objects, and areas by zone at any threshold, by brute force at full resolution."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from sevhisto.phantom.geometry import Anatomy, Mask, fill_polygon
from sevhisto.phantom.optics import stain_plane
from sevhisto.phantom.spec import SectionSpec
from sevhisto.phantom.structure import Cells, Nuclei
from sevhisto.types import INTENSITY_EDGES, INTENSITY_EDGES_Q, N_INTENSITY, QUANTUM, BoolArray, DoubleArray, FloatArray, IntArray

DEFAULT_EDGES_UM = (0.0, 250.0, 500.0, 1000.0, 2000.0)


@dataclass
class SectionTruth:
    """The truth of one section; pixel centres lie at whole numbers, points are x, y.

    Attributes
    ----------
    anatomy : outlines in px (`tissue_outline`, `core_outline`, `cavities`) and masks
    layers : painted structure per marker, uint8, 0 = none
    nuclei, cells, puncta : every object, with its place
    bodies : where CD68+ cells are, uint8, their vacuoles included
    images : noise-free stain images that were kept
    """

    spec: SectionSpec
    seed: int
    anatomy: Anatomy
    layers: dict[str, Mask]
    nuclei: Nuclei
    cells: Cells
    puncta: DoubleArray
    bodies: Mask
    images: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def px_um2(self) -> float:
        """Area of a pixel."""
        return self.spec.um_per_px**2

    @property
    def tissue_outline(self) -> DoubleArray:
        """Outline of the cord, cavities not cut out, (n, 2) x, y px."""
        return self.anatomy.outline

    @property
    def core_outline(self) -> DoubleArray | None:
        """Outline of the lesion core, cavities included; None without a lesion."""
        return self.anatomy.core_outline

    @property
    def cavities(self) -> list[DoubleArray]:
        """Outlines of the cavities."""
        return self.anatomy.cavities

    @property
    def cavity_um2(self) -> float:
        """Area of cavity, in whole pixels; cavities lie inside the core."""
        return float(np.count_nonzero(self.core_mask(True)) - np.count_nonzero(self.anatomy.core)) * self.px_um2

    def core_mask(self, with_cavity: bool = False) -> BoolArray:
        """Return the pixels of the core."""
        if not with_cavity or self.core_outline is None:
            return self.anatomy.core > 0
        mask = np.zeros(self.anatomy.frame.shape, np.uint8)
        fill_polygon(mask, self.core_outline)
        return mask > 0

    def structure(self, marker: str) -> BoolArray:
        """Return where the marker's structure is painted (in a section without this stain too)."""
        return self.layers[marker] > 0

    def optical(self, marker: str) -> FloatArray:
        """Return the noise-free image of the stain alone, grey levels: no autofluorescence, bleed-through, shading, noise or offset."""
        if marker in self.images:
            return self.images[marker]
        return stain_plane(self.spec, self.anatomy, self.layers.get(marker), marker, self.seed)


def zone_names(edges_um: Sequence[float]) -> list[str]:
    """Return ``core``, the rings, ``all``."""
    return ["core", *(f"{a:g}-{b:g}" for a, b in itertools.pairwise(edges_um)), "all"]


def zone_labels(truth: SectionTruth, edges_um: Sequence[float] = DEFAULT_EDGES_UM) -> npt.NDArray[np.uint8]:
    """Return per pixel: 0 off the tissue, 1 core, 2.. the rings by exact distance to the core, last + 1 tissue beyond them or unzoned."""
    tissue, rest = truth.anatomy.tissue > 0, len(edges_um) + 1
    label = np.where(tissue, np.uint8(rest), np.uint8(0))
    if truth.core_outline is None:
        return label
    core = truth.core_mask(with_cavity=True)
    # half a pixel: the border runs between a core pixel and its neighbour
    distance = (ndimage.distance_transform_edt(~core) - 0.5) * truth.spec.um_per_px
    for k, (a, b) in enumerate(itertools.pairwise(edges_um)):
        label[tissue & ~core & (distance >= a) & (distance < b)] = 2 + k
    label[tissue & core] = 1
    return label


def truth_table(
    truth: SectionTruth, zone_edges_um: Sequence[float] = DEFAULT_EDGES_UM, thresholds: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return zone, marker, zone_um2, cavity_um2, positive_um2, structure_um2: areas counted pixel by pixel.

    Parameters
    ----------
    thresholds : per marker, grey levels on the noise-free stain image; markers without one have no row
    """
    label, px = zone_labels(truth, zone_edges_um), truth.px_um2
    rows = []
    for marker, threshold in (thresholds or {}).items():
        positive, structure = truth.optical(marker) >= threshold, truth.structure(marker)
        for k, zone in enumerate(zone_names(zone_edges_um)):
            here = label > 0 if zone == "all" else label == k + 1
            cavity = truth.cavity_um2 if zone in ("core", "all") else 0.0
            areas = [np.count_nonzero(here & m) * px for m in (np.True_, positive, structure)]
            rows.append((zone, marker, areas[0], cavity, areas[1], areas[2]))
    return pd.DataFrame(rows, columns=["zone", "marker", "zone_um2", "cavity_um2", "positive_um2", "structure_um2"])


def _bin_lut() -> npt.NDArray[np.uint16]:
    """Return the intensity bin of every whole number of quanta from 0 to the last edge."""
    return np.searchsorted(INTENSITY_EDGES_Q, np.arange(INTENSITY_EDGES_Q[-1] + 1), side="right").astype(np.uint16)


_LUT = _bin_lut()


def truth_histograms(truth: SectionTruth, zone_edges_um: Sequence[float] = DEFAULT_EDGES_UM) -> tuple[IntArray, IntArray]:
    """Return counts (zones, markers, N_INTENSITY) of the noise-free images over the intensity bins, and structure px (zones, markers)."""
    label = zone_labels(truth, zone_edges_um)
    zones, markers = len(zone_edges_um) + 1, truth.spec.markers
    counts = np.zeros((zones + 1, len(markers), N_INTENSITY), np.int64)
    painted = np.zeros((zones + 1, len(markers)), np.int64)
    on = np.flatnonzero(label)
    code = (label.ravel()[on].astype(np.int64) - 1) * N_INTENSITY
    size = np.bincount(code // N_INTENSITY, minlength=zones)
    for m, marker in enumerate(markers):
        plane = truth.optical(marker).ravel()[on]
        lit = np.flatnonzero(plane)
        bins = _LUT[np.minimum((plane[lit] * np.float32(1 / QUANTUM)).astype(np.int64), len(_LUT) - 1)]
        counts[:zones, m] = np.bincount(code[lit] + bins, minlength=zones * N_INTENSITY).reshape(zones, N_INTENSITY)
        counts[:zones, m, _LUT[0]] += size - counts[:zones, m].sum(axis=1)
        layer = truth.layers.get(marker)
        if layer is not None:
            painted[:zones, m] = np.bincount(code // N_INTENSITY, weights=layer.ravel()[on] > 0, minlength=zones)
    for array in (counts, painted):
        array[zones] = array[:zones].sum(axis=0)
        array[zones - 1] = array[zones]
    return counts[:zones], painted[:zones]


def positive_px(counts: IntArray, threshold: float) -> IntArray:
    """Return the pixels at or above a threshold, which must be an edge of the intensity bins; counts (..., N_INTENSITY)."""
    k = int(np.searchsorted(INTENSITY_EDGES, threshold))
    if k >= len(INTENSITY_EDGES) or INTENSITY_EDGES[k] != threshold:
        raise ValueError(f"threshold {threshold:g} is no bin edge; use types.snap_threshold")
    return np.asarray(counts[..., k + 1 :].sum(axis=-1), dtype=np.int64)
