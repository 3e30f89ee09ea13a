"""Tables on disk: checked against their schema, and the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.columns import WHOLE, Table
from sevhisto.io.files import whole_file
from sevhisto.io.sheets import numbers, read_sheet
from sevhisto.io.written import as_written
from sevhisto.types import AnyArray, Problem, SevhistoError

CHUNK_ROWS = 50_000
"""Rows that are made into text at once: as text a table takes ten times the memory."""


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table as CSV that is the same everywhere: UTF-8, ``\\n``, rows in the given order, 12 significant digits, NaN empty."""
    with whole_file(path) as file:
        for i in range(0, max(1, len(frame)), CHUNK_ROWS):
            file.write(_csv(frame.iloc[i : i + CHUNK_ROWS], header=i == 0))


def _csv(frame: pd.DataFrame, header: bool) -> bytes:
    out = {}
    for name in frame.columns:
        column = frame[name]
        out[name] = _number_texts(column.to_numpy(np.float64)) if pd.api.types.is_float_dtype(column) else column.tolist()
    text = pd.DataFrame(out, columns=list(frame.columns), dtype=object)
    return text.to_csv(index=False, header=header, lineterminator="\n").encode("utf-8")


def _number_texts(values: AnyArray) -> list[str]:
    if np.isinf(values).any():
        raise SevhistoError(Problem("table", "an infinite value cannot be written", "this is a fault of the program: please report it"))
    # twelve digits hide the last bits, in which processors differ; + 0.0 turns -0 into 0
    return [f"{v:.12g}" if v == v else "" for v in (values + 0.0).tolist()]


def write_table(path: Path, frame: pd.DataFrame, table: Table) -> None:
    """Check `frame` against its schema and write it with `write_frame`; SevhistoError names what does not fit."""
    write_frame(path, table.conform(frame))


def read_table(path: Path, table: Table) -> pd.DataFrame:
    """Read a table that `write_table` wrote: ids stay text; SevhistoError if it is no such table."""
    if not path.is_file():
        raise SevhistoError(Problem(str(path), "is not there", "run `sevhisto run` on the study first"))
    frame = as_written(path, table)
    if frame is None:
        frame = _as_edited(path, table)
    for column in table.columns:
        if column.kind == WHOLE and column.name in frame and frame[column.name].isna().any():
            raise SevhistoError(Problem(f"{path.name}, column {column.name}", "a whole number is missing", "run the study again"))
    for name in [c for c in frame.columns if c not in table.names]:  # one per marker, in an open-ended table
        frame[name] = _plain_numbers(frame[name])
    frame.attrs.clear()
    return table.conform(frame.reset_index(drop=True))


def _as_edited(path: Path, table: Table) -> pd.DataFrame:
    text, problems = read_sheet(path, replace(table, open_ended=True))  # a stamp may stand in it; `conform` refuses other columns
    frame, wrong = numbers(text, table, path.name)
    if problems or wrong:
        raise SevhistoError(problems + wrong)
    return frame


def _plain_numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    values = pd.to_numeric(column.where(column != ""), errors="coerce")
    return column if (values.isna() & (column != "")).any() else values.astype("float64")
