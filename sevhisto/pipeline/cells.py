"""The cells of all sections, some sections in memory at a time: there can be more of them than memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.columns import as_frame
from sevhisto.decide.rows import SectionRow
from sevhisto.io.records import load_tallies
from sevhisto.pipeline.stages import Tick, no_tick
from sevhisto.schema import CELLS
from sevhisto.types import AnyArray

PART_ROWS = 2**15
"""Cells that are made into a part of the table at once, or a section more."""
_SIDE = "side"
"""A column of the record that is not told."""


def add_columns(columns: dict[str, np.dtype[np.generic]], cells: Mapping[str, AnyArray]) -> None:
    """Add the columns of a section's cells to those of the table, in order of their first appearance; a section without cells has none."""
    for name, values in cells.items():
        if name != _SIDE and len(values):
            columns[name] = np.result_type(columns.get(name, values.dtype), values.dtype)


@dataclass(frozen=True)
class Cells:
    """The table of cells, read from the records whenever it is asked for.

    Attributes
    ----------
    sections : rows with their records, in the order of the table
    columns : of the cells of all sections, with their dtypes
    tick : told of every section that is read
    """

    sections: Sequence[tuple[SectionRow, Path]]
    columns: Mapping[str, np.dtype[np.generic]]
    tick: Tick = no_tick

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Yield its rows (`schema.CELLS`) in parts of many sections; one part without rows where nobody has cells."""
        waiting: list[dict[str, AnyArray]] = []
        for done, (row, record) in enumerate(self.sections, 1):
            cells = load_tallies(record).cells
            n = len(next(iter(cells.values()))) if cells else 0
            waiting += [self._rows(row, cells, n)] if n else []
            self.tick(done, len(self.sections))
            if sum(len(part["cell"]) for part in waiting) >= PART_ROWS:
                yield _joined(waiting)
                waiting = []
        if waiting:
            yield _joined(waiting)
        elif not self.columns:
            yield pd.DataFrame({name: [] for name in CELLS.names})

    def _rows(self, row: SectionRow, cells: Mapping[str, AnyArray], n: int) -> dict[str, AnyArray]:
        words = {name: np.full(n, getattr(row, name), object) for name in ("animal", "section", "panel")}
        numbers = {name: cells[name].astype(dtype) if name in cells else np.full(n, np.nan, dtype) for name, dtype in self.columns.items()}
        return {**words, "cell": np.arange(1, n + 1), **numbers}


def _joined(parts: list[dict[str, AnyArray]]) -> pd.DataFrame:
    return as_frame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
