"""Tables in Parquet: read back as written, whatever the parts they came in."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.io import parquet
from sevhisto.io.parquet import parquet_parts, write_parquet
from sevhisto.schema import CELLS
from sevhisto.types import OutputError, SevhistoError


def cells(n: int, section: str = "1") -> pd.DataFrame:
    numbers = {name: np.arange(n) * 1.5 for name in ("y_um", "x_um", "area_um2")}
    ring = np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n)).astype(np.float32)
    words = {"animal": "01", "section": section, "panel": "A"}
    return pd.DataFrame({**words, "cell": np.arange(1, n + 1), **numbers, "distance_um": np.nan, "CD68_ring": ring}, index=range(n))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cells.parquet"
    write_parquet(path, [cells(4)], CELLS)
    (read,) = parquet_parts(path, CELLS)
    pd.testing.assert_frame_equal(read, CELLS.conform(cells(4)))
    CELLS.conform(cells(4)).to_parquet(tmp_path / "plain.parquet", index=False, compression="zstd")
    assert path.read_bytes() == (tmp_path / "plain.parquet").read_bytes()


def test_a_table_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cells.parquet", [cells(0)], CELLS)
    assert [list(p.columns) for p in parquet_parts(tmp_path / "cells.parquet", CELLS)] == [list(CELLS.conform(cells(0)).columns)]


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.parquet").write_bytes(b"no")
    with pytest.raises(SevhistoError, match="cannot be read"):
        list(parquet_parts(tmp_path / "cells.parquet", CELLS))


def test_a_disk_that_is_full_leaves_the_old_table(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size are those of POSIX")
    path = tmp_path / "cells.parquet"
    write_parquet(path, [cells(3)], CELLS)
    before = path.read_bytes()
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, allowed[1]))
        with pytest.raises(OutputError, match="cannot be written"):
            write_parquet(path, [cells(5000)], CELLS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=6))
def test_the_bytes_do_not_depend_on_the_parts(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("parts")
    parts = [cells(n, str(i)) for i, n in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "GROUP_ROWS", 8)
        write_parquet(folder / "parts", parts, CELLS)
        write_parquet(folder / "whole", [pd.concat(parts, ignore_index=True)], CELLS)
        read = pd.concat(parquet_parts(folder / "parts", CELLS), ignore_index=True)
    assert (folder / "parts").read_bytes() == (folder / "whole").read_bytes()
    groups = pq.ParquetFile(folder / "parts").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)][:-1] == [8] * (groups.num_row_groups - 1)
    pd.testing.assert_frame_equal(read, CELLS.conform(pd.concat(parts, ignore_index=True)))
