"""AnnData: the cells of each panel, their intensities as a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.export.given import Given, cell_limits, formats, section_cells
from sevhisto.export.needed import needed
from sevhisto.export.text import file_names

_FACTS = ("cell", "area_um2", "distance_um")


@formats.register("anndata")
def anndata(given: Given, folder: Path) -> list[str]:
    """Write cells_<panel>.h5ad: X holds median corrected intensities, obs where each cell is and what it is positive for.

    ``obsm["spatial"]`` is x, y in um from the section's corner, as scanpy and squidpy expect it.
    """
    library = needed("anndata", "anndata")
    panels = dict.fromkeys(section.panel for slide in given.slides for section in slide.sections)
    names = file_names([f"cells_{p}" for p in panels], ".h5ad")
    for panel in panels:
        rows = _cells(given, panel)
        if rows is None:
            continue
        columns = [f"{m}_{part}" for m in given.config.panels[panel].markers for part in ("nucleus", "ring") if f"{m}_{part}" in rows]
        data = library.AnnData(
            X=rows[columns].to_numpy(np.float32),
            obs=_observations(rows, given),
            var=_variables(columns),
            obsm={"spatial": rows[["x_um", "y_um"]].to_numpy(np.float32)},
            uns={"spatial_unit": "um", "notes": given.notes()},
        )
        data.write_h5ad(folder / names[f"cells_{panel}"], compression="gzip", compression_opts=1)
    return []


def _cells(given: Given, panel: str) -> pd.DataFrame | None:
    """Return the cells of a panel with animal, section and panel; None where there are none."""
    limits = cell_limits(given)
    found = []
    for section in (s for slide in given.slides for s in slide.sections if s.panel == panel):
        rows = section_cells(given, section, section.load(), limits)
        if rows is not None:
            found.append(rows.assign(animal=section.animal, section=section.section, panel=panel))
    return pd.concat(found, ignore_index=True) if found else None


def _observations(rows: pd.DataFrame, given: Given) -> pd.DataFrame:
    places = {name: _categories(rows[name]) for name in ("animal", "section", "panel")}
    marks = {str(c): rows[c].to_numpy(bool) for c in rows if str(c).endswith("_positive")}
    labels = (
        rows["animal"].astype(str) + "_" + rows["section"].astype(str) + "_" + rows["panel"].astype(str) + "_" + rows["cell"].astype(str)
    )
    group = _categories(given.group_of(rows["animal"]))
    kept = {**places, "group": group, **{name: rows[name].to_numpy() for name in _FACTS}, **marks}
    return pd.DataFrame(kept, index=pd.Index(labels.to_numpy(), dtype=object))


def _categories(column: pd.Series[Any]) -> pd.Categorical:
    """Return a column of text as categories of plain objects: anndata writes no other kind of text everywhere."""
    codes, names = pd.factorize(column.astype(str), sort=True)
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=object))


def _variables(columns: list[str]) -> pd.DataFrame:
    marker, part = zip(*(c.rpartition("_")[::2] for c in columns), strict=True)
    facts = {"marker": marker, "compartment": part, "unit": ["grey"] * len(columns)}
    plain = {name: _categories(pd.Series(values)) for name, values in facts.items()}
    return pd.DataFrame(plain, index=pd.Index(columns, dtype=object))
