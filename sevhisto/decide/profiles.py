"""Profiles: a marker against the distance from the lesion border, and along the cord."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sevhisto.columns import as_frame
from sevhisto.decide.epicentre import find_epicentres
from sevhisto.decide.histograms import threshold_bin
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import STUDIED_ROLES, SectionRow
from sevhisto.decide.thresholds import Threshold
from sevhisto.decide.zones import ALL
from sevhisto.registry import join_flags
from sevhisto.schema import PROFILES
from sevhisto.tallies import Reach, Tallies
from sevhisto.types import (
    JOINT_DISTANCE_EDGES_UM,
    JOINT_DISTANCE_STEP_UM,
    NO_DISTANCE,
    QUANTUM,
    AnyArray,
    DoubleArray,
    IntArray,
)

_STARTS = [0, *range(1, NO_DISTANCE - 1, 5), NO_DISTANCE - 1, NO_DISTANCE]
_BINS: tuple[Reach, ...] = tuple((a, b, (0, 1)) for a, b in itertools.pairwise(_STARTS))
BORDER_UM: IntArray = np.concatenate([[JOINT_DISTANCE_EDGES_UM[0] - JOINT_DISTANCE_STEP_UM], JOINT_DISTANCE_EDGES_UM])
"""Lower edge of every bin of the border profile; the first bin holds everything below -1500 um, the last everything from 3000 um."""
_MEASURES = ("zone_um2", "positive_um2", "signal_sum")


@dataclass
class _Border:
    markers: tuple[str, ...]
    area: DoubleArray  # (n_markers, n_bins, N_INTENSITY) um2: pixel sizes may differ between sections
    signal: DoubleArray  # (n_markers, n_bins) grey um2


class BorderPool:
    """Tallies by distance from the border, added up over the sections of each animal, panel and batch.

    Feed it sections while their records are at hand; a changed threshold needs no record again. An animal takes half a megabyte and more:
    of a large study there is best one pool an animal. Where each section makes its own threshold they stay apart (`per_section`).
    """

    def __init__(self, per_section: bool = False) -> None:
        self._pool: dict[tuple[str, str, str, str], _Border] = {}
        self._per_section = per_section

    def add(self, row: SectionRow) -> None:
        """Add a section; controls, and sections without a record or a core, add nothing."""
        record = row.record
        if record is None or row.role not in STUDIED_ROLES or not record.meta.get("has_core", False):
            return
        tallies = record if isinstance(record, Tallies) else Tallies.of(record)
        counts, signals = (np.moveaxis(tallies.sums[kind, ""].over(_BINS), 0, 1) for kind in ("counts", "signal"))
        area = counts.astype(np.float64) * record.px_um2
        signal = signals.astype(np.float64) * (QUANTUM * record.px_um2)
        key = (row.animal, row.panel, row.batch, row.section if self._per_section else "")
        if key in self._pool:
            self._pool[key].area += area
            self._pool[key].signal += signal
        else:
            self._pool[key] = _Border(record.markers, area, signal)

    def rows(self, thresholds: Mapping[ThresholdKey, Threshold]) -> list[pd.DataFrame]:
        """Return rows with axis ``border``, still to be summed: 50 um bins from the innermost to the outermost that holds tissue."""
        frames = []
        for (animal, panel, batch, _), border in sorted(self._pool.items()):
            occupied = np.flatnonzero(border.area[0].sum(axis=1) > 0)
            bins = slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0, 0)
            found = [thresholds[panel, batch, m].of_tissue(border.area[i].sum(axis=0)) for i, m in enumerate(border.markers)]
            above = [area[bins, threshold_bin(t.value) :].sum(axis=1) for area, t in zip(border.area, found, strict=True)]
            positions = BORDER_UM[bins].astype(float)
            words = {"animal": animal, "panel": panel, "axis": "border"}
            each = {"marker": border.markers, "flags": [join_flags(set(t.flags) & {"threshold_per_image"}) for t in found]}
            columns: dict[str, AnyArray] = {name: np.full(len(positions) * len(found), word, object) for name, word in words.items()}
            columns |= {name: np.repeat(np.array(told, object), len(positions)) for name, told in each.items()}
            columns |= {
                "position_um": np.tile(positions, len(found)),
                "zone_um2": np.concatenate([area[bins].sum(axis=1) for area in border.area]),
                "positive_um2": np.concatenate(above),
                "signal_sum": np.concatenate([signal[bins] / t.gain for signal, t in zip(border.signal, found, strict=True)]),
            }
            frames.append(as_frame(columns))
        return frames


def profile_table(sections: pd.DataFrame, status: pd.DataFrame, border: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the profiles (`schema.PROFILES`) of all sample and uninjured sections.

    Axis ``border`` is `BorderPool.rows`. Axis ``cord`` is zone ``all`` of every section by its place relative to the epicentre of its
    animal and panel (negative is rostral); where no section has a lesion, relative to the middle between the first and last section,
    flagged ``no_lesion``. Sections without a place are left out of axis ``cord``.

    Parameters
    ----------
    sections : `schema.SECTIONS`
    status : `schema.STATUS` with `role`
    border : `BorderPool.rows`, of one pool or more
    """
    studied = status.loc[status["role"].isin(STUDIED_ROLES), ["animal", "section", "panel"]]
    mine = sections.merge(studied, on=["animal", "section", "panel"])
    epicentres = find_epicentres(mine)
    whole = mine[(mine["zone"] == ALL) & mine["position_um"].notna() & (mine["threshold_source"] != "rule")]
    frames = [*border]
    for (animal, panel), group in whole.groupby(["animal", "panel"], sort=True):
        epicentre = epicentres[str(animal), str(panel)]
        place = group["position_um"]
        origin = (place.min() + place.max()) / 2 if epicentre is None else epicentre.position_um
        own = {"threshold_per_image"} if "per_image" in set(group["threshold_source"]) else set()
        flags = join_flags(own | (set() if epicentre else {"no_lesion"}))
        named = group.assign(position_um=place - origin, axis="cord", flags=flags)
        frames.append(named[["animal", "panel", "marker", "axis", "position_um", *_MEASURES, "flags"]])
    return PROFILES.conform(_summed(frames))


def _summed(frames: list[pd.DataFrame]) -> pd.DataFrame:
    columns = ["animal", "panel", "marker", "axis", "position_um", *_MEASURES]
    frames = [f.assign(flags=f["flags"] if "flags" in f.columns else "") for f in frames if len(f)]
    if not frames:
        return pd.DataFrame(columns=[*columns, "flags"])
    keys = ["animal", "panel", "marker", "axis", "position_um"]
    groups = pd.concat(frames).groupby(keys, sort=True)
    return groups[list(_MEASURES)].sum(min_count=1).join(groups["flags"].first()).reset_index()  # what is not known is not 0
