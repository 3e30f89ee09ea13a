"""What joint tallies say: signal of one marker in positive pixels of another, also by chance; where two are positive together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sevhisto.decide.histograms import threshold_bin
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import REFERENCE, SectionSummary
from sevhisto.decide.thresholds import Threshold, threshold_of
from sevhisto.rules import Rule
from sevhisto.tallies import COARSE_STARTS
from sevhisto.types import QUANTUM, DoubleArray, IntArray

COLUMNS = ("signal_in_cd68", "signal_joint", "cd68_joint_um2", "scrambled_in_cd68", "scrambled_signal")


def colocalised(summary: SectionSummary, marker: str, thresholds: Mapping[ThresholdKey, Threshold]) -> dict[str, DoubleArray]:
    """Return the columns of the section table that tell a marker's signal in CD68-positive pixels, each (n_zones,).

    The scrambled ones are the same of pixels paired with CD68 from another block (`imaging.scramble`); they cover every eighth row.
    """
    out = dict.fromkeys(COLUMNS, np.full(len(summary.zones), np.nan))
    if marker == REFERENCE:
        return out
    share = mean = None
    for pair in ((marker, REFERENCE), (REFERENCE, marker)):
        if pair not in summary.joint:
            continue
        if share is None or mean is None:
            share = positive_share(summary, REFERENCE, threshold_of(summary, REFERENCE, thresholds).value)
            pixels = np.add.reduceat(summary.counts[:, summary.markers.index(marker)], COARSE_STARTS, axis=-1)
            mean = summary.positive_part[marker] / np.maximum(pixels, 1) * QUANTUM
        joint = _first_is(summary.joint[pair], pair[0] == marker)
        positive = np.einsum("zij,zj->zi", joint, share)
        out["signal_in_cd68"] = (positive * mean).sum(axis=1) * summary.px_um2
        out["signal_joint"] = (joint.sum(axis=2) * mean).sum(axis=1) * summary.px_um2
        out["cd68_joint_um2"] = positive.sum(axis=1) * summary.px_um2
        if pair in summary.scrambled:
            apart = _first_is(summary.scrambled[pair], pair[0] == marker)
            out["scrambled_in_cd68"] = (np.einsum("zij,zj->zi", apart, share) * mean).sum(axis=1) * summary.px_um2
            out["scrambled_signal"] = (apart.sum(axis=2) * mean).sum(axis=1) * summary.px_um2
    return out


def positive_pixels(summary: SectionSummary, rule: Rule, thresholds: Mapping[ThresholdKey, Threshold]) -> DoubleArray:
    """Return the area (um2) where a rule of pixels holds, (n_zones,); NaN where its markers have no joint tally, or no threshold.

    Of one marker it is exact. Of two, the share comes from the coarse joint tally, as if the two were independent inside the bin that a
    threshold cuts, and is applied to the exact area.
    """
    pixels = summary.counts[:, 0].sum(axis=1)
    applied = [threshold_of(summary, m, thresholds).value for m in rule.markers]
    unknown = np.full(len(pixels), np.nan)
    if np.isnan(applied).any() or len(rule.markers) > 2:
        return unknown
    if len(rule.markers) == 1:
        above = summary.counts[:, summary.markers.index(rule.markers[0]), threshold_bin(applied[0]) :].sum(axis=1)
        return np.asarray((above if (True,) in rule.truths else pixels - above) * np.float64(summary.px_um2))
    first, second = rule.markers
    pair = (first, second) if (first, second) in summary.joint else (second, first)
    if pair not in summary.joint:
        return unknown
    joint = _first_is(summary.joint[pair], pair[0] == first)
    a, b = (positive_share(summary, m, t) for m, t in zip(rule.markers, applied, strict=True))
    held = sum(np.einsum("zij,zi,zj->z", joint, a if x else 1 - a, b if y else 1 - b) for x, y in rule.truths)
    share = held / np.maximum(joint.sum(axis=(1, 2)), 1)
    return np.asarray(share * pixels * summary.px_um2, np.float64)


def positive_share(summary: SectionSummary, marker: str, threshold: float) -> DoubleArray:
    """Return the share of pixels at or above a threshold in every coarse bin of a marker, (n_zones, 64), from its exact tally."""
    return share_of(summary.counts[:, summary.markers.index(marker)], threshold)


def share_of(counts: IntArray, threshold: float) -> DoubleArray:
    """Return the share at or above the threshold in every coarse bin, (n_zones, 64), of fine counts (n_zones, N_INTENSITY)."""
    above = counts.copy()
    above[:, : threshold_bin(threshold)] = 0
    pixels = np.add.reduceat(counts, COARSE_STARTS, axis=-1)
    return np.asarray(np.add.reduceat(above, COARSE_STARTS, axis=-1) / np.maximum(pixels, 1), np.float64)


def _first_is(joint: IntArray, as_it_is: bool) -> DoubleArray:
    return (joint if as_it_is else joint.transpose(0, 2, 1)).astype(np.float64)
