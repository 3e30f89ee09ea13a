"""Thresholds from controls: one per panel, batch and marker, from the best rung of the ladder that the study can offer.

Every rung works on the pooled histogram of corrected intensity over tissue, so no pixel is read. Inside a bin the intensity is taken as
uniformly spread. The counterstain (role ``nuclei``) is on the no_primary slides too, so it skips that rung. A brightfield dye of matrix has
no control without it and stands on no rung: it is positive where it exceeds its counterstain by `thresholds.dye_excess`. A class of a
trained classifier is positive from an even chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sevhisto.config import ChannelSettings, StudyConfig
from sevhisto.decide.bridge import Bridge, Levels, add_levels, bridge_factors
from sevhisto.decide.controls import control_doubts
from sevhisto.decide.histograms import histogram_median_mad, histogram_otsu, histogram_quantile
from sevhisto.decide.pools import MarkerPools, Pools, ThresholdKey, pool_section, summaries_of
from sevhisto.decide.rows import STUDIED_ROLES, SectionRow, SectionSummary, panel_settings
from sevhisto.decide.zones import ALL
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

BY_HAND = "by_hand"
"""Source of thresholds that a person set for one batch."""
PER_IMAGE = "per_image"
"""Source of thresholds that each section makes for itself."""


@dataclass(frozen=True)
class Threshold:
    """One threshold and where it comes from.

    Attributes
    ----------
    value : applied to corrected intensity, an edge of the intensity bins; NaN where nothing can give one and no animal's tissue needs one,
        and where each section makes its own
    source : ``by_hand``, ``fixed``, ``classifier``, ``dye``, ``per_image``, a rung of the ladder (``batch`` pools samples and bridge
        sections) or ``none``
    raw : before snapping to an edge
    n_controls : sections pooled
    flags : ``threshold_fixed``, ``threshold_fallback``, ``threshold_per_image``, ``no_threshold``, ``bridge_applied``, and those of
        `controls.control_doubts`
    cells : applied to a cell's median intensity in its compartment: half of the median positive pixel of the batch's samples, if that is
        more than `value`, so that the blurred edge of a neighbour makes no cell positive; NaN where `value` itself applies
    puncta : applied to the contrast of a tracer's spots, an edge of the intensity bins; NaN for other markers, and without controls
    local : applied to intensity over the local background, from the same ladder; NaN where nothing can give one, or it is not tallied
    controls : ``animal/section`` of the sections pooled
    bridge : what bridge sections say of the batch, or None
    doubts : flag to a sentence, of its controls
    scale : what a section's own threshold is multiplied by
    """

    value: float
    source: str
    raw: float
    n_controls: int
    flags: frozenset[str] = frozenset()
    puncta: float = np.nan
    cells: float = np.nan
    local: float = np.nan
    controls: tuple[str, ...] = ()
    bridge: Bridge | None = None
    doubts: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0

    @property
    def of_cells(self) -> float:
        """The intensity from which a cell is positive."""
        return self.value if np.isnan(self.cells) else self.cells

    @property
    def gain(self) -> float:
        """What intensities are divided by to compare batches: 1 unless bridges are applied."""
        return self.bridge.factor if self.bridge is not None and "bridge_applied" in self.flags else 1.0

    @cached_property
    def told_controls(self) -> str:
        """The controls in a few words: each of them, or, of a whole batch, how many."""
        whole = f"all {self.n_controls} of the batch" if self.source == "batch" else ""
        return whole or ", ".join(self.controls)

    def of_tissue(self, counts: IntArray | DoubleArray) -> Threshold:
        """Return the threshold of a section with these pixels by intensity, (N_INTENSITY,): itself, unless each section makes its own."""
        if self.source != PER_IMAGE:
            return self
        own = histogram_otsu(counts) * self.scale
        return replace(self, value=snap_threshold(own) if own == own else own, raw=own)


def threshold_of(summary: SectionSummary, marker: str, thresholds: Mapping[ThresholdKey, Threshold]) -> Threshold:
    """Return the threshold that a section's marker is held against; SevhistoError where none was decided."""
    row = summary.row
    found = thresholds.get((row.panel, row.batch, marker))
    if found is None:
        where = f"panel {row.panel}, batch {row.batch}, marker {marker}"
        needed = f"no threshold, needed by section {row.section} of animal {row.animal}"
        raise SevhistoError(Problem(where, needed, "decide thresholds first"))
    if found.source != PER_IMAGE:
        return found
    return found.of_tissue(summary.counts[[z.name for z in summary.zones].index(ALL), summary.markers.index(marker)])


