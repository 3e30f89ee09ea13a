"""The section table: areas, sums and counts per section, zone and marker. Everything here adds up; no ratio is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.columns import as_frame
from sevhisto.config import PanelSettings, StudyConfig
from sevhisto.decide.colocalisation import colocalised, share_of
from sevhisto.decide.fibres import level_set, rotated
from sevhisto.decide.histograms import threshold_bin
from sevhisto.decide.phenotypes import rule_columns
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.quality import KEPT, Verdict, section_key, verdicts
from sevhisto.decide.rows import REFERENCE, STUDIED_ROLES, SUBSET, SectionRow, SectionSummary, panel_settings, summarise
from sevhisto.decide.thresholds import Threshold, threshold_of
from sevhisto.decide.zones import ALL
from sevhisto.registry import join_flags
from sevhisto.schema import SECTIONS
from sevhisto.tallies import COARSE_OF_FINE
from sevhisto.types import (
    JOINT_EDGES,
    QUANTUM,
    AnyArray,
    DoubleArray,
    IntArray,
)

MUCH_MORE = 4
"""Times as much tissue as in the control, from which on a section's autofluorescence counts as beyond that of the controls."""
_N_COARSE = len(JOINT_EDGES) + 1
Columns = dict[str, Any]


def section_rows(section: SectionRow | SectionSummary, thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig) -> pd.DataFrame:
    """Return the rows of one section, every zone by every marker, as `schema.SECTIONS`.

    Areas are exact counts of pixels in whole intensity bins at or above the threshold. A section without a core has 0 outside zone ``all``
    (flag ``no_lesion``); where the lesion is unknown (``no_landmark``) it has NaN there. Colocalisation comes from the joint tally: the
    marker's signal in a coarse bin is that bin's exact mean over the zone, and of the coarse CD68 bin that the threshold cuts, the share of
    pixels above it (exact, from the fine tally) counts as positive. Fibre sums begin at the first coarse edge at or above the threshold.
    A section that was not measured gives no rows.
    """
    return section_table([section], thresholds, config)


def section_table(
    sections: Iterable[SectionRow | SectionSummary], thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig
) -> pd.DataFrame:
    """Return the rows of all measured sections (see `section_rows`), in the order given."""
    measured = [s if isinstance(s, SectionSummary) else summarise(s, config) for s in sections if not _without_record(s)]
    found = verdicts(measured, thresholds, config)
    return joined([section_columns(s, thresholds, config, found[section_key(s)]) for s in measured])


def section_columns(
    section: SectionSummary, thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig, verdict: Verdict = KEPT
) -> Columns:
    """Return the rows of one section as plain arrays, one per column; `joined` makes tables of many."""
    panel = panel_settings(config, section.row.panel)
    common = section.flags | verdict.flags.get("", set()) | _beyond_controls(section, thresholds, config)
    blocks = [_marker_rows(section, i, thresholds, config, common, verdict) for i in range(len(section.markers))]
    blocks += [_rule_rows(section, name, thresholds, panel, common, verdict) for name in panel.phenotypes]
    return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}


def joined(blocks: Sequence[Columns]) -> pd.DataFrame:
    """Return the section table of these rows, in the order given."""
    if not blocks:
        return SECTIONS.conform(pd.DataFrame(columns=SECTIONS.names))
    (columns,) = stacked(blocks)
    return SECTIONS.conform(as_frame(columns))


def stacked(blocks: Sequence[Columns]) -> list[Columns]:
    """Return the same rows as one block; no block of none."""
    return [{name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}] if blocks else []


def _without_record(section: SectionRow | SectionSummary) -> bool:
    return isinstance(section, SectionRow) and section.record is None


