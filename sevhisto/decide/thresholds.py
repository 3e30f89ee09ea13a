"""Thresholds from controls: one per panel, batch and marker, from the best rung of the ladder that the study can offer.

Every rung works on the pooled histogram of corrected intensity over tissue, so no pixel is read. Inside a bin the intensity is taken as
uniformly spread. The counterstain (role ``nuclei``) is on the no_primary slides too, so it skips that rung. A brightfield dye of matrix has
no control without it and stands on no rung: it is positive where it exceeds its counterstain by `thresholds.dye_excess`. A class of a
trained classifier is positive from an even chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sevhisto.config import StudyConfig
from sevhisto.decide.rows import STUDIED_ROLES, SectionRow, SectionSummary, panel_settings, summarise
from sevhisto.types import (
    EVEN_CHANCE,
    INTENSITY_EDGES,
    N_INTENSITY,
    DoubleArray,
    IntArray,
    Problem,
    SevhistoError,
    snap_threshold,
)

ThresholdKey = tuple[str, str, str]
"""Panel, batch, marker."""
_Pools = dict[ThresholdKey, dict[str, tuple[IntArray, int]]]
_Areas = dict[ThresholdKey, dict[str, float]]


@dataclass(frozen=True)
class Threshold:
    """One threshold and where it comes from.

    Attributes
    ----------
    value : applied to corrected intensity, an edge of the intensity bins; NaN where nothing can give one and no animal's tissue needs one
    source : ``fixed``, ``classifier``, ``dye``, a rung of the ladder (``batch`` pools samples and bridge sections), or ``none``
    raw : before snapping to an edge
    n_controls : sections pooled
    flags : ``threshold_fixed``, ``threshold_fallback`` or ``no_threshold``
    cells : applied to a cell's median intensity in its compartment: half of the median positive pixel of the batch's samples, if that is
        more than `value`, so that the blurred edge of a neighbour makes no cell positive; NaN where `value` itself applies
    puncta : applied to the contrast of a tracer's spots, an edge of the intensity bins; NaN for other markers, and without controls
    local : applied to intensity over the local background, from the same ladder; NaN where nothing can give one, or it is not tallied
    """

    value: float
    source: str
    raw: float
    n_controls: int
    flags: frozenset[str] = frozenset()
    puncta: float = np.nan
    cells: float = np.nan
    local: float = np.nan

    @property
    def of_cells(self) -> float:
        """The intensity from which a cell is positive."""
        return self.value if np.isnan(self.cells) else self.cells


def find_thresholds(sections: Iterable[SectionRow | SectionSummary], config: StudyConfig) -> dict[ThresholdKey, Threshold]:
    """Return the threshold of every marker in every panel and batch that has measured sections.

    Parameters
    ----------
    sections : every measured section, controls included; read once, in any order, and not kept
    config : the marker's own `threshold` comes first, then `thresholds.ladder`

    Raises
    ------
    SevhistoError
        Names every panel, batch and marker of an animal's tissue for which no rung has a section with tissue.
    """
    found: dict[ThresholdKey, Threshold] = {}
    problems: list[Problem] = []
    pooled, spots, local, areas, dyes = _pool(sections, config)
    for key, pools in sorted(pooled.items()):
        threshold = _climb(key, pools, config, key in dyes)
        if threshold is None:
            panel, batch, marker = key
            where = f"panel {panel}, batch {batch}, marker {marker}"
            remedy = "add control slides, a rung to thresholds.ladder, or a threshold to the channel"
            problems.append(Problem(where, f"no threshold: no section of {', '.join(config.thresholds.ladder)} has tissue", remedy))
        else:
            spot = _puncta_threshold(spots.get(key, {}), areas.get(key, {}), config)
            over = _climb(key, local[key], config, key in dyes) if key in local else None
            cells = _cell_threshold(pools, threshold.value)
            found[key] = replace(threshold, puncta=spot, cells=cells, local=np.nan if over is None else over.value)
    if problems:
        raise SevhistoError(problems)
    return found


def scale_thresholds(thresholds: Mapping[ThresholdKey, Threshold], factor: float) -> dict[ThresholdKey, Threshold]:
    """Return thresholds `factor` times as high, snapped again: for curves of an effect against the threshold."""

    def scaled(value: float, applied: float) -> float:
        return snap_threshold(value * factor) if applied == applied else applied

    return {
        k: replace(t, value=scaled(t.raw, t.value), puncta=scaled(t.puncta, t.puncta), cells=t.cells * factor)
        for k, t in thresholds.items()
    }


def histogram_quantile(counts: IntArray, share: float) -> float:
    """Return the intensity (grey levels) below which `share` of the pixels lie.

    `counts` : (N_INTENSITY,) pixels by intensity bin. Underflow counts as the lowest edge, overflow as the highest.
    """
    below = np.cumsum(counts)[:-1].astype(np.float64)  # pixels below each edge
    target = share * float(counts.sum())
    i = int(np.searchsorted(below, target, side="left"))
    if i == 0:
        return float(INTENSITY_EDGES[0])
    if i == len(below):
        return float(INTENSITY_EDGES[-1])
    part = (target - below[i - 1]) / (below[i] - below[i - 1])
    return float(INTENSITY_EDGES[i - 1] + part * (INTENSITY_EDGES[i] - INTENSITY_EDGES[i - 1]))


def histogram_median_mad(counts: IntArray) -> tuple[float, float]:
    """Return the median and the median absolute deviation from it (grey levels, unscaled) of a histogram, (N_INTENSITY,)."""
    median = histogram_quantile(counts, 0.5)
    below = np.cumsum(counts)[:-1].astype(np.float64)
    total = float(counts.sum())
    reach = np.concatenate([[0.0], np.unique(np.abs(INTENSITY_EDGES - median))])
    upper = np.interp(median + reach, INTENSITY_EDGES, below, right=total)
    lower = np.interp(median - reach, INTENSITY_EDGES, below, left=0.0)
    inside: DoubleArray = np.maximum.accumulate(upper - lower)  # piecewise linear in reach
    i = int(np.searchsorted(inside, total / 2, side="left"))
    if i == 0 or i == len(inside):
        return median, float(reach[min(i, len(reach) - 1)])
    part = (total / 2 - inside[i - 1]) / (inside[i] - inside[i - 1])
    return median, float(reach[i - 1] + part * (reach[i] - reach[i - 1]))


def _pool(sections: Iterable[SectionRow | SectionSummary], config: StudyConfig) -> tuple[_Pools, _Pools, _Pools, _Areas, set[ThresholdKey]]:
    """Return pixels of tissue by intensity, spots in it by contrast, pixels by intensity over their local background, the tissue that was
    searched for spots (mm2); and which markers are a dye.
    """
    pools: _Pools = {}
    spots: _Pools = {}
    local: _Pools = {}
    areas: _Areas = {}
    dyes: set[ThresholdKey] = set()
    for section in sections:
        if isinstance(section, SectionRow) and section.record is None:
            continue  # failed: it stands in status.csv
        summary = section if isinstance(section, SectionSummary) else summarise(section, config)
        row = summary.row
        zone = [z.name for z in summary.zones].index("all")
        for i, marker in enumerate(summary.markers):
            key = (row.panel, row.batch, marker)
            _add(pools.setdefault(key, {}), row.role, summary.counts[zone, i])
            if marker in summary.local:
                _add(local.setdefault(key, {}), row.role, summary.local[marker][zone])
            if marker in summary.puncta:
                _add(spots.setdefault(key, {}), row.role, summary.puncta[marker][zone])
                of_key = areas.setdefault(key, {})
                of_key[row.role] = of_key.get(row.role, 0.0) + int(summary.counts[zone, i].sum()) * summary.px_um2 * 1e-6
            if marker in summary.dyes:
                dyes.add(key)
    return pools, spots, local, areas, dyes


def _add(by_role: dict[str, tuple[IntArray, int]], role: str, counts: IntArray) -> None:
    pooled, n = by_role.get(role, (np.zeros(N_INTENSITY, np.int64), 0))
    by_role[role] = (pooled + counts, n + 1)


def _puncta_threshold(spots: dict[str, tuple[IntArray, int]], mm2: dict[str, float], config: StudyConfig) -> float:
    """Return the lowest contrast that at most `false_puncta_per_mm2` spots reach in tissue without the label; NaN without such."""
    for rung in config.thresholds.ladder:
        if rung in ("no_primary", "unstained") and mm2.get(rung, 0):
            at_or_above = np.cumsum(spots[rung][0][::-1])[::-1]  # of each bin and those above it
            enough = at_or_above <= config.thresholds.false_puncta_per_mm2 * mm2[rung]
            lowest = int(np.searchsorted(INTENSITY_EDGES, 0.0)) + 1
            first = max(int(np.argmax(enough)) if enough.any() else N_INTENSITY, lowest)
            return float(INTENSITY_EDGES[min(first, len(INTENSITY_EDGES)) - 1])
    return np.nan


def _cell_threshold(pools: dict[str, tuple[IntArray, int]], threshold: float) -> float:
    """Return half of the median positive intensity of the batch's animals, all groups pooled; NaN where it is not above the threshold."""
    if np.isnan(threshold):
        return np.nan
    positive = _of_rung("batch", pools)[0].copy()
    positive[: int(np.searchsorted(INTENSITY_EDGES, threshold)) + 1] = 0
    half = histogram_quantile(positive, 0.5) / 2 if positive.sum() else np.nan
    return half if half > threshold else np.nan


