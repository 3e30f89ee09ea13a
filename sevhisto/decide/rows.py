"""One section on its way to the tables, and what is kept of its record: a few small arrays per zone."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sevhisto.config import PanelSettings, StudyConfig
from sevhisto.decide.zones import AS_SET, Zone, ZoneShift, cells_in_zone, is_longitudinal, section_zones
from sevhisto.registry import did_you_mean
from sevhisto.tallies import Reach, Sparse, Tallies
from sevhisto.types import (
    N_JOINT_DISTANCE,
    BoolArray,
    FloatArray,
    IntArray,
    Problem,
    SectionRecord,
    SevhistoError,
)

REFERENCE = "CD68"
"""Marker to which the other macrophage markers, double positives and colocalisation refer."""
SUBSET = "CD206"
"""Marker that divides the macrophages whose uptake of a tracer is compared."""
Pair = tuple[str, str]
MEASURED = ("ok", "flagged")
STUDIED_ROLES = ("sample", "uninjured")
"""Slide roles whose sections make animals; the others are controls."""


@dataclass
class SectionRow:
    """One section as the study lists it, with its record where it was measured.

    Attributes
    ----------
    animal : animal, already coded
    role : slide role: sample, uninjured, or a control
    position_um : place along the cord, growing caudally; NaN where unknown
    status, reason : as in status.csv
    record : the record or its tallies; None unless status is ok or flagged
    """

    animal: str
    section: str
    panel: str
    batch: str
    role: str
    position_um: float
    status: str
    reason: str = ""
    record: SectionRecord | Tallies | None = None


@dataclass
class SectionSummary:
    """A record collapsed onto zones: enough for any threshold, at about a hundredth of its size.

    Attributes
    ----------
    row : the section, without its record
    known : (n_zones,) bool, False where the zone is undefined because the lesion is unknown
    counts : (n_zones, n_markers, N_INTENSITY) int64, pixels
    signal : (n_zones, n_markers) int64, sum of corrected intensity in quanta
    cavity_px, masked_px : (n_zones,) int64
    joint : {pair: (n_zones, 64, 64) int64}, coarse bins of its first marker by those of its second
    scrambled : as `joint`, of pixels paired with the second marker from another block
    positive_part : {marker: (n_zones, 64) int64}, sum in quanta of the intensity above zero, by coarse bin
    fibres : {marker: (n_zones, 64, 7) int64}
    near_vessel : {marker: (n_zones, 64, 64) int64}, coarse bins of a matrix marker by those of the vessel marker within reach
    puncta : {marker: (n_zones, N_INTENSITY) int64}, spots by contrast
    autofluorescent : {marker: (n_zones, N_INTENSITY) int64}, pixels before autofluorescence was subtracted, minus after
    local : {marker: (n_zones, N_INTENSITY) int64}, pixels by intensity over their local background
    focus : {marker: focus of the whole section}
    cell_spots : {marker: (n, 3) int64}, cell, coarse contrast bin, number of spots
    footprint_um2 : (n_cells,) float32, nucleus and ring; empty without a tracer
    has_core : whether the section has a lesion core
    axis_deg : direction of the section's long axis in the image, from x towards y (down); NaN where it has none
    dyes : markers that are a brightfield dye, read as its excess over the counterstain
    faults : as in the record's meta
    white_um2 : spared white matter as drawn; NaN where not drawn
    core_confidence : how sure the program's lesion outline is; NaN without one
    core_markers : markers that had a part in that outline
    classified : {marker that a classifier shows: flags of it}
    in_zone : (n_zones, n_cells) bool
    cells : {marker: (n_cells,) float32}, intensity in the marker's compartment, the larger of two; None without a nuclear channel
    cell_bounds : {marker: (2, n_cells) float32}, what four fifths of a cell's ring reach, and one fifth or its nucleus
    nuclei_in_object : (n_cells,) int64, typical nuclei of the section that the object is as large as, at least 1
    """

    row: SectionRow
    zones: tuple[Zone, ...]
    markers: tuple[str, ...]
    px_um2: float
    flags: set[str]
    offsets: dict[str, float]
    known: BoolArray
    counts: IntArray
    signal: IntArray
    cavity_px: IntArray
    masked_px: IntArray
    in_zone: BoolArray
    cells: dict[str, FloatArray] | None
    joint: dict[Pair, IntArray] = field(default_factory=dict)
    scrambled: dict[Pair, IntArray] = field(default_factory=dict)
    positive_part: dict[str, IntArray] = field(default_factory=dict)
    fibres: dict[str, IntArray] = field(default_factory=dict)
    puncta: dict[str, IntArray] = field(default_factory=dict)
    autofluorescent: dict[str, IntArray] = field(default_factory=dict)
    local: dict[str, IntArray] = field(default_factory=dict)
    cell_spots: dict[str, IntArray] = field(default_factory=dict)
    cell_bounds: dict[str, FloatArray] = field(default_factory=dict)
    nuclei_in_object: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    footprint_um2: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    focus: dict[str, float] = field(default_factory=dict)
    has_core: bool = False
    axis_deg: float = np.nan
    near_vessel: dict[str, IntArray] = field(default_factory=dict)
    dyes: frozenset[str] = frozenset()
    faults: dict[str, Any] = field(default_factory=dict)
    white_um2: float = np.nan
    core_confidence: float = np.nan
    core_markers: frozenset[str] = frozenset()
    classified: dict[str, list[str]] = field(default_factory=dict)


def panel_settings(config: StudyConfig, panel: str) -> PanelSettings:
    """Return the settings of `panel`; SevhistoError names the known ones."""
    if panel not in config.panels:
        raise SevhistoError(Problem("study.toml: panels", f"unknown panel {panel!r}", did_you_mean(panel, list(config.panels))))
    return config.panels[panel]


def summarise(row: SectionRow, config: StudyConfig) -> SectionSummary:
    """Return what is kept of a measured section; the record itself can then be dropped.

    Raises
    ------
    SevhistoError
        The section has no record, or its sides are not those of the study's orientation.
    """
    return summarise_shifted(row, config, (AS_SET,))[0]


def summarise_shifted(row: SectionRow, config: StudyConfig, shifts: Sequence[ZoneShift]) -> list[SectionSummary]:
    """Return a section's summary for every choice of where its zones end. Errors as in `summarise`."""
    where = f"animal {row.animal}, section {row.section}, panel {row.panel}"
    record = _checked_tallies(row, config, where)
    parts = [section_zones(config, shift) for shift in shifts]
    every = _summary(row, record, tuple(z for zones in parts for z in zones), panel_settings(config, row.panel), where)
    ends = np.cumsum([0, *(len(zones) for zones in parts)])
    return [_of_zones(every, slice(int(a), int(b))) for a, b in itertools.pairwise(ends)]


