"""Tissue of one panel, batch and marker, added up by the role of its sections: what thresholds are made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sevhisto.config import StudyConfig
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.zones import ALL
from sevhisto.types import N_INTENSITY, IntArray

ThresholdKey = tuple[str, str, str]
"""Panel, batch, marker."""


@dataclass
class Pool:
    """Sections of one role.

    Attributes
    ----------
    counts : (N_INTENSITY,) int64, pixels of tissue by corrected intensity
    sections : ``animal/section`` of each that has tissue, as the tables call them
    saturated : those of them that are flagged `saturated`
    spots : (N_INTENSITY,) int64, spots of a tracer by contrast
    searched_mm2 : tissue in which they were sought
    """

    counts: IntArray = field(default_factory=lambda: np.zeros(N_INTENSITY, np.int64))
    sections: list[str] = field(default_factory=list)
    saturated: list[str] = field(default_factory=list)
    spots: IntArray = field(default_factory=lambda: np.zeros(N_INTENSITY, np.int64))
    searched_mm2: float = 0.0

    def __iadd__(self, other: Pool) -> Pool:
        self.counts += other.counts
        self.sections += other.sections
        self.saturated += other.saturated
        self.spots += other.spots
        self.searched_mm2 += other.searched_mm2
        return self


@dataclass
class MarkerPools:
    """All tissue of a panel, batch and marker: pools by role; whether the marker is a brightfield dye of matrix."""

    by_role: dict[str, Pool] = field(default_factory=dict)
    dye: bool = False

    def of(self, *roles: str) -> Pool:
        """Return the sections of these roles together; empty without any."""
        together = Pool()
        for role in roles:
            together += self.by_role.get(role, Pool())
        return together

    def of_rung(self, rung: str) -> Pool:
        """Return the sections that a rung of the ladder takes; ``batch`` takes samples and bridge sections."""
        return self.of("sample", "bridge") if rung == "batch" else self.of(rung)


Pools = dict[ThresholdKey, MarkerPools]


def summaries_of(sections: Iterable[SectionRow | SectionSummary], config: StudyConfig) -> Iterable[SectionSummary]:
    """Yield the summaries of measured sections; those that failed stand in status.csv only."""
    for section in sections:
        if isinstance(section, SectionSummary):
            yield section
        elif section.record is not None:
            yield summarise(section, config)


def pool_sections(summaries: Iterable[SectionSummary], local: bool = False) -> Pools:
    """Return the tissue of every panel, batch and marker; the order of sections changes nothing but the order of their names.

    `local` : pixels by their intensity over the local background, of the markers for which it was tallied
    """
    pools: Pools = {}
    for summary in summaries:
        pool_section(pools, summary, local)
    return pools


def pool_section(pools: Pools, summary: SectionSummary, local: bool = False) -> None:
    """Add a section to the tissue of its panel and batch; see `pool_sections`."""
    row, zone = summary.row, [z.name for z in summary.zones].index(ALL)
    for i, marker in enumerate(summary.markers):
        if local and marker not in summary.local:
            continue
        counts = summary.local[marker][zone] if local else summary.counts[zone, i]
        n = int(counts.sum())
        name = [f"{row.animal}/{row.section}"] * (n > 0)
        part = Pool(counts, name, name if "saturated" in summary.flags else [])
        if marker in summary.puncta:
            part.spots, part.searched_mm2 = summary.puncta[marker][zone], n * summary.px_um2 * 1e-6
        of_key = pools.setdefault((row.panel, row.batch, marker), MarkerPools())
        mine = of_key.by_role.setdefault(row.role, Pool())
        mine += part
        of_key.dye |= marker in summary.dyes