def find_thresholds(sections: Iterable[SectionRow | SectionSummary], config: StudyConfig) -> dict[ThresholdKey, Threshold]:
    """Return the threshold of every marker in every panel and batch that has measured sections.

    Parameters
    ----------
    sections : every measured section, controls included, in any order; each is added up when its turn comes, and not held
    config : what a person set for the batch comes first, then the marker's own `threshold`, then `thresholds.ladder`

    Raises
    ------
    SevhistoError
        Names every panel, batch and marker of an animal's tissue for which no rung has a section with tissue.
    """
    pools, local, levels = Pools(), Pools(), Levels()
    for summary in summaries_of(sections, config):
        pool_section(pools, summary)
        pool_section(local, summary, local=True)
        add_levels(levels, summary)
    bridges = bridge_factors(levels)
    found: dict[ThresholdKey, Threshold] = {}
    problems: list[Problem] = []
    for key, mine in sorted(pools.items()):
        channel = next(c for c in panel_settings(config, key[0]).channels if c.marker == key[2])
        own = _by_hand(key, channel, config)
        threshold = _climb(mine, channel, config) if own is None else own
        if threshold is None:
            where = "panel {}, batch {}, marker {}".format(*key)
            remedy = "add control slides, a rung to thresholds.ladder, or a threshold to the channel"
            problems.append(Problem(where, f"no threshold: no section of {', '.join(config.thresholds.ladder)} has tissue", remedy))
            continue
        doubts = control_doubts(key, mine, config, channel.role == "nuclei")
        bridge = bridges.get(key)
        unlike = {"bridges_disagree"} if bridge is not None and not bridge.agree else set()
        over = (_climb(local[key], channel, config) if own is None else own) if key in local else None
        whole = threshold.flags | doubts.keys() | unlike
        found[key] = replace(threshold, bridge=bridge, doubts=doubts, flags=whole, local=np.nan if over is None else over.value)
    if problems:
        raise SevhistoError(problems)
    if config.thresholds.use_bridge:
        found = _bridged(found)
    return {key: _completed(threshold, pools[key], config) for key, threshold in found.items()}


def _completed(threshold: Threshold, pools: MarkerPools, config: StudyConfig) -> Threshold:
    return replace(threshold, puncta=_puncta_threshold(pools, config), cells=_cell_threshold(pools, threshold.value))


def _bridged(found: dict[ThresholdKey, Threshold]) -> dict[ThresholdKey, Threshold]:
    """Return thresholds that mean the same in every batch: their geometric mean in units of the average batch, times each batch's factor.

    A marker that bridges do not join, or whose thresholds are not all above 0, keeps those of its batches, and so does a dye.
    """
    groups: dict[tuple[str, str], list[ThresholdKey]] = {}
    for key, t in found.items():
        if t.bridge is not None and t.source not in ("classifier", "dye", "none", BY_HAND):
            groups.setdefault((key[0], key[2]), []).append(key)
    out = dict(found)
    for keys in groups.values():
        ladder = [k for k in keys if found[k].source != PER_IMAGE]
        raw = np.array([found[k].raw / found[k].bridge.factor for k in ladder])  # type: ignore[union-attr]
        if len(keys) > len(ladder) or not (raw > 0).all():
            continue
        common = float(np.exp(np.log(raw).mean()))
        for k in ladder:
            here = common * found[k].bridge.factor  # type: ignore[union-attr]
            out[k] = replace(found[k], value=snap_threshold(here), raw=here, flags=found[k].flags | {"bridge_applied"})
    return out


