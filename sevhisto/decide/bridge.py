"""How much brighter one stain batch is than the others, from `bridge` sections: tissue of one block, stained in every batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import SectionSummary
from sevhisto.decide.zones import ALL
from sevhisto.types import QUANTUM, DoubleArray

DISAGREE = 1.25
"""Bridge sections that lie further than this factor from what their batch and animal lead to expect do not agree."""


@dataclass(frozen=True)
class Bridge:
    """Brightness of a batch over the geometric mean of all batches that bridges join.

    Attributes
    ----------
    factor, low, high : and its 95 % interval; NaN where one bridge section a batch leaves nothing to tell it from
    sections : ``animal/section`` of the bridge sections of this batch
    agree : whether they lie within `DISAGREE`
    """

    factor: float
    low: float
    high: float
    sections: tuple[str, ...]
    agree: bool = True


@dataclass(frozen=True)
class Level:
    """How bright a bridge section is: the log of its mean corrected intensity; `name` is ``animal/section``."""

    animal: str
    batch: str
    name: str
    log_level: float


Levels = dict[tuple[str, str], list[Level]]
"""Of bridge sections, by panel and marker."""


def add_levels(levels: Levels, summary: SectionSummary) -> None:
    """Add the levels of a section to those of its panel; only a bridge section has any."""
    if summary.row.role != "bridge":
        return
    zone = [z.name for z in summary.zones].index(ALL)
    for i, marker in enumerate(summary.markers):
        pixels = int(summary.counts[zone, i].sum())
        mean = float(summary.signal[zone, i]) * QUANTUM / pixels if pixels else math.nan
        if mean > 0:
            row = summary.row
            level = Level(row.animal, row.batch, f"{row.animal}/{row.section}", math.log(mean))
            levels.setdefault((row.panel, marker), []).append(level)


def bridge_factors(levels: Levels) -> dict[ThresholdKey, Bridge]:
    """Return the factor of every panel, batch and marker whose bridges reach two batches or more.

    The level of a section is the mean corrected intensity of its tissue, as offset and noise leave it alone. Log levels are taken apart by
    least squares into animal and batch (two-way, no interaction), the batches summing to 0, so that unlike bridges of different animals,
    or one that a batch lacks, do not count as a difference between batches. The interval is that of the fit (t distribution).
    A marker without signal in a bridge section (level not above 0) says nothing there.
    """
    found: dict[ThresholdKey, Bridge] = {}
    for (panel, marker), rows in levels.items():
        found |= {(panel, batch, marker): bridge for batch, bridge in _fit(rows).items()}
    return found


def _fit(levels: list[Level]) -> dict[str, Bridge]:
    """Return the factors of the batches; none where fewer than two are joined by animals, and none of those that are not."""
    levels = sorted(_joined(levels), key=lambda v: (v.batch, v.name))
    batches, animals = sorted({v.batch for v in levels}), sorted({v.animal for v in levels})
    if len(batches) < 2:
        return {}
    design = np.zeros((len(levels), len(animals) + len(batches) - 1))
    coded = np.vstack([np.eye(len(batches) - 1), -np.ones(len(batches) - 1)])  # sum to zero
    for row, level in zip(design, levels, strict=True):
        row[animals.index(level.animal)] = 1
        row[len(animals) :] = coded[batches.index(level.batch)]
    y = np.array([v.log_level for v in levels])
    inverse = np.linalg.pinv(design)
    fitted = inverse @ y
    effect = coded @ fitted[len(animals) :]
    residual = y - design @ fitted
    free = len(levels) - int(np.linalg.matrix_rank(design))
    half = _half_width(coded @ inverse[len(animals) :], residual, free)
    out = {}
    for i, batch in enumerate(batches):
        mine = [k for k, v in enumerate(levels) if v.batch == batch]
        agree = not (free and np.abs(residual[mine]).max() > math.log(DISAGREE))
        low, factor, high = (math.exp(effect[i] + d) for d in (-half[i], 0.0, half[i]))
        out[batch] = Bridge(factor, low, high, tuple(levels[k].name for k in mine), agree)
    return out


def _half_width(weights: DoubleArray, residual: DoubleArray, free: int) -> DoubleArray:
    if not free:
        return np.full(len(weights), np.nan)
    variance = float(residual @ residual) / free
    return np.asarray(stdtrit(free, 0.975) * np.sqrt(variance * (weights**2).sum(axis=1)), np.float64)


def _joined(levels: list[Level]) -> list[Level]:
    """Return the levels of the largest set of batches that share animals, directly or through others."""
    groups: list[set[str]] = []
    for animal in sorted({v.animal for v in levels}):
        mine = {v.batch for v in levels if v.animal == animal}
        touching = [g for g in groups if g & mine]
        groups = [g for g in groups if not g & mine] + [mine.union(*touching)]
    kept = max(groups, key=lambda g: (len(g), sorted(g)), default=set())
    return [v for v in levels if v.batch in kept]
