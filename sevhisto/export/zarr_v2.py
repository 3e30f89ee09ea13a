"""Zarr, version 2: arrays as files of chunks, written as the specification says (zarr-specs, v2/v2.0), which takes no library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Place = tuple[int, ...]
ZLIB = {"id": "zlib", "level": 1}


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Make a group with attributes."""
    folder.mkdir(parents=True)
    _write(folder / ".zgroup", {"zarr_format": 2})
    _write(folder / ".zattrs", attributes)


def write_array(
    folder: Path, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str, data: Iterable[tuple[tuple[int, ...], bytes]]
) -> None:
    """Write an array from its chunks: the place of each, and its bytes as a zlib stream, those at the edges filled up."""
    folder.mkdir()
    facts = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "compressor": ZLIB, "fill_value": 0, "order": "C"}
    _write(folder / ".zarray", facts | {"filters": None, "dimension_separator": "/"})
    for place, chunk in data:
        path = folder.joinpath(*map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chunk)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
