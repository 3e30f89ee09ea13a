"""Zones and regions of a section as labels at full resolution, tile by tile, with levels: compressed as they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import imagecodecs
import numpy as np

from sevhisto.config import StudyConfig
from sevhisto.types import DISTANCE_EDGES_UM, N_DISTANCE, AnyArray, IntArray

SMALLEST = 128
"""Levels are halved until the longer side is at most this."""
TILE = 1024
REGIONS = {1: "tissue", 2: "cavity", 3: "masked"}


class Places(Protocol):
    """Where pixels count: see imaging.places.SectionPlaces."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the section at full resolution."""

    def at(self, y: IntArray, x: IntArray) -> AnyArray:
        """Return codes (len(y), len(x)) int16: four times the distance bin, plus the region (0 outside, then `REGIONS`)."""

    def range_at(self, y: IntArray, x: IntArray) -> tuple[int, int] | None:
        """Return the lowest and highest code there; None where pixels of several regions are."""


@dataclass(frozen=True)
class Level:
    """One level: height and width, side of its square tiles, and the tiles row by row, each a zlib stream of (side, side) uint8.

    Tiles at the lower and right edge are filled up with 0.
    """

    shape: tuple[int, int]
    side: int
    tiles: list[bytes]


@dataclass(frozen=True)
class Labels:
    """A label image: 0 is none, and the name of each value."""

    name: str
    names: Mapping[int, str]
    levels: list[Level]


def levels_of(shape: tuple[int, ...]) -> int:
    """Return how many levels an image of this shape gets."""
    return 1 + max(0, int(np.ceil(np.log2(max(max(shape[-2:]), 1) / SMALLEST))))


def section_labels(places: Places, config: StudyConfig) -> list[Labels]:
    """Return the labels of a section: ``zones`` (the core is 1, then outwards) and ``regions`` (tissue 1, cavity 2, masked 3).

    A level shows the middle one of the full-resolution pixels that each of its pixels stands for, so that no label is made up.
    """
    zones = [name for name in config.zones.ranges if name != "all"]
    tables = {"zones": _zone_of_code(config), "regions": np.arange(4 * N_DISTANCE, dtype=np.uint8) % 4}
    levels = [_level(places, 2**i, list(tables.values())) for i in range(levels_of(places.shape))]
    names = (dict(enumerate(zones, 1)), REGIONS)
    return [Labels(name, named, [level[k] for level in levels]) for k, (name, named) in enumerate(zip(tables, names, strict=True))]


def _zone_of_code(config: StudyConfig) -> AnyArray:
    """Return the zone of each code, (4 * N_DISTANCE,) uint8; what is no examined tissue is in none."""
    lower = np.concatenate([[-np.inf], DISTANCE_EDGES_UM, [np.nan]])  # the last bin is for sections without a core
    table = np.zeros((N_DISTANCE, 4), np.uint8)
    for i, (low, high) in enumerate((r for name, r in config.zones.ranges.items() if name != "all"), 1):
        table[(lower >= low) & (lower < high), 1] = i
    return table.ravel()


def _level(places: Places, step: int, tables: list[AnyArray]) -> list[Level]:
    """Return one level of each kind of label, whose pixels stand for `step` x `step` of full resolution."""
    height, width = (-(-n // step) for n in places.shape)
    side = min(TILE, 16 * -(-max(height, width) // 16))
    y, x = (np.minimum(np.arange(n) * step + step // 2, whole - 1) for n, whole in zip((height, width), places.shape, strict=True))
    found: list[list[bytes]] = [[] for _ in tables]
    even: dict[tuple[int, int, int], bytes] = {}
    for rows, columns in ((y[i : i + side], x[j : j + side]) for i in range(0, height, side) for j in range(0, width, side)):
        for tiles, tile in zip(found, _tiles(places, rows, columns, tables), strict=True):
            tiles.append(_packed(tile, rows, columns, side, even))
    return [Level((height, width), side, tiles) for tiles in found]


def _tiles(places: Places, y: IntArray, x: IntArray, tables: list[AnyArray]) -> Iterator[AnyArray | int]:
    """Yield one tile of each kind of label, or its only value: most tiles have no border in them."""
    within = places.range_at(y, x)
    codes = None
    for table in tables:
        if within is not None and table[within[0]] == table[within[1]]:  # zones are in the order of their distance
            yield int(table[within[0]])
            continue
        codes = places.at(y, x) if codes is None else codes
        yield table[codes]


def _packed(tile: AnyArray | int, y: IntArray, x: IntArray, side: int, even: dict[tuple[int, int, int], bytes]) -> bytes:
    """Return a tile as it is stored; `even` keeps those of one value."""
    key = (tile, len(y), len(x)) if isinstance(tile, int) else None
    if key is not None and key in even:
        return even[key]
    whole = np.zeros((side, side), np.uint8)
    whole[: len(y), : len(x)] = tile
    data = zlib_stream(whole)
    if key is not None:
        even[key] = data
    return data


def zlib_stream(pixels: AnyArray) -> bytes:
    """Return pixels as a zlib stream, made by libdeflate in a third of zlib's time."""
    return bytes(imagecodecs.deflate_encode(pixels.tobytes(), level=1, raw=False))