def _summary(row: SectionRow, record: Tallies, zones: tuple[Zone, ...], panel: PanelSettings, where: str) -> SectionSummary:
    flags = set(record.meta.get("flags", []))
    has_core = bool(record.meta.get("has_core", False))
    zone_known = [has_core or "no_landmark" not in flags or not z.needs_core for z in zones]
    columns = record.cells
    side = columns.get("side", np.zeros(0, np.float32))
    distance = columns.get("distance_um", np.zeros(0, np.float32))
    bare = SectionRow(row.animal, row.section, row.panel, row.batch, row.role, row.position_um, row.status, row.reason)
    summary = SectionSummary(
        row=bare,
        zones=zones,
        markers=record.markers,
        px_um2=record.px_um2,
        flags=flags,
        offsets={m: float(v) for m, v in record.meta.get("offsets", {}).items()},
        known=np.array(zone_known),
        counts=_by_zone(record.sums["counts", ""], zones),
        signal=_by_zone(record.sums["signal", ""], zones),
        cavity_px=_by_zone(record.sums["cavity", ""], zones)[:, 0],
        masked_px=_by_zone(record.sums["masked", ""], zones)[:, 0],
        in_zone=np.array([cells_in_zone(distance, side, z) for z in zones]),
        cells=_cell_values(record, panel, where),
    )
    _add_joint(summary, record)
    summary.cell_bounds, summary.nuclei_in_object = _bounds(columns, panel)
    for kind in ("fibres", "puncta", "autofluorescent", "local"):
        setattr(summary, kind, {m: _by_zone(t, zones)[:, 0] for m, t in record.named(kind).items()})
    summary.cell_spots = dict(record.cell_spots)
    summary.footprint_um2 = columns.get("footprint_um2", summary.footprint_um2)
    summary.focus = {m: float(v) for m, v in record.meta.get("focus", {}).items() if v is not None}
    summary.has_core = has_core
    axis = record.meta.get("axis_deg")
    summary.axis_deg = np.nan if axis is None else float(axis)
    summary.dyes = frozenset(record.meta.get("dyes", []))
    summary.faults = record.meta.get("faults", {})
    drawn = record.meta.get("white_matter_um2")
    summary.white_um2 = np.nan if drawn is None else float(drawn)
    sure = record.meta.get("core_confidence")
    summary.core_confidence = np.nan if sure is None else float(sure)
    summary.core_markers = frozenset(record.meta.get("core_markers", []))
    summary.classified = record.meta.get("classified", {})
    return summary


