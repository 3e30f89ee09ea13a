"""Zones around the lesion as ranges of tally bins, and their rostral and caudal halves.

In longitudinal sections the halves are the two sides of the tally. A transverse section lies as a whole rostral or caudal of its animal's
epicentre, so its halves are formed when sections become animals (`sevhisto.decide.stack`); the epicentre section belongs to neither half.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from sevhisto.config import StudyConfig
from sevhisto.types import (
    DISTANCE_EDGES_UM,
    JOINT_DISTANCE_EDGES_UM,
    BoolArray,
    FloatArray,
    IntArray,
)

HALVES = ("rostral", "caudal")
ALL = "all"
CORE = "core"
BOTH_SIDES = (0, 1)


@dataclass(frozen=True)
class Zone:
    """One zone: its range of signed distance, the bins of the tally that fill it, and the sides it takes.

    Attributes
    ----------
    low, high : range of signed distance in um, low <= d < high; infinite for the open ends
    bins : fine distance bins; those of `all` include tissue without a distance
    joint_bins : coarse distance bins of joint tallies whose middle lies in the zone (exact where the borders are multiples of 50 um)
    sides : sides of the tally
    """

    name: str
    low: float
    high: float
    bins: slice
    joint_bins: slice
    sides: tuple[int, ...] = BOTH_SIDES

    @property
    def needs_core(self) -> bool:
        """Whether the zone is undefined where the lesion is unknown."""
        return math.isfinite(self.low) or math.isfinite(self.high)


def is_longitudinal(config: StudyConfig) -> bool:
    """Return whether the two sides of the tally are rostral and caudal."""
    return config.study.orientation != "transverse"


@dataclass(frozen=True)
class ZoneShift:
    """Another choice of where zones end, under the same names: to see how much a result depends on it.

    Attributes
    ----------
    border_um : how far out the border of the lesion is moved; rings move with it
    ring_scale : how many times as far from the border the rings end
    """

    border_um: float = 0.0
    ring_scale: float = 1.0

    def moved(self, distance_um: float) -> float:
        """Return where an end of a zone lies then (um); an open end stays open."""
        return distance_um * self.ring_scale + self.border_um


AS_SET = ZoneShift()


def base_zones(config: StudyConfig, shift: ZoneShift = AS_SET) -> tuple[Zone, ...]:
    """Return ``core``, the rings and ``all``, over both sides."""
    zones = []
    for name, ends in config.zones.ranges.items():
        low, high = (shift.moved(end) for end in ends)
        zones.append(Zone(name, low, high, _bins(DISTANCE_EDGES_UM, low, high), _bins(JOINT_DISTANCE_EDGES_UM, low, high)))
    return tuple(zones)


def section_zones(config: StudyConfig, shift: ZoneShift = AS_SET) -> tuple[Zone, ...]:
    """Return the zones of one section: the base zones and, for longitudinal sections, their halves."""
    base = base_zones(config, shift)
    if not is_longitudinal(config):
        return base
    halves = itertools.product(base, enumerate(HALVES))
    return (*base, *(replace(z, name=f"{z.name}_{half}", sides=(side,)) for z, (side, half) in halves))


def animal_zones(config: StudyConfig) -> list[str]:
    """Return the zone names of the animal table, in table order."""
    base = list(config.zones.ranges)
    return base + [f"{name}_{half}" for name in base for half in HALVES]


def cells_in_zone(distance_um: FloatArray, side: FloatArray, zone: Zone) -> BoolArray:
    """Return which cells lie in `zone`, (n,) bool; a cell without a distance lies in `all` only."""
    inside = np.ones(len(side), bool) if zone.sides == BOTH_SIDES else np.isin(side, zone.sides)
    if zone.needs_core:
        inside &= (distance_um >= zone.low) & (distance_um < zone.high)
    return np.asarray(inside, bool)


def _bins(edges: IntArray, low: float, high: float) -> slice:
    # bin i holds edges[i-1] <= d < edges[i]; the last bin of all (len(edges) + 1) is tissue without a distance
    start = 0 if low == -np.inf else int(_bin_starting_at(edges, low))
    stop = len(edges) + 2 if low == -np.inf and high == np.inf else int(_bin_starting_at(edges, high))
    return slice(start, stop)


def _bin_starting_at(edges: IntArray, value: float) -> int:
    # a coarse bin that `value` cuts goes to the side where its middle lies
    step = float(edges[1] - edges[0])
    return int(np.ceil((value - float(edges[0])) / step - 0.5)) + 1 if value < edges[-1] else len(edges)
