"""Parquet: every table, each column with its unit and what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sevhisto.columns import Column
from sevhisto.export.dictionary import WIDE, column_of, endpoint_column
from sevhisto.export.given import Given, formats
from sevhisto.schema import CELLS


@formats.register("parquet")
def parquet(given: Given, folder: Path) -> list[str]:
    """Write a .parquet per table of results/; unit and description stand in the metadata of each column."""
    for name, (table, frame) in given.tables.items():
        _write(folder / f"{name.rpartition('.')[0]}.parquet", frame, [column_of(table, str(c)) for c in frame.columns], given)
    _write_cells(given, folder / CELLS.name)
    wide = given.wide
    _write(folder / f"{WIDE.rpartition('.')[0]}.parquet", wide, [endpoint_column(given, str(c)) for c in wide.columns], given)
    return []


def _write_cells(given: Given, path: Path) -> None:
    """Copy the cell table piece by piece, with what its columns are."""
    with pq.ParquetFile(given.cells) as cells:
        schema = _schema(cells.schema_arrow, [column_of(CELLS, name) for name in cells.schema_arrow.names], given)
        with pq.ParquetWriter(path, schema, compression="zstd") as out:
            for batch in cells.iter_batches(batch_size=200_000):
                out.write_table(pa.Table.from_batches([batch]).cast(schema))


def _write(path: Path, frame: pd.DataFrame, columns: list[Column], given: Given) -> None:
    plain = pa.Table.from_pandas(frame.reset_index(drop=True), preserve_index=False)
    pq.write_table(plain.cast(_schema(plain.schema, columns, given)), path, compression="zstd")


def _schema(plain: pa.Schema, columns: list[Column], given: Given) -> pa.Schema:
    told = [{"description": c.doc, "unit": c.unit} for c in columns]
    fields = [field.with_metadata(meta) for field, meta in zip(plain, told, strict=True)]
    return pa.schema(fields, {**(plain.metadata or {}), b"sevhisto": json.dumps({"notes": given.notes()}).encode()})
