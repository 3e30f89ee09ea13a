"""A threshold on the move: areas of a marker at every threshold, added up once, so that a step of a slider is a look-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sevhisto.decide.histograms import threshold_bin
from sevhisto.decide.rows import SectionSummary
from sevhisto.types import BoolArray, DoubleArray


@dataclass(frozen=True)
class AreaCurves:
    """Areas of one marker in the sections of a panel and batch.

    Attributes
    ----------
    places : animal and section of each section
    zones : names
    zone_um2 : (n_sections, n_zones) float64, NaN where the lesion is unknown
    above_um2 : (n_sections, n_zones, N_INTENSITY + 1) float64, area in each intensity bin and those above it
    counts : (n_sections,) bool, whether a section is part of its animal's values
    """

    places: tuple[tuple[str, str], ...]
    zones: tuple[str, ...]
    zone_um2: DoubleArray
    above_um2: DoubleArray
    counts: BoolArray

    def of_section(self, place: tuple[str, str], threshold: float) -> tuple[DoubleArray, DoubleArray]:
        """Return positive area (um2) and fraction (%) of a section in each zone, as `section_table` would."""
        i = self.places.index(place)
        positive = self.above_um2[i, :, threshold_bin(threshold)]
        return positive, _pct(positive, self.zone_um2[i])

    def of_animal(self, animal: str, threshold: float) -> DoubleArray:
        """Return the fraction (%) of an animal in each zone, the ratio of sums over its sections, as `animal_table` would."""
        mine = np.array([a == animal for a, _ in self.places]) & self.counts
        positive = self.above_um2[mine, :, threshold_bin(threshold)].sum(axis=0)
        return _pct(positive, self.zone_um2[mine].sum(axis=0))


def _pct(part: DoubleArray, whole: DoubleArray) -> DoubleArray:
    return np.asarray(100 * np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0), np.float64)


def area_curves(summaries: Sequence[SectionSummary], marker: str, left_out: Sequence[tuple[str, str]] = ()) -> AreaCurves:
    """Return the areas of a marker at every threshold.

    Parameters
    ----------
    summaries : sections of one panel and batch that show the marker, one or more
    left_out : animal and section of those that are excluded
    """
    zones = tuple(z.name for z in summaries[0].zones)
    above, whole = [], []
    for s in summaries:
        counts = s.counts[:, s.markers.index(marker)]
        at_or_above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] * np.float64(s.px_um2)
        area = np.pad(at_or_above, ((0, 0), (0, 1)))
        above.append(np.where(s.known[:, None], area, np.nan))
        whole.append(np.where(s.known, area[:, 0], np.nan))
    places = tuple((s.row.animal, s.row.section) for s in summaries)
    return AreaCurves(places, zones, np.array(whole), np.array(above), np.array([p not in set(left_out) for p in places], bool))
