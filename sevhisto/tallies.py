"""What deciding needs of a section's record, without its maps and without the empty bins: a few ms to read, sum over zones, and drop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from sevhisto.types import INTENSITY_EDGES, JOINT_EDGES, NEAR_VESSEL, AnyArray, FloatArray, IntArray, SectionRecord

COARSE_OF_FINE: IntArray = np.concatenate([[0], np.searchsorted(JOINT_EDGES, INTENSITY_EDGES, side="right")]).astype(np.int64)
"""Coarse bin of each fine intensity bin; exact, because every coarse edge is a fine edge."""
COARSE_STARTS: IntArray = np.flatnonzero(np.diff(COARSE_OF_FINE, prepend=-1)).astype(np.int64)
"""First fine bin of each coarse one."""
_FIRST_POSITIVE = int(np.searchsorted(INTENSITY_EDGES, 0.0)) + 1
Kind = tuple[str, str]
"""What a tally counts, and the marker (of a joint tally both, as JSON); no marker where it holds all of them."""
Reach = tuple[int, int, tuple[int, ...]]
"""Distance bins of a zone, from the first to before the last, and its sides."""


@dataclass(frozen=True)
class Sparse:
    """A tally by marker, side and distance, without its zeros.

    Attributes
    ----------
    shape : of the whole: (n_lead, 2 sides, n_distance, n_cells); n_lead is 1, or the markers
    cells : shape of what one distance holds; its product is n_cells
    start : (n_lead * 2 * n_distance + 1,) int32, where the entries of each row begin
    column : (n,) uint16, which cell
    value : (n,) of any integer type
    """

    shape: tuple[int, int, int, int]
    cells: tuple[int, ...]
    start: AnyArray
    column: AnyArray
    value: AnyArray

    @classmethod
    def of(cls, values: IntArray) -> Sparse:
        """Return (n_lead, 2, n_distance, ...) int64 without its zeros."""
        n_lead, _, n_distance, *cells = values.shape
        rows = np.ascontiguousarray(values).reshape(n_lead * 2 * n_distance, -1)
        row, column = np.nonzero(rows)
        start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(rows)))])
        shape = (n_lead, 2, n_distance, rows.shape[1])
        return cls(shape, tuple(cells), start.astype(np.int32), column.astype(np.uint16), smallest(rows[row, column]))

    def over(self, zones: Iterable[Reach]) -> IntArray:
        """Return the sums over each zone, (n_zones, n_lead, *cells) int64."""
        n_lead, _, n_distance, n_cells = self.shape
        members, part = _parts(tuple(zones), n_distance)
        n_parts = int(part.max()) + 1
        at = ((np.arange(n_lead)[:, None] * n_parts + part) * n_cells).ravel()
        flat = np.zeros(n_lead * n_parts * n_cells, np.int64)
        np.add.at(flat, np.repeat(at, np.diff(self.start)) + self.column, self.value.astype(np.int64))
        parts = flat.reshape(n_lead, n_parts, n_cells)
        summed = np.empty((len(members), n_lead, n_cells), np.int64)
        for zone, mine in zip(summed, members, strict=True):
            zone[:] = parts[:, mine[0]] if len(mine) == 1 else parts[:, mine].sum(axis=1)
        return summed.reshape(len(members), n_lead, *self.cells)


@cache
def _parts(zones: tuple[Reach, ...], n_distance: int) -> tuple[tuple[IntArray, ...], IntArray]:
    """Return the parts that make each zone, and the part of each side and distance, (2 * n_distance,): no zone cuts a part."""
    inside = np.zeros((len(zones), 2, n_distance), np.int64)
    for row, (first, stop, sides) in zip(inside, zones, strict=True):
        row[list(sides), first:stop] = 1
    member, part = np.unique(inside.reshape(len(zones), -1), axis=1, return_inverse=True)
    return tuple(np.flatnonzero(row) for row in member), part.ravel()


def smallest(values: AnyArray) -> AnyArray:
    """Return integers in the smallest type that holds them."""
    if values.size == 0:
        return values.astype(np.uint8)
    dtype = np.result_type(np.min_scalar_type(int(values.min())), np.min_scalar_type(int(values.max())))
    return values.astype(dtype if dtype.kind in "iu" else np.int64)  # uint64 with int8 would become float64


@dataclass(frozen=True)
class Tallies:
    """A section's record without its maps.

    Attributes
    ----------
    meta, markers, cells, cell_spots : as in the record
    contour : sha256 of the maps of core and masked area, and of the area of drawn white matter
    sums : by kind: ``counts`` and ``signal`` hold all markers; ``cavity``, ``masked``; of a pair or marker ``joint``, ``scrambled``,
        ``near vessel``, ``positive`` (intensity above zero, by coarse bin), ``fibres``, ``puncta``, ``autofluorescent``, ``local``
    """

    meta: dict[str, Any]
    markers: tuple[str, ...]
    contour: str
    sums: dict[Kind, Sparse]
    cells: dict[str, FloatArray] = field(default_factory=dict)
    cell_spots: dict[str, IntArray] = field(default_factory=dict)

    @property
    def px_um2(self) -> float:
        """Area of one pixel in um2."""
        return float(self.meta["um_per_px"]) ** 2

    def named(self, what: str) -> dict[str, Sparse]:
        """Return the tallies of one kind by marker."""
        return {name: tally for (kind, name), tally in self.sums.items() if kind == what}

    @classmethod
    def of(cls, record: SectionRecord) -> Tallies:
        """Return the tallies of a record."""
        sums = {
            ("counts", ""): Sparse.of(record.counts),
            ("signal", ""): Sparse.of(record.sums.sum(axis=3)),
            ("cavity", ""): Sparse.of(record.cavity_px[None]),
            ("masked", ""): Sparse.of(record.masked_px[None]),
        }
        for (first, second), tally in record.joint.items():
            if second == NEAR_VESSEL:
                sums["near vessel", first] = Sparse.of(tally[None])
                continue
            sums["joint", json.dumps([first, second])] = Sparse.of(tally[None])
            for marker in (first, second):
                if ("positive", marker) not in sums:
                    above = record.sums[record.marker_index(marker)].copy()
                    above[..., :_FIRST_POSITIVE] = 0
                    sums["positive", marker] = Sparse.of(np.add.reduceat(above, COARSE_STARTS, axis=-1)[None])
        sums |= {("scrambled", json.dumps(list(pair))): Sparse.of(tally[None]) for pair, tally in record.scrambled.items()}
        for kind in ("fibres", "puncta", "autofluorescent", "local"):
            tallies: dict[str, IntArray] = getattr(record, kind)
            sums |= {(kind, marker): Sparse.of(tally[None]) for marker, tally in tallies.items()}
        return cls(record.meta, record.markers, _contour(record), sums, record.cells, record.cell_spots)


def _contour(record: SectionRecord) -> str:
    digest = hashlib.sha256()
    for name in ("core", "masked"):
        if name in record.masks:
            digest.update(np.ascontiguousarray(record.masks[name]).tobytes())
    white = record.meta.get("white_matter_um2")  # its map is not kept; without any the hash is that of the two maps
    if white is not None:
        digest.update(repr(float(white)).encode())
    return digest.hexdigest()
