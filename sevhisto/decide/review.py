"""In which order a person should look at the sections: the worst first, and of equals those on which the result rests most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sevhisto.registry import split_flags

RANKS = {"exclude": 0, "review": 1, "keep": 2}
UNSURE = 0.5
"""What an outline without a confidence counts as: one that was carried over, or none where the landmark is missing."""
_SECTION = ["animal", "section", "panel"]


def review_queue(sections: pd.DataFrame) -> pd.DataFrame:
    """Return one row per section, in the order in which to look at them.

    First by verdict (exclude, review, keep), then by how much the result rests on an outline of how little confidence:
    ``influence * (1 - confidence)``, then by name.

    Parameters
    ----------
    sections : rows of sections.csv (`schema.SECTIONS`), of animals that are studied

    Returns
    -------
    queue : columns animal, section, panel, batch, position_um, verdict, reasons, flags, core_confidence (NaN where there is none) and
        influence_pct: the largest share, over markers, of the animal's positive area in the core that this section holds; where no
        section of the animal has a core, of the area in all tissue
    """
    names = [*_SECTION, "batch", "position_um", "verdict", "reasons", "flags", "core_confidence", "influence_pct"]
    if sections.empty:
        return pd.DataFrame(columns=names)
    first = sections.groupby(_SECTION, sort=True)
    queue = first[["batch", "position_um", "verdict", "reasons", "core_confidence"]].first().reset_index()
    flags = first["flags"].agg(lambda rows: ";".join(sorted({f for row in rows for f in split_flags(row)})))
    queue = queue.merge(flags.reset_index(), on=_SECTION).merge(_influence(sections), on=_SECTION, how="left")
    queue["influence_pct"] = queue["influence_pct"].fillna(0.0)
    drawn = [bool(split_flags(f) & {"contour_drawn", "contour_accepted"}) for f in queue["flags"]]
    sure = np.where(drawn, 1.0, queue["core_confidence"].fillna(UNSURE))
    queue["rank"] = queue["verdict"].map(RANKS).fillna(RANKS["keep"])
    queue["risk"] = -queue["influence_pct"] * (1 - sure)
    return queue.sort_values(["rank", "risk", *_SECTION], kind="stable", ignore_index=True)[names]


def _influence(sections: pd.DataFrame) -> pd.DataFrame:
    found = []
    for _, rows in sections.groupby("animal"):
        core = rows[rows["zone"] == "core"]
        used = core if (core["zone_um2"] > 0).any() else rows[rows["zone"] == "all"]
        total = used.groupby(["panel", "marker"])["positive_um2"].transform("sum")
        share = 100 * (used["positive_um2"] / total.where(total > 0)).fillna(0.0)
        found.append(used.assign(influence_pct=share).groupby(_SECTION)["influence_pct"].max().reset_index())
    return pd.concat(found, ignore_index=True)