def _bounds(columns: dict[str, FloatArray], panel: PanelSettings) -> tuple[dict[str, FloatArray], IntArray]:
    """Return what the bounds of a count are made of: an object as large as several nuclei may be nuclei that could not be parted."""
    bounds = {}
    for channel in panel.channels:
        low, high, nucleus = (f"{channel.marker}_{part}" for part in ("ring_low", "ring_high", "nucleus"))
        if low in columns and channel.cell_compartment != "nucleus":
            possible = np.maximum(columns[high], columns[nucleus]) if channel.cell_compartment == "either" else columns[high]
            bounds[channel.marker] = np.stack([columns[low], possible])
    area = columns.get("area_um2", np.zeros(0, np.float32))
    typical = float(np.median(area)) if len(area) else 1.0
    return bounds, np.maximum(np.rint(area / max(typical, 1e-6)), 1).astype(np.int64)


_BY_ZONE = ("zones", "known", "counts", "signal", "cavity_px", "masked_px", "in_zone")
_BY_MARKER_AND_ZONE = ("joint", "scrambled", "positive_part", "fibres", "puncta", "autofluorescent", "local", "near_vessel")


def _of_zones(summary: SectionSummary, chosen: slice) -> SectionSummary:
    """Return the summary of some of its zones; what does not depend on zones is shared."""
    parts: dict[str, Any] = {name: getattr(summary, name)[chosen] for name in _BY_ZONE}
    parts |= {name: {m: v[chosen] for m, v in getattr(summary, name).items()} for name in _BY_MARKER_AND_ZONE}
    return replace(summary, **parts)


def _checked_tallies(row: SectionRow, config: StudyConfig, where: str) -> Tallies:
    if row.record is None:
        raise SevhistoError(Problem(where, f"has no record (status {row.status!r})", "pass measured sections only"))
    axis = "rostral_caudal" if is_longitudinal(config) else "left_right"
    found = row.record.meta.get("side_axis", axis)
    if found != axis:
        raise SevhistoError(Problem(where, f"was measured as {found}, the study needs {axis}", "run the section again"))
    return row.record if isinstance(row.record, Tallies) else Tallies.of(row.record)


def _by_zone(tally: Sparse, zones: tuple[Zone, ...]) -> IntArray:
    """Sum over the sides and distances of each zone: (n_zones, n_lead, ...)."""
    joint = tally.shape[2] == N_JOINT_DISTANCE
    return tally.over(_reach(z, joint) for z in zones)


def _reach(zone: Zone, joint: bool) -> Reach:
    bins = zone.joint_bins if joint else zone.bins
    return bins.start, bins.stop, zone.sides


def _add_joint(summary: SectionSummary, record: Tallies) -> None:
    summary.near_vessel = {m: _by_zone(t, summary.zones)[:, 0] for m, t in record.named("near vessel").items()}
    for kind in ("joint", "scrambled"):
        found = {pair_of(name): _by_zone(t, summary.zones)[:, 0] for name, t in record.named(kind).items()}
        setattr(summary, kind, found)
    summary.positive_part = {m: _by_zone(t, summary.zones)[:, 0] for m, t in record.named("positive").items()}


def pair_of(name: str) -> Pair:
    """Return the markers of a joint tally, from its name among the tallies."""
    first, second = json.loads(name)
    return str(first), str(second)


def _cell_values(record: Tallies, panel: PanelSettings, where: str) -> dict[str, FloatArray] | None:
    if panel.cell_marker is None or "cells_not_labelled" in record.meta.get("flags", []):
        return None
    values = {}
    for channel in panel.channels:
        parts = ("ring", "nucleus") if channel.cell_compartment == "either" else (channel.cell_compartment,)
        columns = [f"{channel.marker}_{part}" for part in parts]
        missing = [c for c in columns if record.cells and c not in record.cells]
        if missing:
            raise SevhistoError(Problem(where, f"its cells have no column {missing[0]!r}", "run the section again"))
        values[channel.marker] = np.maximum.reduce([record.cells.get(c, np.zeros(0, np.float32)) for c in columns])
    return values
