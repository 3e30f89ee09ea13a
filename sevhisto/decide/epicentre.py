"""Where the lesion is centred along the cord."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sevhisto.decide.zones import CORE
from sevhisto.types import DoubleArray


@dataclass(frozen=True)
class Epicentre:
    """The section with the largest lesion.

    Attributes
    ----------
    index : its place in the arrays given
    position_um : its place along the cord
    centroid_um : area-weighted mean place of the lesion, which no single section decides
    tie : whether another section is as good
    """

    index: int
    position_um: float
    centroid_um: float
    tie: bool


def find_epicentre(position_um: DoubleArray, core_um2: DoubleArray) -> Epicentre | None:
    """Return the section with the largest core after a 3-section moving average, or None where no section has a core.

    The average runs over neighbours in order of position, over two sections at the ends. Among equal averages the section whose own core is
    largest is taken, then the most rostral one (`tie`). Sections without a position take no part.

    Parameters
    ----------
    position_um : (n,) place along the cord, growing caudally
    core_um2 : (n,) area of the core, cavity included; NaN where unknown
    """
    usable = np.flatnonzero(np.isfinite(position_um) & np.isfinite(core_um2))
    order = usable[np.argsort(position_um[usable], kind="stable")]
    area = core_um2[order]
    if not len(order) or not (area > 0).any():
        return None
    window = np.ones(3)
    padded = np.pad(area, 1)
    present = np.pad(np.ones(len(area)), 1)
    smooth = np.convolve(padded, window, "valid") / np.convolve(present, window, "valid")
    best = np.isclose(smooth, smooth.max(), rtol=1e-9, atol=0)
    best &= np.isclose(area, area[best].max(), rtol=1e-9, atol=0)
    first = int(np.flatnonzero(best)[0])
    centroid = float((position_um[order] * area).sum() / area.sum())
    return Epicentre(int(order[first]), float(position_um[order[first]]), centroid, bool(best.sum() > 1))


def find_epicentres(sections: pd.DataFrame) -> dict[tuple[str, str], Epicentre | None]:
    """Return the epicentre of every animal and panel in a section table (`schema.SECTIONS`)."""
    core = sections[sections["zone"] == CORE].drop_duplicates(["animal", "panel", "section"])
    found = {}
    for (animal, panel), group in core.groupby(["animal", "panel"], sort=True):
        area = (group["zone_um2"] + group["cavity_um2"]).to_numpy(float)
        found[str(animal), str(panel)] = find_epicentre(group["position_um"].to_numpy(float), area)
    return found
