"""AnnData: the cells of each panel, their intensities as a matrix."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sevhisto.export.given import Given, Limits, cell_limits, compartments, formats
from sevhisto.export.needed import needed
from sevhisto.export.number_texts import joined
from sevhisto.export.text import file_names
from sevhisto.types import AnyArray

_PLACE = ("cell", "y_um", "x_um", "distance_um", "area_um2")


@formats.register("anndata")
def anndata(given: Given, folder: Path) -> list[str]:
    """Write cells_<panel>.h5ad: X holds median corrected intensities, obs where each cell is and what it is positive for.

    ``obsm["spatial"]`` is x, y in um from the section's corner, as scanpy and squidpy expect it.
    """
    library = needed("anndata")
    limits = cell_limits(given.table("sections.csv"), given.config)
    panels = list(dict.fromkeys(panel for _, _, panel in limits))
    names = file_names([f"cells_{p}" for p in panels], ".h5ad")
    for panel in panels:
        rows = _cells(given, panel, limits)
        if not len(rows):
            continue
        columns = [f"{m}_{part}" for m in given.config.panels[panel].markers for part in ("nucleus", "ring") if f"{m}_{part}" in rows]
        data = library.AnnData(
            X=np.stack([rows[c].to_numpy(np.float32) for c in columns], axis=1),
            obs=_observations(rows, given),
            var=_variables(columns),
            obsm={"spatial": rows[["x_um", "y_um"]].to_numpy(np.float32)},
            uns={"spatial_unit": "um", "notes": given.notes()},
        )
        del rows
        with _plain_errors():
            data.write_h5ad(folder / names[f"cells_{panel}"], compression="gzip", compression_opts=1)
    return []


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Tell of a disk that is full what the system says, in place of what the library says of its own insides."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _cells(given: Given, panel: str, limits: Limits) -> pd.DataFrame:
    """Return the cells of a panel, with one bool column ``<marker>_positive`` per decided marker; those as categories that are text."""
    own = {f"{m}_{part}" for m in given.config.panels[panel].markers for part in ("nucleus", "ring")}
    with pq.ParquetFile(given.cells) as file:
        there = [c for c in file.schema_arrow.names if c in own or c in _PLACE]
        keys = ["animal", "section", "panel"]
        table = pq.read_table(given.cells, columns=[*keys, *there], filters=[("panel", "=", panel)], read_dictionary=keys)
    rows: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    number, places = pd.factorize(pd.MultiIndex.from_frame(rows[keys]))
    for marker in dict.fromkeys(m for place in places for m in limits.get(place, {})):
        parts = compartments(given.config, panel, marker)
        if set(parts) <= set(there):
            limit = np.array([limits.get(place, {}).get(marker, math.nan) for place in places], np.float64)
            rows[f"{marker}_positive"] = np.maximum.reduce([rows[p].to_numpy() for p in parts]) >= limit[number]
    return rows


def _observations(rows: pd.DataFrame, given: Given) -> pd.DataFrame:
    places = {name: _categories(rows[name]) for name in ("animal", "section", "panel")}
    marks = {str(c): rows[c].to_numpy(bool) for c in rows if str(c).endswith("_positive")}
    group = _categories(given.group_of(pd.Series(places["animal"].categories)).astype(str), places["animal"].codes)
    facts = {"cell": rows["cell"].to_numpy(), **{name: rows[name].to_numpy(np.float32) for name in ("area_um2", "distance_um")}}
    texts = [pa.array(v.categories).take(pa.array(v.codes)) for v in places.values()]
    labels = joined(*texts, pa.array(facts["cell"]).cast(pa.string()), between="_")
    index = pd.Index(labels.to_numpy(zero_copy_only=False), dtype=object)
    return pd.DataFrame({**places, "group": group, **facts, **marks}, index=index)


def _categories(column: pd.Series[Any], which: AnyArray | None = None) -> pd.Categorical:
    """Return text as categories of plain objects, since anndata writes no other kind everywhere; `which` : rows of `column` to take."""
    codes, names = pd.factorize(column.astype(str), sort=True)
    return pd.Categorical.from_codes(codes if which is None else codes[which], categories=pd.Index(list(names), dtype=object))


def _variables(columns: list[str]) -> pd.DataFrame:
    marker, part = zip(*(c.rpartition("_")[::2] for c in columns), strict=True)
    facts = {"marker": marker, "compartment": part, "unit": ["grey"] * len(columns)}
    plain = {name: _categories(pd.Series(values)) for name, values in facts.items()}
    return pd.DataFrame(plain, index=pd.Index(columns, dtype=object))