def _marker_rows(
    summary: SectionSummary, i: int, thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig, common: set[str], verdict: Verdict
) -> Columns:
    row = summary.row
    marker = summary.markers[i]
    threshold = threshold_of(summary, marker, thresholds)
    panel = panel_settings(config, row.panel)
    counts = summary.counts[:, i]
    area = np.float64(summary.px_um2)
    pixels = counts.sum(axis=1)
    positive = counts[:, threshold_bin(threshold.value) :].sum(axis=1) * area
    measures: dict[str, AnyArray] = {
        "zone_um2": pixels * area,
        "cavity_um2": summary.cavity_px * area,
        "masked_um2": summary.masked_px * area,
        "positive_um2": np.where((pixels > 0) & np.isnan(threshold.value), np.nan, positive),
        "signal_sum": summary.signal[:, i] * (QUANTUM * area / threshold.gain),
        **_cells(summary, marker, panel.cell_marker, thresholds),
        **colocalised(summary, marker, thresholds),
        **_fibres(summary, marker, threshold),
        "positive_free_um2": _free(summary, i, positive, thresholds, config),
        "n_puncta": _puncta(summary, marker, threshold),
        **_uptake(summary, marker, thresholds),
        "white_matter_um2": np.where([z.name == ALL for z in summary.zones], summary.white_um2, np.nan),
        "autofluorescent_um2": _autofluorescent(summary, marker, threshold),
        "positive_local_um2": _local(summary, marker, threshold, pixels * area),
    }
    said = verdict.flags.get(marker, set()) | threshold.flags | set(summary.classified.get(marker, []))
    if marker in summary.core_markers or (marker == SUBSET and REFERENCE in summary.core_markers):
        said = said | {"circular"}
    words = {
        "marker": marker,
        "background": summary.offsets.get(marker, np.nan),
        "threshold": threshold.value,
        "threshold_source": threshold.source,
        "threshold_controls": threshold.told_controls,
        "puncta_threshold": threshold.puncta,
        "local_threshold": threshold.local,
        "cell_threshold": threshold.of_cells,
        "focus": summary.focus.get(marker, np.nan),
    }
    return _finished(summary, measures, words, said | common, verdict)


def _rule_rows(
    summary: SectionSummary,
    name: str,
    thresholds: Mapping[ThresholdKey, Threshold],
    panel: PanelSettings,
    common: set[str],
    verdict: Verdict,
) -> Columns:
    """Return the rows of a phenotype; what belongs to a marker of its own is empty."""
    rule = panel.rules[name]
    own = [threshold_of(summary, m, thresholds) for m in rule.markers]
    area = np.float64(summary.px_um2)
    measures: dict[str, AnyArray] = {
        "zone_um2": summary.counts[:, 0].sum(axis=1) * area,
        "cavity_um2": summary.cavity_px * area,
        "masked_um2": summary.masked_px * area,
        **rule_columns(summary, panel, rule, thresholds),
    }
    words = {"marker": name, "threshold_source": "rule", "threshold_controls": ""}
    said = set().union(*(verdict.flags.get(m, set()) for m in rule.markers), *(t.flags for t in own))
    return _finished(summary, measures, words, said | common, verdict)


def _finished(summary: SectionSummary, measures: dict[str, AnyArray], words: dict[str, Any], flags: set[str], verdict: Verdict) -> Columns:
    """Return all columns of the rows of one marker: what is not given is empty, and so is what an unknown lesion leaves undefined."""
    row, n = summary.row, len(summary.zones)
    whole = {
        "animal": row.animal,
        "section": row.section,
        "panel": row.panel,
        "batch": row.batch,
        "position_um": row.position_um,
        "verdict": verdict.verdict,
        "core_confidence": summary.core_confidence,
        "reasons": "; ".join(verdict.reasons),
        "flags": join_flags(flags),
        **words,
    }
    columns: Columns = {k: np.full(n, v, dtype=object if isinstance(v, str) else float) for k, v in whole.items()}
    columns |= measures if summary.known.all() else {name: np.where(summary.known, v, np.nan) for name, v in measures.items()}
    columns["zone"] = np.array([z.name for z in summary.zones], object)
    return dict.fromkeys(SECTIONS.names, np.full(n, np.nan)) | columns


