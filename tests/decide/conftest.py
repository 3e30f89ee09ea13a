"""Synthetic records, made pixel by pixel, for the tests of decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sevhisto.config import StudyConfig, parse_config
from sevhisto.decide.rows import SectionRow
from sevhisto.types import (
    DISTANCE_EDGES_UM,
    FIBRE_COLUMNS,
    INTENSITY_EDGES_Q,
    JOINT_DISTANCE_EDGES_UM,
    JOINT_EDGES,
    N_DISTANCE,
    N_INTENSITY,
    N_JOINT_DISTANCE,
    NO_DISTANCE,
    QUANTUM,
    SectionRecord,
)

N_COARSE = len(JOINT_EDGES) + 1
CHANNELS = [
    {"channel": 1, "marker": "DAPI", "role": "nuclei", "cell_compartment": "nucleus"},
    {"channel": 2, "marker": "GFAP", "role": "landmark", "cell_compartment": "ring"},
    {"channel": 3, "marker": "CD68", "role": "macrophage", "cell_compartment": "ring"},
    {"channel": 4, "marker": "CD206", "role": "macrophage", "cell_compartment": "ring"},
    {"channel": 5, "marker": "FN", "role": "ecm"},
    {"channel": 6, "marker": "AF", "role": "autofluorescence"},
    {"channel": 7, "marker": "CD31", "role": "vessel"},
]


def build_config(markers: tuple[str, ...] = ("DAPI", "GFAP", "CD68", "CD206", "FN"), **changes: Any) -> StudyConfig:
    channels = [{**c, **changes.get("channels", {}).get(c["marker"], {})} for c in CHANNELS if c["marker"] in markers]
    pairs = [["CD206", "CD68"]] if {"CD206", "CD68"} <= set(markers) else []
    data = {
        "study": {"name": "t", "section_spacing_um": 200, "orientation": changes.get("orientation", "transverse")},
        "panels": {"A": {"channels": channels, "pairs": pairs}},
        "thresholds": changes.get("thresholds", {}),
    }
    return parse_config(data)


def build_record(
    pixels: dict[str, Any],
    distance: Any = None,
    side: Any = None,
    um_per_px: float = 1.0,
    pairs: tuple[tuple[str, str], ...] = (),
    gradients: dict[str, Any] | None = None,
    cells: dict[str, Any] | None = None,
    flags: tuple[str, ...] = (),
    cavity: Any = (),
    side_axis: str = "left_right",
) -> SectionRecord:
    """A record of the pixels given, one value per pixel and marker (multiples of 1/16); `distance` None means no core."""
    markers = tuple(pixels)
    values = {m: np.asarray(v, float).ravel() for m, v in pixels.items()}
    n = len(values[markers[0]])
    where = np.full(n, NO_DISTANCE) if distance is None else np.searchsorted(DISTANCE_EDGES_UM, np.asarray(distance).ravel(), side="right")
    sides = np.zeros(n, int) if side is None else np.asarray(side).ravel()
    quanta = {m: np.rint(v / QUANTUM).astype(np.int64) for m, v in values.items()}
    fine = {m: np.searchsorted(INTENSITY_EDGES_Q, q, side="right") for m, q in quanta.items()}
    coarse = {m: np.searchsorted(JOINT_EDGES, q * QUANTUM, side="right") for m, q in quanta.items()}
    counts = np.zeros((len(markers), 2, N_DISTANCE, N_INTENSITY), np.int64)
    sums = np.zeros_like(counts)
    for i, m in enumerate(markers):
        np.add.at(counts[i], (sides, where, fine[m]), 1)
        np.add.at(sums[i], (sides, where, fine[m]), quanta[m])
    joint = {}
    none = np.zeros(n, bool) if distance is not None else np.ones(n, bool)
    far = np.zeros(n) if distance is None else np.asarray(distance).ravel()
    wide = np.where(none, N_JOINT_DISTANCE - 1, np.searchsorted(JOINT_DISTANCE_EDGES_UM, far, side="right"))
    for a, b in pairs:
        joint[a, b] = np.zeros((2, N_JOINT_DISTANCE, N_COARSE, N_COARSE), np.int64)
        np.add.at(joint[a, b], (sides, wide, coarse[a], coarse[b]), 1)
    fibres = {}
    for m, (fx, fy) in (gradients or {}).items():
        fibres[m] = np.zeros((2, N_DISTANCE, N_COARSE, len(FIBRE_COLUMNS)), np.int64)
        for k, product in enumerate((fx * fx, fy * fy, fx * fy, fx * fx)):  # the border's normal lies along x
            np.add.at(fibres[m], (sides, where, coarse[m], k), np.rint(np.asarray(product) * 64).astype(np.int64))
    cavity_px = np.zeros((2, N_DISTANCE), np.int64)
    if len(np.atleast_1d(cavity)):
        np.add.at(cavity_px[0], np.searchsorted(DISTANCE_EDGES_UM, np.asarray(cavity, float), side="right"), 1)
    meta = {
        "um_per_px": um_per_px,
        "has_core": distance is not None,
        "side_axis": side_axis,
        "offsets": dict.fromkeys(markers, 7.0),
        "flags": list(flags),
    }
    columns = {k: np.asarray(v, np.float32) for k, v in (cells or {}).items()}
    return SectionRecord(meta, markers, counts, sums, cavity_px, np.zeros_like(cavity_px), joint, fibres, columns)


def build_row(record: SectionRecord | None, animal: str = "a1", section: str = "s1", **changes: Any) -> SectionRow:
    defaults = {"panel": "A", "batch": "b1", "role": "sample", "position_um": 0.0, "status": "ok" if record else "failed"}
    return SectionRow(animal=animal, section=section, record=record, **{**defaults, **changes})


@pytest.fixture(scope="session")
def config_of() -> Callable[..., StudyConfig]:
    return build_config


@pytest.fixture(scope="session")
def record_of() -> Callable[..., SectionRecord]:
    return build_record


@pytest.fixture(scope="session")
def row_of() -> Callable[..., SectionRow]:
    return build_row
