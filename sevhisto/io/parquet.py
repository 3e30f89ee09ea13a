"""Tables in Parquet: one row group in memory at a time, whatever the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sevhisto.columns import Table
from sevhisto.io.files import whole_file
from sevhisto.types import Problem, SevhistoError

GROUP_ROWS = 2**17
"""Rows that are written and read at once."""


def write_parquet(path: Path, parts: Iterable[pd.DataFrame], table: Table) -> None:
    """Check a table that comes in parts against its schema, and write it as Parquet.

    However it is cut, the bytes are the same, and a row group is held in memory, not the table.

    Parameters
    ----------
    parts : one or more, with the same columns
    """
    with whole_file(path) as file, ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for rows in _cut(parts, GROUP_ROWS):
            made = pa.Table.from_pandas(table.conform(rows), schema=writer and writer.schema, preserve_index=False)
            writer = writer or stack.enter_context(pq.ParquetWriter(file, made.schema, compression="zstd"))
            writer.write_table(made, row_group_size=GROUP_ROWS)


def _cut(parts: Iterable[pd.DataFrame], n: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of all parts, n at a time; once without rows where there are none."""
    waiting: list[pd.DataFrame] = []
    cut = False
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= n:
            rows = pd.concat(waiting, ignore_index=True)
            ends = range(n, len(rows) + 1, n)
            yield from (rows.iloc[end - n : end].reset_index(drop=True) for end in ends)
            waiting, cut = [rows.iloc[ends[-1] :]], True
    rest = pd.concat(waiting, ignore_index=True)
    if len(rest) or not cut:
        yield rest


def parquet_parts(path: Path, table: Table) -> Iterator[pd.DataFrame]:
    """Read a table that `write_parquet` wrote, a row group at a time; SevhistoError if it is not there or no such table."""
    try:
        with pq.ParquetFile(path) as file:
            for rows in file.iter_batches(GROUP_ROWS) if file.metadata.num_rows else [file.schema_arrow.empty_table()]:
                yield table.conform(rows.to_pandas())
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise SevhistoError(Problem(str(path), f"cannot be read: {error}", "run `sevhisto run` on the study again")) from error