def _cells(
    summary: SectionSummary, marker: str, cell_marker: str | None, thresholds: Mapping[ThresholdKey, Threshold]
) -> dict[str, DoubleArray]:
    """Return how many cells are positive for a marker; all of them for the marker that shows the cells."""
    unknown = np.full(len(summary.zones), np.nan)
    if summary.cells is None:
        return dict.fromkeys(("n_cells", "n_cells_cd68", "n_cells_low", "n_cells_high"), unknown)
    cells = summary.cells
    chosen = np.ones(summary.in_zone.shape[1], bool)
    if marker != cell_marker:
        chosen = cells[marker] >= threshold_of(summary, marker, thresholds).of_cells
    double = unknown
    if REFERENCE in cells:
        double = (summary.in_zone & chosen & (cells[REFERENCE] >= threshold_of(summary, REFERENCE, thresholds).of_cells)).sum(axis=1)
    return {"n_cells": (summary.in_zone & chosen).sum(axis=1), "n_cells_cd68": double, **_count_bounds(summary, marker, thresholds)}


def _count_bounds(summary: SectionSummary, marker: str, thresholds: Mapping[ThresholdKey, Threshold]) -> dict[str, DoubleArray]:
    """Return how many cells are surely positive, and how many nuclei may be: in clumps whose nucleus is whose cannot be seen."""
    if marker not in summary.cell_bounds:
        return dict.fromkeys(("n_cells_low", "n_cells_high"), np.full(len(summary.zones), np.nan))
    surely, possibly = summary.cell_bounds[marker] >= threshold_of(summary, marker, thresholds).of_cells
    return {
        "n_cells_low": (summary.in_zone & surely).sum(axis=1),
        "n_cells_high": (summary.in_zone & possibly) @ summary.nuclei_in_object,
    }


def _free(
    summary: SectionSummary, i: int, positive: DoubleArray, thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig
) -> DoubleArray:
    """Return the positive area that is not bound to a vessel (um2); NaN for a marker or panel without vessels.

    The share that is bound comes from the joint tally, whose bins of distance and intensity are coarse, and is applied to the exact area.
    """
    marker, vessel = summary.markers[i], panel_settings(config, summary.row.panel).marker_of_role("vessel")
    if marker not in summary.near_vessel or vessel is None:
        return np.full(len(summary.zones), np.nan)
    near = threshold_of(summary, vessel, thresholds).value
    if np.isnan(near):
        return np.where(positive == 0, 0.0, np.nan)
    first = int(np.searchsorted(JOINT_EDGES, near, side="left")) + 1
    share = share_of(summary.counts[:, i], threshold_of(summary, marker, thresholds).value)
    all_of_it = (summary.near_vessel[marker].sum(axis=2) * share).sum(axis=1)
    free = (summary.near_vessel[marker][:, :, :first].sum(axis=2) * share).sum(axis=1)
    return np.asarray(positive * np.divide(free, all_of_it, out=np.ones(len(free)), where=all_of_it > 0), np.float64)


def _puncta(summary: SectionSummary, marker: str, threshold: Threshold) -> DoubleArray:
    if marker not in summary.puncta or np.isnan(threshold.puncta):
        return np.full(len(summary.zones), np.nan)
    return np.asarray(summary.puncta[marker][:, threshold_bin(threshold.puncta) :].sum(axis=1), np.float64)


def _uptake(summary: SectionSummary, marker: str, thresholds: Mapping[ThresholdKey, Threshold]) -> dict[str, DoubleArray]:
    """Return cells, spots in them and spots that random placement would give, for macrophages with CD206 and without."""
    groups = ("cd206_pos", "cd206_neg")
    unknown = np.full(len(summary.zones), np.nan)
    out = {f"{g}_{part}": unknown for g in groups for part in ("cells", "puncta", "expected")}
    cells, applied = summary.cells, threshold_of(summary, marker, thresholds).puncta
    if cells is None or marker not in summary.cell_spots or np.isnan(applied) or not {REFERENCE, SUBSET} <= set(cells):
        return out
    macrophage, with_subset = (cells[m] >= threshold_of(summary, m, thresholds).of_cells for m in (REFERENCE, SUBSET))
    owner, contrast_bin, number = summary.cell_spots[marker].T
    counted = number * _share_above(summary.puncta[marker][[z.name for z in summary.zones].index("all")], applied)[contrast_bin]
    pixels = summary.counts[:, summary.markers.index(marker)].sum(axis=1)
    density = _puncta(summary, marker, threshold_of(summary, marker, thresholds)) / np.maximum(pixels * summary.px_um2, summary.px_um2)
    for group, chosen in zip(groups, (macrophage & with_subset, macrophage & ~with_subset), strict=True):
        here = summary.in_zone & chosen
        out[f"{group}_cells"] = here.sum(axis=1).astype(np.float64)
        out[f"{group}_puncta"] = np.array([counted[h[owner]].sum() for h in here], np.float64)
        out[f"{group}_expected"] = density * (here * summary.footprint_um2.astype(np.float64)).sum(axis=1)
    return out


