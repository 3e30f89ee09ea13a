"""Kinds of cells by the panel's rules: counts, areas where a joint tally tells them, and shares with their denominators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from sevhisto.config import PanelSettings
from sevhisto.decide.colocalisation import positive_pixels
from sevhisto.decide.metrics import Measured, over, volume
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import REFERENCE, SectionSummary
from sevhisto.decide.thresholds import Threshold, threshold_of
from sevhisto.metrics import fraction_of
from sevhisto.rules import Rule
from sevhisto.types import BoolArray, DoubleArray

AREA_METRICS = ("area_um2", "fraction_pct", "positive_volume_mm3")


def positive_cells(
    summary: SectionSummary, panel: PanelSettings, marker: str, thresholds: Mapping[ThresholdKey, Threshold]
) -> BoolArray | None:
    """Return which cells are positive for a marker, (n_cells,); all for the nuclear one, None where no cells were sought."""
    if summary.cells is None:
        return None
    if marker == panel.marker_of_role("nuclei"):
        return np.ones(summary.in_zone.shape[1], bool)
    return np.asarray(summary.cells[marker] >= threshold_of(summary, marker, thresholds).of_cells, bool)


def rule_columns(
    summary: SectionSummary, panel: PanelSettings, rule: Rule, thresholds: Mapping[ThresholdKey, Threshold]
) -> dict[str, DoubleArray]:
    """Return what the section table says of a phenotype: cells, those that are CD68-positive too, and area, each (n_zones,)."""
    unknown = np.full(len(summary.zones), np.nan)
    out = {"n_cells": unknown, "n_cells_cd68": unknown, "positive_um2": positive_pixels(summary, rule, thresholds)}
    wanted = dict.fromkeys([*rule.markers, *([REFERENCE] if REFERENCE in panel.markers else [])])
    found = {m: positive_cells(summary, panel, m, thresholds) for m in wanted}
    cells = {m: p for m, p in found.items() if p is not None}
    if len(cells) == len(wanted):
        here = summary.in_zone & rule.holds(cells)
        out["n_cells"] = here.sum(axis=1).astype(np.float64)
        if REFERENCE in cells:
            out["n_cells_cd68"] = (here & cells[REFERENCE]).sum(axis=1).astype(np.float64)
    return out


def rule_metric_names(rule: Rule, panel: PanelSettings) -> list[str]:
    """Return the metrics of a phenotype, in table order: a share of every marker that all of its cells are positive for."""
    nuclear = panel.marker_of_role("nuclei")
    names = ["count", "density_per_mm2", "fraction_of_cells_pct", *(fraction_of(m) for m in rule.implied if m != nuclear)]
    pairs = [set(pair) for pair in panel.pairs]
    told = len(rule.markers) == 1 or set(rule.markers) in pairs
    return [*(AREA_METRICS if told else ()), *dict.fromkeys(names)]


def rule_metrics(
    rule: Rule, panel: PanelSettings, sums: Mapping[str, float], cells: Mapping[str, float], weighted_um2: float, spacing_um: float, n: int
) -> Iterator[Measured]:
    """Yield the metrics of one phenotype in one zone.

    Parameters
    ----------
    sums : columns of its rows of the section table, summed over the sections of the zone
    cells : cells in the zone that are positive for each marker of the panel
    weighted_um2, spacing_um, n : as in `metrics.marker_metrics`
    """
    nuclear = str(panel.marker_of_role("nuclei"))
    values = {
        "area_um2": sums["positive_um2"],
        "fraction_pct": 100 * over(sums["positive_um2"], sums["zone_um2"]),
        "count": sums["n_cells"],
        "density_per_mm2": 1e6 * over(sums["n_cells"], sums["zone_um2"]),
        "fraction_of_cells_pct": 100 * over(sums["n_cells"], cells[nuclear]),
        **{fraction_of(m): 100 * over(sums["n_cells"], cells[m]) for m in rule.implied if m != nuclear},
    }
    for name in rule_metric_names(rule, panel):
        if name == "positive_volume_mm3":
            yield volume(weighted_um2, spacing_um, n, name)
            continue
        unknown = math.isnan(sums["positive_um2"] if name in AREA_METRICS else sums["n_cells"])
        why = ("no_threshold" if name in AREA_METRICS else "cells_not_labelled") if unknown else "empty_denominator"
        yield name, values[name], {why} if math.isnan(values[name]) else set()
