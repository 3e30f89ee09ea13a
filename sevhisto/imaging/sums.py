"""What the pass adds up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from sevhisto.config import PanelSettings
from sevhisto.imaging.tally import N_COARSE
from sevhisto.types import (
    FIBRE_COLUMNS,
    N_DISTANCE,
    N_INTENSITY,
    N_JOINT_DISTANCE,
    NEAR_VESSEL,
    AnyArray,
    CellOutlines,
    Correction,
    FloatArray,
    IntArray,
)


@dataclass
class Sums:
    """What the pass adds up; see SectionRecord for shapes.

    `tally` : (n_markers, 2 * N_DISTANCE, N_INTENSITY, 2) int64, counts and sums side by side, since each pixel adds to both.
    `nucleus_diameter_um` : the typical nucleus, set or estimated; 0 where none was sought or nothing stands out.
    `seen` : {marker: (h, w) int64}, per mille of a classifier's class, summed over the pixels of each overview pixel.
    """

    tally: IntArray
    cavity_px: IntArray
    masked_px: IntArray
    joint: dict[tuple[str, str], IntArray]
    scrambled: dict[tuple[str, str], IntArray]
    fibres: dict[str, IntArray]
    puncta: dict[str, IntArray]
    autofluorescent: dict[str, IntArray]
    local: dict[str, IntArray]
    saturated_px: IntArray
    focus: AnyArray
    seen: dict[str, IntArray]
    nucleus_diameter_um: float = 0.0
    cells: list[dict[str, FloatArray]] = field(default_factory=list)
    outlines: list[CellOutlines] = field(default_factory=list)
    cell_spots: dict[str, list[IntArray]] = field(default_factory=dict)

    @property
    def counts(self) -> IntArray:
        """Pixels, (n_markers, 2, N_DISTANCE, N_INTENSITY)."""
        return np.ascontiguousarray(self.tally[..., 0]).reshape(-1, 2, N_DISTANCE, N_INTENSITY)

    @property
    def sums(self) -> IntArray:
        """Sums of intensity, as `counts`."""
        return np.ascontiguousarray(self.tally[..., 1]).reshape(-1, 2, N_DISTANCE, N_INTENSITY)


def empty_sums(
    panel: PanelSettings, n_channels: int, spots: bool, correction: Correction, local: Collection[str], overview: tuple[int, ...]
) -> Sums:
    """Return sums of nothing.

    Parameters
    ----------
    spots : whether pixels are fine enough to show those of a tracer
    local : markers that are tallied over their local background too
    overview : shape of the overview (h, w)
    """
    n = len(panel.markers)
    places = np.zeros((2, N_DISTANCE), np.int64)
    # no tissue is a measurement: zeros
    return Sums(
        tally=np.zeros((n, 2 * N_DISTANCE, N_INTENSITY, 2), np.int64),
        cavity_px=places,
        masked_px=places.copy(),
        joint={pair: np.zeros((2, N_JOINT_DISTANCE, N_COARSE, N_COARSE), np.int64) for pair in joint_pairs(panel)},
        scrambled={(a, b): np.zeros((2, N_JOINT_DISTANCE, N_COARSE, N_COARSE), np.int64) for a, b in panel.pairs},
        fibres={c.marker: np.zeros((2, N_DISTANCE, N_COARSE, len(FIBRE_COLUMNS)), np.int64) for c in panel.channels if c.role == "ecm"},
        puncta={c.marker: np.zeros((2, N_DISTANCE, N_INTENSITY), np.int64) for c in panel.channels if c.role == "tracer" and spots},
        autofluorescent={m: np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64) for m in correction.autofluorescence},
        local={m: np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64) for m in local},
        saturated_px=np.zeros(n_channels, np.int64),
        focus=np.zeros((n, 4), object),  # Python's own numbers: squares over a large section can pass 2**63
        seen={marker: np.zeros(overview, np.int64) for marker in panel.classes},
    )


def joint_pairs(panel: PanelSettings) -> list[tuple[str, str]]:
    """Return what gets a joint tally: the declared pairs, and every matrix marker with the nearness of a vessel marker."""
    vessel = panel.marker_of_role("vessel")
    return [*panel.pairs, *((c.marker, NEAR_VESSEL) for c in panel.channels if c.role == "ecm" and vessel)]


def bounded_rows(panel: PanelSettings) -> list[int]:
    """Return which markers' cells are counted with bounds: macrophages, which merge into clumps."""
    return [i for i, c in enumerate(panel.channels) if c.role == "macrophage"]
