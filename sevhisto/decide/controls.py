"""What controls say against each other, and what is missing: told in words, while the threshold stays what the ladder gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.decide.histograms import histogram_quantile
from sevhisto.decide.pools import MarkerPools, ThresholdKey
from sevhisto.decide.rows import STUDIED_ROLES

CONTROL_ROLES = ("no_primary", "unstained", "uninjured")
MUCH = 1.5
"""Times brighter from which on two pools contradict each other; less can be a difference between sections."""
LEAST = 4.0
"""Grey levels by which they must differ at least: less is noise."""


def control_doubts(key: ThresholdKey, pools: MarkerPools, config: StudyConfig, nuclear: bool) -> dict[str, str]:
    """Return what is doubtful about the controls of a threshold: flag to a sentence.

    Bright ends are compared, the `thresholds.percentile` of each pool: a control that shows more than what it controls was swapped, or
    stained. The counterstain is on no_primary slides too, so nothing follows from it there.
    """
    where = "panel {}, batch {}, marker {}".format(*key)
    share = config.thresholds.percentile / 100
    top = {r: histogram_quantile(p.counts, share) for r, p in pools.by_role.items() if p.counts.sum()}
    samples = pools.of("sample", "bridge")
    if samples.counts.sum():
        top["samples"] = histogram_quantile(samples.counts, share)
    found = {}
    pairs = [("unstained", "no_primary"), ("unstained", "samples"), *([] if nuclear else [("no_primary", "samples")])]
    for control, other in pairs:
        if control in top and other in top and top[control] > max(MUCH * top[other], top[other] + LEAST):
            told = f"{control} ({', '.join(pools.of(control).sections)}) is brighter than {other}"
            said = f"{told}: {top[control]:.4g} against {top[other]:.4g} grey levels"
            flag = "control_above_samples" if other == "samples" else "controls_contradict"
            found[flag] = f"{where}: {said}; were slides swapped in slides.csv, or was the control stained?"
    saturated = pools.of(*CONTROL_ROLES).saturated
    if saturated:
        found["control_saturated"] = f"{where}: control {', '.join(saturated)} is saturated; image it again with less exposure"
    return found


def missing_controls(slides: pd.DataFrame) -> list[str]:
    """Return a note for every panel and batch of animals without any control, and for every one of controls only.

    `slides` : columns panel, batch, role and file of slides.csv; rows without a file are lost sections
    """
    there = slides[slides["file"] != ""]
    roles: Mapping[tuple[str, str], set[str]] = {
        (str(p), str(b)): set(rows["role"]) for (p, b), rows in there.groupby(["panel", "batch"], sort=True)
    }
    notes: dict[tuple[str, str], list[str]] = {}
    for (panel, batch), here in roles.items():
        elsewhere = sorted(b for (p, b), r in roles.items() if p == panel and b != batch and r & set(CONTROL_ROLES))
        if "sample" in here and not here & set(CONTROL_ROLES):
            other = f" (those of {', '.join(elsewhere)} do not count: each batch is stained for itself)" if elsewhere else ""
            said = f"no unstained, no_primary or uninjured section; its samples make the thresholds{other}"
            notes.setdefault((batch, said), []).append(panel)
        elif not here & {*STUDIED_ROLES, "bridge"}:
            said = "holds controls only, which say nothing of other batches; is the batch in slides.csv right?"
            notes.setdefault((batch, said), []).append(panel)
    return [f"{_panels(panels)}, batch {batch!r}: {said}" for (batch, said), panels in notes.items()]


def _panels(names: list[str]) -> str:
    return f"panel{'s' if len(names) > 1 else ''} {', '.join(names)}"


def sentences(doubts: Iterable[Mapping[str, str]]) -> list[str]:
    """Return all sentences of many thresholds, sorted."""
    return sorted(text for found in doubts for text in found.values())
