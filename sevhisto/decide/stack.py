"""The sections of one animal and panel as arrays: which count in a zone, and with what weight in a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sevhisto.decide.cavalieri import equally_spaced
from sevhisto.decide.epicentre import Epicentre, find_epicentre
from sevhisto.decide.rows import MEASURED
from sevhisto.decide.zones import ALL, CORE, HALVES
from sevhisto.registry import split_flags
from sevhisto.schema import SECTIONS
from sevhisto.types import AnyArray, BoolArray, DoubleArray, IntArray

SUMMED = tuple(c.name for c in SECTIONS.columns if c.additive and c.name != "masked_um2")
"""Columns of the section table that an animal's values are made of."""
_WORDS = ("animal", "panel", "section", "zone", "marker", "flags")


@dataclass
class Stack:
    """Measured sections of one animal and panel, and the listed ones that have no measurement.

    Attributes
    ----------
    zones, markers : along the second and third axis of `values`
    position_um : (n,) of the measured sections
    lost_um : (n_lost,) of sections that failed, were excluded or are lost; NaN where unknown
    numbers : (n, n_zones, n_markers, columns) float64, columns as in `SUMMED`
    values : {column: (n, n_zones, n_markers) float64}, the same by name
    flags : {marker: flags of its rows}, and under "" those of all rows
    """

    animal: str
    panel: str
    roles: set[str]
    zones: list[str]
    markers: list[str]
    position_um: DoubleArray
    lost_um: DoubleArray
    numbers: DoubleArray
    values: dict[str, DoubleArray]
    flags: dict[str, set[str]]
    epicentre: Epicentre | None

    @property
    def n_expected(self) -> int:
        """Sections listed in slides.csv."""
        return len(self.position_um) + len(self.lost_um)

    @property
    def why_no_epicentre(self) -> str:
        """Flag that says why there is no epicentre, where there is none."""
        known = ~np.isnan(self.values["zone_um2"][:, self.zones.index(CORE), 0])
        return "no_lesion" if known.any() else "no_landmark"


@dataclass
class Selection:
    """How the sections of a stack enter one zone of the animal table.

    Attributes
    ----------
    zone, source : name in the animal table, and zone of the sections that is summed
    member : (n,) bool, sections that are summed
    order : indices of the members by place along the cord
    even : whether they are equally spaced
    weight : (n,) float64, weight in a volume: 1 for a member, plus its share of the lost sections that lie beside it
    n_expected : sections listed
    reason : why nothing can be measured, as flags; empty where something can
    """

    zone: str
    source: int
    member: BoolArray
    weight: DoubleArray
    n_expected: int
    reason: set[str]
    order: IntArray
    even: bool


@dataclass(frozen=True)
class SectionArrays:
    """Rows of the section table as arrays: `words` by column (n,), `numbers` (n, columns) as in `SUMMED`, NaN where one is not there."""

    words: dict[str, AnyArray]
    numbers: DoubleArray

    @classmethod
    def of(cls, sections: Mapping[str, npt.ArrayLike] | pd.DataFrame) -> SectionArrays:
        """Take them out of a section table, once for all of its animals."""
        words = {name: np.asarray(sections[name], object) for name in _WORDS}
        nothing = np.full(len(words["animal"]), np.nan)
        numbers = [np.asarray(sections[name], np.float64) if name in sections else nothing for name in SUMMED]
        return cls(words, np.stack(numbers, axis=1))

    def places(self) -> dict[Any, Any]:
        """Return the rows of each animal and panel, as arrays of their numbers."""
        return pd.DataFrame({name: self.words[name] for name in ("animal", "panel")}).groupby(["animal", "panel"], sort=False).indices

    def at(self, rows: IntArray) -> SectionArrays:
        """Return some of the rows."""
        return SectionArrays({name: values[rows] for name, values in self.words.items()}, self.numbers[rows])