def _beyond_controls(summary: SectionSummary, thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig) -> set[str]:
    """Return a flag where the blank channel is bright in much more of the tissue than in the control that told its shares."""
    blank = panel_settings(config, summary.row.panel).marker_of_role("autofluorescence")
    if blank is None or summary.row.role not in STUDIED_ROLES:
        return set()
    threshold = threshold_of(summary, blank, thresholds)
    if threshold.source not in ("no_primary", "unstained"):
        return set()
    counts = summary.counts[[z.name for z in summary.zones].index("all"), summary.markers.index(blank)]
    usual = (1 - config.thresholds.percentile / 100) * int(counts.sum())
    above = int(counts[threshold_bin(threshold.value) :].sum())
    return {"autofluorescence_beyond_controls"} if above > MUCH_MORE * usual else set()


def _share_above(spots: IntArray, threshold: float) -> DoubleArray:
    """Return how much of each coarse bin counts, (64,): of the one that the threshold cuts, the share of the section's spots above it."""
    first = threshold_bin(threshold)
    cut = int(COARSE_OF_FINE[first])
    share = (np.arange(_N_COARSE) > cut).astype(np.float64)
    inside = np.equal(COARSE_OF_FINE, cut)
    share[cut] = spots[first:][inside[first:]].sum() / max(int(spots[inside].sum()), 1)
    return share


def _autofluorescent(summary: SectionSummary, marker: str, threshold: Threshold) -> DoubleArray:
    if marker not in summary.autofluorescent or np.isnan(threshold.value):
        return np.full(len(summary.zones), np.nan)
    return np.asarray(summary.autofluorescent[marker][:, threshold_bin(threshold.value) :].sum(axis=1) * summary.px_um2, np.float64)


def _local(summary: SectionSummary, marker: str, threshold: Threshold, zone_um2: DoubleArray) -> DoubleArray:
    """Return the area that is positive over its local background: its share of every fourth row times the exact area of the zone (um2)."""
    if marker not in summary.local:
        return np.full(len(summary.zones), np.nan)
    counts = summary.local[marker]
    pixels = counts.sum(axis=1)
    share = counts[:, threshold_bin(threshold.local) :].sum(axis=1) / np.maximum(pixels, 1)
    return np.asarray(np.where((pixels > 0) & np.isnan(threshold.local), np.nan, share * zone_um2), np.float64)


def _fibres(summary: SectionSummary, marker: str, threshold: Threshold) -> dict[str, DoubleArray]:
    names = ("fibre_xx", "fibre_yy", "fibre_xy", "fibre_nn", "fibre_tt", "fibre_nt", "fibre_um2", "fibre_outline_um")
    if marker not in summary.fibres or np.isnan(threshold.value):
        return {name: np.full(len(summary.zones), np.nan) for name in names}
    first = int(np.searchsorted(JOINT_EDGES, threshold.value, side="left")) + 1
    xx, yy, xy, nn, nt = summary.fibres[marker][:, first:_N_COARSE, :5].sum(axis=1).astype(np.float64).T
    turned = rotated(xx, yy, xy, 0.0 if np.isnan(summary.axis_deg) else summary.axis_deg)
    border = np.array([nn, xx + yy - nn, nt]) * summary.has_core  # the trace is the same in every frame
    pixels, outline = level_set(summary.fibres[marker][:, :, 5], summary.fibres[marker][:, :, 6], threshold.value)
    values = (*turned, *border, pixels * summary.px_um2, outline * math.sqrt(summary.px_um2))
    return dict(zip(names, values, strict=True))
