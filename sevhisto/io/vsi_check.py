"""Whether the pixels of an Olympus VSI slide are there whole, told from the tile tables of its .ets files before any library opens it.

The layout is after public descriptions (docs/format.md of bioio-vsi 0.1.0, slideio's VSI driver), not after the maker's specification,
which is not public.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sevhisto.io.scene import broken
from sevhisto.io.tiff_check import MAX_SEGMENT_BYTES, MAX_SIDE
from sevhisto.types import AnyArray, SlideError

MAX_TABLE_BYTES, MAX_DIMENSIONS = 2**27, 16
_RECOPY = "copy it and its folder again from the microscope"
_MAIN, _IMAGE = struct.Struct("<4sIIIQIIQI"), struct.Struct("<4s9I")
_PIXEL_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 9: 4, 10: 8}
_RAW = 0


def check_vsi(path: Path) -> None:
    """SlideError where the folder beside a VSI file or the images (.ets) in it are missing, cut short or do not hold what they declare."""
    folder = path.parent / f"_{path.stem}_"
    if not folder.is_dir():
        raise broken(path, f"needs the folder {folder.name}, which is not beside it", _RECOPY)
    parts = sorted(folder.rglob("*.ets"))
    if not parts:
        raise broken(path, f"the folder {folder.name} holds no image (.ets)", _RECOPY)
    for part in parts:
        with part.open("rb") as file:
            _check(path, part.relative_to(path.parent).as_posix(), file, part.stat().st_size)


def _check(path: Path, name: str, file: BinaryIO, size: int) -> None:
    def bad(what: str) -> SlideError:
        return broken(path, f"{name} {what}", _RECOPY)

    head = file.read(_MAIN.size)
    if len(head) < _MAIN.size or head[:4] != b"SIS\0":
        raise bad("is no image of this format, or is damaged")
    _, _, _, ndim, image_at, image_n, _, table_at, n = _MAIN.unpack(head)
    if not 2 < ndim <= MAX_DIMENSIONS or n < 1:
        raise bad(f"declares {n} tiles in {ndim} dimensions")
    record = np.dtype([("ndim", "<u4"), ("place", "<i4", (ndim,)), ("at", "<u8"), ("n", "<u4"), ("more", "<u4")])
    if max(image_at + max(image_n, _IMAGE.size), table_at + n * record.itemsize) > size:
        raise bad(f"is cut short: it refers to data beyond its {size} bytes")
    if n * record.itemsize > MAX_TABLE_BYTES:
        raise bad(f"declares {n} tiles")
    file.seek(image_at)
    magic, _, kind, samples, _, packing, _, w, h, depth = _IMAGE.unpack(file.read(_IMAGE.size))
    tile_bytes = w * h * samples * _PIXEL_BYTES.get(kind, 0)
    if magic != b"ETS\0" or not 0 < tile_bytes <= MAX_SEGMENT_BYTES or max(w, h) > MAX_SIDE or depth > 1:
        raise bad(f"declares tiles of {w} x {h} pixels with {samples} samples of kind {kind}")
    file.seek(table_at)
    tiles = np.frombuffer(file.read(n * record.itemsize), record)
    if (tiles["ndim"] != ndim).any() or (tiles["place"] < 0).any():
        raise bad("has a damaged table of tiles")
    if (tiles["n"] == 0).any() or (tiles["at"] == 0).any():
        raise bad(f"lacks {int(((tiles['n'] == 0) | (tiles['at'] == 0)).sum())} of {n} tiles")
    if (tiles["at"] > size).any() or (tiles["at"] + tiles["n"] > size).any():
        raise bad(f"is cut short: a tile ends beyond its {size} bytes")
    wrong = int((tiles["n"] != tile_bytes).sum()) if packing == _RAW else 0
    if wrong:
        raise bad(f"has {wrong} of {n} tiles that do not hold the {tile_bytes} bytes of their pixels")
    missing = _missing(tiles["place"])
    if missing:
        raise bad(missing)


def _missing(places: AnyArray) -> str:
    """Say which tiles of one plane at full resolution another has; every channel and plane must have the same."""
    if len(np.unique(places, axis=0)) != len(places):
        return "has two tiles at one place"
    full = places[places[:, -1] == 0]
    planes: dict[tuple[int, ...], set[Any]] = {}
    for place in full.tolist():
        planes.setdefault(tuple(place[2:-1]), set()).add((place[0], place[1]))
    if not planes:
        return "holds no image at full resolution"
    every = set.union(*planes.values())
    for plane, tiles in planes.items():
        if tiles != every:
            return f"lacks {len(every - tiles)} of {len(every)} tiles in plane {', '.join(map(str, plane))}"
    return ""