def make_stack(sections: SectionArrays, listed: pd.DataFrame, zones: list[str], markers: list[str]) -> Stack:
    """Return the stack of one animal and panel.

    Parameters
    ----------
    sections : its rows of the section table
    listed : its rows of status.csv with `position_um` and `role`
    zones, markers : every zone and marker that its sections have
    """
    words = sections.words
    position_of = dict(zip(listed["section"], listed["position_um"].astype(float), strict=True))
    names = sorted({s for s, status in zip(listed["section"], listed["status"], strict=True) if status in MEASURED} & set(words["section"]))
    place = {name: {v: i for i, v in enumerate(known)} for name, known in (("section", names), ("zone", zones), ("marker", markers))}
    kept = np.array([s in place["section"] for s in words["section"]], bool)
    where = tuple(np.array([known[w] for w in words[name][kept]], np.intp) for name, known in place.items())
    numbers = np.full((len(names), len(zones), len(markers), len(SUMMED)), np.nan)
    numbers[where] = sections.numbers[kept]
    values = {column: np.ascontiguousarray(numbers[..., i]) for i, column in enumerate(SUMMED)}
    position = np.array([position_of[name] for name in names], np.float64)
    core = zones.index(CORE)
    core_um2 = (values["zone_um2"] + values["cavity_um2"])[:, core, 0]
    flags: dict[str, set[str]] = {m: set() for m in markers}
    for marker, cell in dict.fromkeys(zip(words["marker"][kept], words["flags"][kept], strict=True)):
        flags[marker] |= split_flags(cell)
    return Stack(
        animal=str(listed["animal"].iloc[0]),
        panel=str(listed["panel"].iloc[0]),
        roles=set(listed["role"]),
        zones=zones,
        markers=markers,
        position_um=position,
        lost_um=np.array([um for section, um in position_of.items() if section not in place["section"]], np.float64),
        numbers=numbers,
        values=values,
        flags={**flags, "": set().union(*flags.values())},
        epicentre=find_epicentre(position, core_um2),
    )


def neighbour_shares(position_um: DoubleArray, lost_um: DoubleArray) -> DoubleArray:
    """Return how much each measured section stands in for each lost one, (n_lost, n) float64.

    An area between two neighbours is interpolated linearly, so a row sums to 1. A lost section without a measured neighbour on both
    sides, or whose place is unknown, is not extrapolated: its row is 0.
    """
    shares = np.zeros((len(lost_um), len(position_um)))
    order = np.argsort(position_um, kind="stable")
    order = order[np.isfinite(position_um[order])]
    known = position_um[order]
    for i, place in enumerate(lost_um):
        after = int(np.searchsorted(known, place, side="left"))
        if not np.isfinite(place) or after == len(known) or (after == 0 and known[0] != place):
            continue
        if known[after] == place:
            shares[i, order[after]] = 1.0
            continue
        part = (place - known[after - 1]) / (known[after] - known[after - 1])
        shares[i, order[after - 1]], shares[i, order[after]] = 1 - part, part
    return shares


def selections(stack: Stack, animal_zones: list[str]) -> Iterator[Selection]:
    """Yield how each zone of the animal table is made from the stack.

    A half that the sections have themselves (longitudinal) is summed like any zone. Else (transverse) it takes the sections rostral or
    caudal of the epicentre, without the epicentre section. Without a lesion the halves of a ring are empty like the ring; those of ``all``
    are not defined.
    """
    for name in animal_zones:
        base, _, half = name.rpartition("_")
        whole = name in stack.zones
        source = stack.zones.index(name if whole else base)
        known = ~np.isnan(stack.values["zone_um2"][:, source, 0])
        split = not whole and stack.epicentre is not None
        here, lost_here = np.ones(len(known), bool), np.ones(len(stack.lost_um), bool)
        if split and stack.epicentre is not None:
            sign = -1 if half == HALVES[0] else 1
            here = sign * (stack.position_um - stack.epicentre.position_um) > 0
            lost_here = sign * (stack.lost_um - stack.epicentre.position_um) > 0
        member = known & here
        weight = member + _weight_of_lost(stack, known, here, lost_here)
        expected = int(here.sum() + lost_here.sum())
        undefined = not whole and not split and base == ALL
        members = np.flatnonzero(member)
        order = members[np.argsort(stack.position_um[members], kind="stable")]
        even = len(order) > 1 and equally_spaced(stack.position_um[order])
        yield Selection(name, source, member, weight, expected, _reason(stack, member, known, expected, undefined), order, even)


def _weight_of_lost(stack: Stack, known: BoolArray, here: BoolArray, lost_here: BoolArray) -> DoubleArray:
    unknown = ~known & here  # measured, but without a border: lost for this zone
    lost = np.concatenate([stack.lost_um[lost_here], stack.position_um[unknown]])
    weight = np.zeros(len(known))
    weight[known] = neighbour_shares(stack.position_um[known], lost).sum(axis=0)
    return weight


def _reason(stack: Stack, member: BoolArray, known: BoolArray, expected: int, undefined: bool) -> set[str]:
    if len(member) == 0:
        return {"sections_missing"}
    if not known.any():
        return {"no_landmark"}
    if undefined:
        return {stack.why_no_epicentre}
    if not member.any():
        return {"sections_missing"} if expected else {"no_sections"}
    return set()
