"""AnnData: the cells of each panel, their intensities as a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.export.given import Given, cell_marks, formats
from sevhisto.export.needed import needed
from sevhisto.export.text import file_names

_KNOWN = ("animal", "section", "panel", "cell", "area_um2", "distance_um", "stamp")


@formats.register("anndata")
def anndata(given: Given, folder: Path) -> list[str]:
    """Write cells_<panel>.h5ad: X holds median corrected intensities, obs where each cell is and what it is positive for.

    ``obsm["spatial"]`` is x, y in um from the section's corner, as scanpy and squidpy expect it.
    """
    library = needed("anndata", "anndata")
    cells = cell_marks(given)
    panels = [str(p) for p in cells["panel"].unique()]
    names = file_names([f"cells_{p}" for p in panels], ".h5ad")
    for panel in panels:
        rows = cells[cells["panel"] == panel].reset_index(drop=True)
        markers = given.config.panels[panel].markers
        columns = [f"{m}_{part}" for m in markers for part in ("nucleus", "ring") if f"{m}_{part}" in rows]
        data = library.AnnData(
            X=rows[columns].to_numpy(np.float32),
            obs=_observations(rows, markers, given),
            var=_variables(columns),
            obsm={"spatial": rows[["x_um", "y_um"]].to_numpy(np.float64)},
            uns={"spatial_unit": "um", "notes": given.notes()},
        )
        data.write_h5ad(folder / names[f"cells_{panel}"], compression="gzip")
    return []


def _observations(rows: pd.DataFrame, markers: tuple[str, ...], given: Given) -> pd.DataFrame:
    positive = [f"{m}_positive" for m in markers if f"{m}_positive" in rows]
    kept = rows[[c for c in (*_KNOWN, *positive) if c in rows]].copy()
    kept.insert(1, "group", given.group_of(rows["animal"]).to_numpy())
    for name in ("animal", "group", "section", "panel"):
        kept[name] = _categories(kept[name])
    labels = rows["animal"].astype(str) + "_" + rows["section"].astype(str) + "_" + rows["cell"].astype(str)
    return kept.set_axis(pd.Index(labels.to_numpy(), dtype=object), axis=0)


def _categories(column: pd.Series[Any]) -> pd.Categorical:
    """Return a column of text as categories of plain objects: anndata writes no other kind of text everywhere."""
    codes, names = pd.factorize(column.astype(str), sort=True)
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=object))


def _variables(columns: list[str]) -> pd.DataFrame:
    marker, part = zip(*(c.rpartition("_")[::2] for c in columns), strict=True)
    facts = {"marker": marker, "compartment": part, "unit": ["grey"] * len(columns)}
    plain = {name: _categories(pd.Series(values)) for name, values in facts.items()}
    return pd.DataFrame(plain, index=pd.Index(columns, dtype=object))
