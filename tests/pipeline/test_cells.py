"""The table of cells: read from the records in parts, and the same however it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sevhisto.decide.rows import SectionRow
from sevhisto.pipeline import cells
from sevhisto.pipeline.cells import Cells, add_columns

FOUND = {
    "a": {"y_um": np.arange(3, dtype=np.float32), "side": np.zeros(3, np.float32), "CD68_ring": np.ones(3, np.float32)},
    "b": {"y_um": np.zeros(0, np.float32), "FN_ring": np.zeros(0, np.float32)},
    "c": {"y_um": np.arange(2, dtype=np.float32), "GFAP_ring": np.full(2, 2, np.float32)},
    "d": {},
}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cells, "load_tallies", lambda record: pd.Series({"cells": FOUND[record.name]}))

    def of(names: str) -> Cells:
        columns: dict[str, np.dtype[Any]] = {}
        for name in names:
            add_columns(columns, FOUND[name])
        return Cells([(SectionRow("R1", n, "A", "b1", "sample", 0.0, "ok"), Path(n)) for n in names], columns)

    return of


def test_sections_with_other_markers_share_a_table(table: Any) -> None:
    (read,) = table("abcd")
    assert list(read.columns) == ["animal", "section", "panel", "cell", "y_um", "CD68_ring", "GFAP_ring"]
    assert list(read["section"]) == ["a", "a", "a", "c", "c"] and list(read["cell"]) == [1, 2, 3, 1, 2]
    assert read["CD68_ring"].isna().tolist() == [False] * 3 + [True] * 2 and read["GFAP_ring"].dtype == np.float32
    assert read["section"].dtype == object


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_however_it_is_cut_it_is_the_same(table: Any, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    (whole,) = table("acbadc")
    monkeypatch.setattr(cells, "PART_ROWS", rows)
    parts = list(table("acbadc"))
    assert len(parts) > 1
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)


def test_without_cells_there_is_a_table_without_rows(table: Any) -> None:
    assert [len(part) for part in table("bd")] == [0] and [len(part) for part in table("")] == [0]
