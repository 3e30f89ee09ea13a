"""How much sections of one animal differ: sums per animal, so that no section can be counted as an animal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sevhisto.metrics import TISSUE
from sevhisto.registry import split_flags
from sevhisto.schema import SECTIONS, SPREAD

REFERENCE = "CD68"
_KEY = ["animal", "panel", "zone", "marker"]
_PLACE = ["animal", "section", "panel", "zone"]


def section_spread(sections: pd.DataFrame) -> pd.DataFrame:
    """Return `schema.SPREAD`: for each animal and metric the number, mean and sum of squares of its sections' own values.

    Parameters
    ----------
    sections : DataFrame
        `schema.SECTIONS`. Rows flagged ``excluded`` and zones without tissue take no part.

    Notes
    -----
    Volumes are told by the areas that they are summed from. For the CD206 share the cells behind it are added up too.
    """
    table = SECTIONS.conform(sections)
    cd68 = table.loc[table["marker"] == REFERENCE].set_index(_PLACE)["n_cells"]
    table["cd68_cells"] = cd68.reindex(pd.MultiIndex.from_frame(table[_PLACE])).to_numpy(np.float64)
    table["cd68_both"] = table.get("n_cells_cd68", np.nan)
    kept = table[~table["flags"].map(lambda cell: "excluded" in split_flags(cell)).astype(bool) & (table["zone_um2"] > 0)]
    values = _values(kept)
    parts = [_sums(kept, v, metric) for metric, v in values.items()]
    tissue = kept.drop_duplicates(_PLACE).assign(marker=TISSUE)
    parts.append(_sums(tissue, tissue["zone_um2"] + tissue["cavity_um2"], "zone_volume_mm3"))
    out = pd.concat(parts, ignore_index=True)
    return SPREAD.conform(out.sort_values([*_KEY, "metric"], kind="stable")[SPREAD.names])


def _values(t: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Return what a section alone gives for each metric."""
    share = 100 * t["cd68_both"] / t["cd68_cells"].where(t["cd68_cells"] > 0)
    return {
        "fraction_pct": 100 * t["positive_um2"] / t["zone_um2"],
        "area_um2": t["positive_um2"],
        "positive_volume_mm3": t["positive_um2"],
        "mean_intensity": t["signal_sum"] / t["zone_um2"],
        "density_per_mm2": t["n_cells"] / t["zone_um2"] * 1e6,
        "fraction_of_cd68_pct": share.where(t["marker"] != REFERENCE),
    }


def _sums(t: pd.DataFrame, value: pd.Series[float], metric: str) -> pd.DataFrame:
    known = t.assign(value=value).dropna(subset=["value"])
    grouped = known.groupby(_KEY, sort=True)
    mean = grouped["value"].transform("mean")
    out = (
        known.assign(square=(known["value"] - mean) ** 2)
        .groupby(_KEY, sort=True)
        .agg(n_sections=("value", "size"), mean=("value", "mean"), sum_squares=("square", "sum"))
    )
    cells = metric == "fraction_of_cd68_pct"
    for column, of in (("n_positive_cells", "cd68_both"), ("n_cells", "cd68_cells")):
        out[column] = grouped[of].sum() if cells else np.nan
    return out.reset_index().assign(metric=metric)
