"""What a table is: named columns of a kind, and the check that a frame is what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.types import AnyArray, Problem, SevhistoError

TEXT, NUMBER, WHOLE = "text", "number", "whole"


@dataclass(frozen=True)
class Column:
    """One column: its name, kind (``text``, ``number``, ``whole``), unit, whether sums over rows make sense, and what it is."""

    name: str
    kind: str
    doc: str
    unit: str = ""
    additive: bool = False
    required: bool = True


STAMP = Column("stamp", TEXT, "flags of the whole study, in tables without a column `flags`; only where there are some", required=False)
"""A column that every table may carry."""


@dataclass(frozen=True)
class Table:
    """A table's name, what one row is, and its columns; `open_ended` allows further columns (one per marker)."""

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    open_ended: bool = False

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [c.name for c in self.columns]

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return `frame` with the table's columns in order and their dtypes; SevhistoError names what does not fit."""
        problems = self.problems(frame)
        if problems:
            raise SevhistoError(problems)
        known = {c.name: c.kind for c in (*self.columns, STAMP)}
        present = [name for name in known if name in frame.columns]
        extra = [name for name in frame.columns if name not in known]
        columns = {name: _as_kind(frame[name], known[name]) for name in present} | {name: frame[name] for name in extra}
        return pd.DataFrame(columns, index=frame.index, columns=present + extra)

    def problems(self, frame: pd.DataFrame) -> list[Problem]:
        """Return every way in which `frame` is not this table."""
        found = []
        missing = [c.name for c in self.columns if c.required and c.name not in frame.columns]
        if missing:
            found.append(Problem(self.name, f"missing columns: {', '.join(missing)}", f"one row is one {self.row}"))
        extra = [str(c) for c in frame.columns if c not in (*self.names, STAMP.name)]
        if extra and not self.open_ended:
            found.append(Problem(self.name, f"columns that do not belong here: {', '.join(extra)}", f"one row is one {self.row}"))
        if self.key and not missing:
            twice = frame[frame.duplicated(list(self.key), keep=False)]
            if len(twice):
                first = ", ".join(f"{k}={twice.iloc[0][k]}" for k in self.key)
                found.append(Problem(self.name, f"{len(twice)} rows share a key ({first})", f"one row is one {self.row}"))
        for c in self.columns:
            if c.name in frame.columns and c.kind != TEXT and len(frame) and not _surely(frame[c.name].dtype, c.kind):
                values = pd.to_numeric(frame[c.name], errors="coerce")
                bad = values.isna() & frame[c.name].notna()
                if c.kind == WHOLE:
                    bad |= values.isna()
                if bad.any():
                    row = int(bad.to_numpy().argmax())
                    found.append(
                        Problem(
                            self.name,
                            f"column {c.name}, row {row + 1}: {frame[c.name].iloc[row]!r} is not a {c.kind} number",
                        )
                    )
        return found


def _as_kind(column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    if kind != TEXT:
        return column.astype("float64" if kind == NUMBER else "int64")
    if column.dtype == object and pd.api.types.infer_dtype(column, skipna=False) == "string":
        return column  # already text, every cell of it
    return column.astype("string").fillna("").astype(object)


def _surely(dtype: Any, kind: str) -> bool:
    """Return whether every value of a column of this dtype is of the kind: nothing need be looked at."""
    return isinstance(dtype, np.dtype) and dtype.kind in ("iuf" if kind == NUMBER else "iu")


def as_frame(columns: Mapping[str, AnyArray]) -> pd.DataFrame:
    """Return arrays as a table. Text stays the objects that it is: a word that stands in many rows is in memory once."""
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in columns.items()}, copy=False)


def text(name: str, doc: str, required: bool = True) -> Column:
    """Return a column of text."""
    return Column(name, TEXT, doc, required=required)


def number(name: str, doc: str, unit: str = "", additive: bool = False, required: bool = True) -> Column:
    """Return a column of numbers."""
    return Column(name, NUMBER, doc, unit, additive, required)


def whole(name: str, doc: str, additive: bool = False, required: bool = True) -> Column:
    """Return a column of whole numbers."""
    return Column(name, WHOLE, doc, "", additive, required)
