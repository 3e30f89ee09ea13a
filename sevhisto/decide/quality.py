"""What to do with each section: keep, review or exclude. Faults that only a batch can tell are found here.

The verdict is advice to a person; nothing is left out of a table because of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sevhisto.config import TYPICAL_NUCLEUS_UM, StudyConfig
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import STUDIED_ROLES, SectionSummary
from sevhisto.decide.thresholds import Threshold
from sevhisto.decide.zones import ALL, CORE
from sevhisto.registry import FAULT_FLAGS
from sevhisto.tallies import smallest
from sevhisto.types import INTENSITY_EDGES, AnyArray, IntArray

MIN_SECTIONS = 4
"""Of which one may be wrong, and the median still lies among the right ones."""
EXPOSURE_FACTOR = 1.5
"""Light of tissue between cells, over that of the batch: by half as much again or more it moves every pixel across a threshold."""
SPREADS = 5.0
UNSTAINED_SHARE = 0.25
"""Of the positive area of like sections of the batch."""
CLEAR_SHARE = 0.03
"""A stain covers this much of like sections or more; below, its absence is no fault."""
BLUR_FACTOR = 1.5
MOSTLY = 0.5
SMALL_SHARE = 0.005
"""What is left out moves an area fraction of the section by no more than its own share: half a point."""
WORDS = {
    "missing_data": "a field of the scan is missing",
    "torn": "the tissue is torn",
    "cavity_open": "a hole reaches the outer border: a tear, or a cyst that opened",
    "folded": "the tissue lies in a fold",
    "bubble": "an air bubble lies over the tissue",
    "out_of_focus": "out of focus",
    "seams": "camera fields do not fit together: brightness steps, or shifts, along straight lines",
    "clipped": "the background of a channel was cut off at 0: its areas are too small",
    "saturated": "a channel is too bright for the camera: areas hold, intensities are too low",
}
"""What a person reads of each of `FAULT_FLAGS`."""
FEW_PX = 1000


@dataclass
class Verdict:
    """Of one section: `verdict` keep, review or exclude; why; and flags by marker, those of the whole section under the empty name."""

    verdict: str = "keep"
    reasons: list[str] = field(default_factory=list)
    flags: dict[str, set[str]] = field(default_factory=dict)

    def add(self, reason: str, flag: str = "", marker: str = "", verdict: str = "review") -> None:
        """Add a reason, and what follows from it."""
        self.reasons.append(reason)
        if flag:
            self.flags.setdefault(marker, set()).add(flag)
        self.verdict = max(self.verdict, verdict, key=("keep", "review", "exclude").index)


KEPT = Verdict()
"""Of a section about which there is nothing to say."""
SectionKey = tuple[str, str, str]


def section_key(summary: SectionSummary) -> SectionKey:
    """Return animal, section and panel."""
    return summary.row.animal, summary.row.section, summary.row.panel


@dataclass(frozen=True)
class Signs:
    """What a section's verdict rests on, at a hundredth of its summary: what is held until its whole batch was seen.

    Attributes
    ----------
    like : panel and batch, within which sections are compared; None of a control, which is compared to none
    flags, faults : as in the summary
    stain : by marker, pixels by intensity in the core; in the whole section where it has none
    """

    key: SectionKey
    like: tuple[str, str] | None
    flags: frozenset[str]
    faults: dict[str, Any]
    stain: dict[str, Histogram]

    @classmethod
    def of(cls, summary: SectionSummary) -> Signs:
        """Return the signs of a section."""
        row, stain = summary.row, {}
        compared = row.role in STUDIED_ROLES
        if compared:
            zones = [z.name for z in summary.zones]
            zone = zones.index(CORE if _injured(summary.flags) and CORE in zones else ALL)
            stain = {m: Histogram.of(counts) for m, counts in zip(summary.markers, summary.counts[zone], strict=True)}
        like = (row.panel, row.batch) if compared else None
        return cls(section_key(summary), like, frozenset(summary.flags), summary.faults, stain)


@dataclass(frozen=True)
class Histogram:
    """Pixels by intensity, without the empty bins: `place` (n,) uint16 bin, `pixels` (n,) of the smallest type."""

    place: AnyArray
    pixels: AnyArray

    @classmethod
    def of(cls, counts: IntArray) -> Histogram:
        """Return (N_INTENSITY,) int64 without its zeros."""
        place = np.flatnonzero(counts)
        return cls(place.astype(np.uint16), smallest(counts[place]))

    def share_from(self, first: int) -> float:
        """Return the share of pixels in bin `first` and above; NaN of fewer than `FEW_PX`."""
        n = int(self.pixels.sum(dtype=np.int64))
        return float(self.pixels[self.place >= first].sum(dtype=np.int64)) / n if n > FEW_PX else math.nan


def verdicts(
    sections: Iterable[SectionSummary | Signs], thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig
) -> dict[SectionKey, Verdict]:
    """Return the verdict of every section; sections are compared within their panel and batch, controls not at all."""
    groups: dict[tuple[str, str], list[Signs]] = {}
    found: dict[SectionKey, Verdict] = {}
    for section in sections:
        signs = section if isinstance(section, Signs) else Signs.of(section)
        found[signs.key] = _own(signs, config.imaging.mask_faults)
        if signs.like is not None:
            groups.setdefault(signs.like, []).append(signs)
    for members in groups.values():
        for marker in members[0].stain:
            _exposure(members, marker, found)
            for injured in (False, True):
                _unstained([m for m in members if _injured(m.flags) == injured], marker, thresholds, found)
        _focus(members, config, found)
    return found


def _injured(flags: AbstractSet[str]) -> bool:
    return not flags & {"no_lesion", "no_landmark"}


def _own(signs: Signs, masked: bool) -> Verdict:
    """Return what a section says of itself; `masked` : whether faults of a part are left out."""
    verdict = Verdict()
    share: dict[str, float] = signs.faults.get("share", {})
    for name in [f for f in FAULT_FLAGS if f in signs.flags]:
        if name not in share:
            verdict.add(WORDS[name])
            continue
        left_out = masked and share[name] <= MOSTLY
        small = left_out and sum(share.values()) < SMALL_SHARE
        what = f"{WORDS[name]}: {100 * share[name]:.2g} % of the section, {'left out' if left_out else 'measured all the same'}"
        verdict.add(what, verdict="keep" if small else "review")
    if "no_tissue" in signs.flags:
        verdict.add("no tissue was found on the slide", verdict="exclude")
    if sum(share.values()) > MOSTLY:
        verdict.add(f"faults cover {100 * sum(share.values()):.0f} % of the section: little is left to measure", verdict="exclude")
    return verdict


def _apart(values: Sequence[float], factor: float) -> list[float]:
    """Return each positive value over the median of all where it is off by `factor` or more and by 5 robust SD of the logs, else 1."""
    logs = np.log(np.asarray(values, np.float64))
    off = logs - np.median(logs)
    spread = 1.4826 * float(np.median(np.abs(off)))
    return [float(math.exp(o)) if abs(o) >= max(math.log(factor), SPREADS * spread) else 1.0 for o in off]


def _exposure(members: Sequence[Signs], marker: str, found: dict[SectionKey, Verdict]) -> None:
    light = [(m, float(m.faults.get("light", {}).get(marker) or 0)) for m in members]
    light = [(m, v) for m, v in light if v > 0]
    if len(light) < MIN_SECTIONS:
        return
    for (member, _), ratio in zip(light, _apart([v for _, v in light], EXPOSURE_FACTOR), strict=True):
        if ratio != 1:
            found[member.key].add(
                f"{marker}: {ratio:.2g} times as bright as in the batch; look at its exposure", "exposure_differs", marker
            )


def _unstained(like: Sequence[Signs], marker: str, thresholds: Mapping[ThresholdKey, Threshold], found: dict[SectionKey, Verdict]) -> None:
    if len(like) < MIN_SECTIONS or like[0].like is None:
        return
    threshold = thresholds.get((*like[0].like, marker))
    if threshold is None or math.isnan(threshold.value):
        return
    first = int(np.searchsorted(INTENSITY_EDGES, threshold.value)) + 1
    shares = [member.stain[marker].share_from(first) for member in like]
    known = [s for s in shares if not math.isnan(s)]
    usual = float(np.median(known)) if len(known) >= MIN_SECTIONS else 0.0
    for member, share in zip(like, shares, strict=True):
        if usual >= CLEAR_SHARE and share < UNSTAINED_SHARE * usual:
            said = f"{marker} hardly stained: {100 * share:.2g} % positive, in like sections of the batch {100 * usual:.2g} %"
            found[member.key].add(said, "unstained", marker)


def _focus(members: Sequence[Signs], config: StudyConfig, found: dict[SectionKey, Verdict]) -> None:
    blur = [(m, float(m.faults.get("blur_um") or 0)) for m in members]
    blur = [(m, v) for m, v in blur if v > 0]
    merging = math.sqrt(3) / 4 * (config.imaging.nucleus_diameter_um or TYPICAL_NUCLEUS_UM)  # see imaging/defocus.py: merging_blur
    if len(blur) < MIN_SECTIONS:
        return
    for (member, value), ratio in zip(blur, _apart([v for _, v in blur], BLUR_FACTOR), strict=True):
        if ratio > 1 and value > merging:
            found[member.key].add(f"the whole section is out of focus (blur {value:.1f} um)", "out_of_focus", verdict="exclude")
