"""Tables as the program wrote them, read fast: those of a large study hold millions of cells. What a person changed is read with care."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from sevhisto.columns import STAMP, TEXT, WHOLE, Table, as_frame
from sevhisto.io.sheets import ID_COLUMNS
from sevhisto.types import AnyArray

_MAX_LINE = 2**24


def as_written(path: Path, table: Table) -> pd.DataFrame | None:
    """Return a table, numbers as float64 and all else as text; None where a cell, row or header is not as `write_table` leaves it."""
    with path.open("rb") as file:
        names = file.readline().decode("utf-8", "replace").rstrip("\n").split(",")
    known = {c.name for c in table.columns if c.required}
    if not known <= set(names) or len(set(names)) < len(names) or any(n != n.strip() or not n or '"' in n for n in names):
        return None
    kinds = {c.name: c.kind for c in (*table.columns, STAMP)}
    text, number = pa.dictionary(pa.int32(), pa.string()), pa.float64()
    types = {name: text if kinds.get(name, TEXT) == TEXT else number for name in names}
    try:
        read = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=_MAX_LINE),
            pyarrow.csv.ParseOptions(newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=types, null_values=[""], check_utf8=True),
        )
    except pa.ArrowInvalid:
        return None
    columns = {name: _words(read[name], name) if types[name] == text else _numbers(read[name]) for name in names}
    return as_frame(columns) if _plain(columns, kinds) else None


def _words(column: pa.ChunkedArray, name: str) -> AnyArray:
    """Return text, each word in memory once, without blanks around it."""
    whole = column.unify_dictionaries().combine_chunks()
    whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
    words = whole.dictionary.to_pylist()
    told = np.array([w if name in ID_COLUMNS else w.strip() for w in words] or [""], object)
    return np.asarray(told[whole.indices.to_numpy()])


def _numbers(column: pa.ChunkedArray) -> AnyArray:
    return np.asarray(column.to_numpy(), np.float64)


def _plain(columns: dict[str, AnyArray], kinds: dict[str, str]) -> bool:
    """Return whether numbers are such as a table may hold, and no row is empty."""
    finite = all(not np.isinf(v).any() for v in columns.values() if v.dtype != object)
    whole = all(not (columns[n] % 1 > 0).any() for n, kind in kinds.items() if kind == WHOLE and n in columns)
    first = next((v for v in columns.values() if v.dtype == object), None)
    return finite and whole and not (first is not None and (first == "").any())