def _climb(key: ThresholdKey, pools: dict[str, tuple[IntArray, int]], config: StudyConfig, dye: bool) -> Threshold | None:
    panel, _, marker = key
    channel = next(c for c in panel_settings(config, panel).channels if c.marker == marker)
    if channel.threshold is not None:
        return Threshold(snap_threshold(channel.threshold), "fixed", channel.threshold, 0, frozenset({"threshold_fixed"}))
    if channel.source == "classifier":
        return Threshold(snap_threshold(EVEN_CHANCE), "classifier", EVEN_CHANCE, 0)
    if dye:
        return Threshold(snap_threshold(config.thresholds.dye_excess), "dye", config.thresholds.dye_excess, 0)
    for rung in config.thresholds.ladder:
        if rung == "no_primary" and channel.role == "nuclei":
            continue
        counts, n = _of_rung(rung, pools)
        if counts.sum():
            raw = _rung_value(rung, counts, config)
            return Threshold(_apply(raw, counts), rung, raw, n, frozenset({"threshold_fallback"} if rung == "batch" else ()))
    if not any(role in STUDIED_ROLES and counts.sum() for role, (counts, _) in pools.items()):
        return Threshold(np.nan, "none", np.nan, 0, frozenset({"no_threshold"}))  # no tissue of an animal waits for it
    return None


def _of_rung(rung: str, pools: dict[str, tuple[IntArray, int]]) -> tuple[IntArray, int]:
    roles = ("sample", "bridge") if rung == "batch" else (rung,)
    chosen = [pools[role] for role in roles if role in pools]
    return sum((counts for counts, _ in chosen), np.zeros(N_INTENSITY, np.int64)), sum(n for _, n in chosen)


def _rung_value(rung: str, counts: IntArray, config: StudyConfig) -> float:
    if rung in ("no_primary", "unstained"):
        return histogram_quantile(counts, config.thresholds.percentile / 100)
    median, mad = histogram_median_mad(counts)
    return median + config.thresholds.k_mad * 1.4826 * mad


def _apply(raw: float, counts: IntArray) -> float:
    # a control without spread must not call its own median positive: never below the bin that holds it
    bin_of_median = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2, side="left"))
    floor = INTENSITY_EDGES[min(bin_of_median, len(INTENSITY_EDGES) - 1)]
    return max(snap_threshold(raw), float(floor))