def scale_thresholds(thresholds: Mapping[ThresholdKey, Threshold], factor: float) -> dict[ThresholdKey, Threshold]:
    """Return thresholds `factor` times as high, snapped again: for curves of an effect against the threshold."""

    def scaled(value: float, applied: float) -> float:
        return snap_threshold(value * factor) if applied == applied else applied

    return {
        k: replace(t, value=scaled(t.raw, t.value), puncta=scaled(t.puncta, t.puncta), cells=t.cells * factor, scale=t.scale * factor)
        for k, t in thresholds.items()
    }


def _puncta_threshold(pools: MarkerPools, config: StudyConfig) -> float:
    """Return the lowest contrast that at most `false_puncta_per_mm2` spots reach in tissue without the label; NaN without such."""
    for rung in config.thresholds.ladder:
        control = pools.of(rung)
        if rung in ("no_primary", "unstained") and control.searched_mm2:
            at_or_above = np.cumsum(control.spots[::-1])[::-1]  # of each bin and those above it
            enough = at_or_above <= config.thresholds.false_puncta_per_mm2 * control.searched_mm2
            lowest = int(np.searchsorted(INTENSITY_EDGES, 0.0)) + 1
            first = max(int(np.argmax(enough)) if enough.any() else N_INTENSITY, lowest)
            return float(INTENSITY_EDGES[min(first, len(INTENSITY_EDGES)) - 1])
    return np.nan


def _cell_threshold(pools: MarkerPools, threshold: float) -> float:
    """Return half of the median positive intensity of the batch's animals, all groups pooled; NaN where it is not above the threshold."""
    if np.isnan(threshold):
        return np.nan
    positive = pools.of_rung("batch").counts.copy()
    positive[: int(np.searchsorted(INTENSITY_EDGES, threshold)) + 1] = 0
    half = histogram_quantile(positive, 0.5) / 2 if positive.sum() else np.nan
    return half if half > threshold else np.nan


def _by_hand(key: ThresholdKey, channel: ChannelSettings, config: StudyConfig) -> Threshold | None:
    """Return the threshold that a person set for the batch, else for the channel; None where nobody did."""
    batch = config.batches.get(key[1])
    value = None if batch is None else batch.thresholds.get(key[0], {}).get(key[2])
    source, value = (BY_HAND, value) if value is not None else ("fixed", channel.threshold)
    return None if value is None else Threshold(snap_threshold(value), source, value, 0, frozenset({"threshold_fixed"}))


def _climb(pools: MarkerPools, channel: ChannelSettings, config: StudyConfig) -> Threshold | None:
    """Return a threshold before bridges; None where an animal's tissue waits for one that nothing gives."""
    settings = config.thresholds
    if channel.source == "classifier":
        return Threshold(snap_threshold(EVEN_CHANCE), "classifier", EVEN_CHANCE, 0)
    if pools.dye:
        return Threshold(snap_threshold(settings.dye_excess), "dye", settings.dye_excess, 0)
    if settings.per_image:
        return Threshold(np.nan, PER_IMAGE, np.nan, 0, frozenset({"threshold_per_image"}))
    for rung in settings.ladder:
        pool = pools.of_rung(rung)
        if pool.counts.sum() and not (rung == "no_primary" and channel.role == "nuclei"):
            raw = _rung_value(rung, pool.counts, config)
            fallback = frozenset({"threshold_fallback"} if rung == "batch" else ())
            return Threshold(_apply(raw, pool.counts), rung, raw, len(pool.sections), fallback, controls=tuple(pool.sections))
    if not pools.of(*STUDIED_ROLES).counts.sum():
        return Threshold(np.nan, "none", np.nan, 0, frozenset({"no_threshold"}))  # no tissue of an animal waits for it
    return None


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
