"""What to do with each section: keep, review or exclude. Faults that only a batch can tell are found here.

The verdict is advice to a person; nothing is left out of a table because of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sevhisto.config import TYPICAL_NUCLEUS_UM, StudyConfig
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import SectionSummary
from sevhisto.decide.thresholds import Threshold
from sevhisto.registry import FAULT_FLAGS
from sevhisto.types import INTENSITY_EDGES

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


def verdicts(
    summaries: Iterable[SectionSummary], thresholds: Mapping[ThresholdKey, Threshold], config: StudyConfig
) -> dict[SectionKey, Verdict]:
    """Return the verdict of every section; sections are compared within their panel and batch, controls not at all."""
    groups: dict[tuple[str, str], list[SectionSummary]] = {}
    found: dict[SectionKey, Verdict] = {}
    for summary in summaries:
        found[section_key(summary)] = _own(summary, config.imaging.mask_faults)
        if summary.row.role in ("sample", "uninjured"):
            groups.setdefault((summary.row.panel, summary.row.batch), []).append(summary)
    for members in groups.values():
        for marker in members[0].markers:
            _exposure(members, marker, found)
            for injured in (False, True):
                like = [m for m in members if _injured(m) == injured]
                _unstained(like, marker, thresholds, config, found)
        _focus(members, config, found)
    return found


def _injured(summary: SectionSummary) -> bool:
    return not summary.flags & {"no_lesion", "no_landmark"}


def _own(summary: SectionSummary, masked: bool) -> Verdict:
    """Return what a section says of itself; `masked` : whether faults of a part are left out."""
    verdict = Verdict()
    share: dict[str, float] = summary.faults.get("share", {})
    for name in [f for f in FAULT_FLAGS if f in summary.flags]:
        if name not in share:
            verdict.add(WORDS[name])
            continue
        left_out = masked and share[name] <= MOSTLY
        small = left_out and sum(share.values()) < SMALL_SHARE
        what = f"{WORDS[name]}: {100 * share[name]:.2g} % of the section, {'left out' if left_out else 'measured all the same'}"
        verdict.add(what, verdict="keep" if small else "review")
    if "no_tissue" in summary.flags:
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


def _exposure(members: Sequence[SectionSummary], marker: str, found: dict[SectionKey, Verdict]) -> None:
    light = [(m, float(m.faults.get("light", {}).get(marker) or 0)) for m in members]
    light = [(m, v) for m, v in light if v > 0]
    if len(light) < MIN_SECTIONS:
        return
    for (member, _), ratio in zip(light, _apart([v for _, v in light], EXPOSURE_FACTOR), strict=True):
        if ratio != 1:
            found[section_key(member)].add(
                f"{marker}: {ratio:.2g} times as bright as in the batch; look at its exposure", "exposure_differs", marker
            )


def _unstained(
    like: Sequence[SectionSummary],
    marker: str,
    thresholds: Mapping[ThresholdKey, Threshold],
    config: StudyConfig,
    found: dict[SectionKey, Verdict],
) -> None:
    if len(like) < MIN_SECTIONS:
        return
    threshold = thresholds.get((like[0].row.panel, like[0].row.batch, marker))
    if threshold is None or math.isnan(threshold.value):
        return
    shares = []
    for member in like:
        zones = [z.name for z in member.zones]
        i = zones.index("core" if _injured(member) and "core" in zones else "all")
        counts = member.counts[i, member.markers.index(marker)]
        n = int(counts.sum())
        shares.append(float(counts[int(np.searchsorted(INTENSITY_EDGES, threshold.value)) + 1 :].sum()) / n if n > FEW_PX else math.nan)
    known = [s for s in shares if not math.isnan(s)]
    usual = float(np.median(known)) if len(known) >= MIN_SECTIONS else 0.0
    for member, share in zip(like, shares, strict=True):
        if usual >= CLEAR_SHARE and share < UNSTAINED_SHARE * usual:
            said = f"{marker} hardly stained: {100 * share:.2g} % positive, in like sections of the batch {100 * usual:.2g} %"
            found[section_key(member)].add(said, "unstained", marker)


def _focus(members: Sequence[SectionSummary], config: StudyConfig, found: dict[SectionKey, Verdict]) -> None:
    blur = [(m, float(m.faults.get("blur_um") or 0)) for m in members]
    blur = [(m, v) for m, v in blur if v > 0]
    merging = math.sqrt(3) / 4 * (config.imaging.nucleus_diameter_um or TYPICAL_NUCLEUS_UM)  # see imaging/defocus.py: merging_blur
    if len(blur) < MIN_SECTIONS:
        return
    for (member, value), ratio in zip(blur, _apart([v for _, v in blur], BLUR_FACTOR), strict=True):
        if ratio > 1 and value > merging:
            found[section_key(member)].add(f"the whole section is out of focus (blur {value:.1f} um)", "out_of_focus", verdict="exclude")
