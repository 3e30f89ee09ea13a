"""What colocalisation would be by chance: one marker in blocks that are moved within the section.

Pixels of one marker meet the other marker as it is in another block near by, at the same distance from the lesion and on the same side. So
the density of both, which differs between places, stays; the shapes inside a block stay, as a scramble of blocks asks for [Costes 2004];
only what puts the two markers on the same pixel is gone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.imaging.tally import COARSE_OF_FINE, JOINT_OF_DISTANCE
from sevhisto.types import N_DISTANCE, AnyArray, IntArray

BLOCK_UM = 15.0
"""Side of a block: a macrophage."""
REACH_UM = (25.0, 40.0)
"""How far blocks are moved, alternately: further than a cell, nearer than the density of the tissue changes."""
DIRECTIONS = 16
ROW_STEP = 8
"""Every eighth row is paired: what it tells is an average."""


def block_px(um: float) -> int:
    """Return the side of a block in pixels."""
    return max(1, round(BLOCK_UM / um))


def moves_px(um: float) -> IntArray:
    """Return the (DIRECTIONS, 2) moves of a block along y and x, in pixels, in one turn."""
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    reach = np.resize(REACH_UM, DIRECTIONS) / um
    return np.asarray(np.rint(np.stack([reach * np.sin(angle), reach * np.cos(angle)], axis=1)), np.int64)


def chosen_moves(rows: IntArray, columns: IntArray) -> IntArray:
    """Return which move each block of the section takes, (n_rows, n_columns) int64, by its row and column alone.

    A hash, so that neighbours differ: the finaliser of SplitMix64 [Steele, Lea and Flood 2014].
    """
    z = rows.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15) + columns.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((z ^ (z >> np.uint64(31))) % np.uint64(DIRECTIONS), np.int64)


def scramble_block(
    totals: Mapping[tuple[str, str], IntArray], bins: Mapping[str, AnyArray], place: AnyArray, corner: tuple[int, int], um: float
) -> None:
    """Add a block of the pass to the scrambled joint tally of every pair.

    Parameters
    ----------
    totals : {pair: (2, N_JOINT_DISTANCE, 64, 64) int64}
    bins : {marker: (h, w)}, fine intensity bin of each examined pixel
    place : (h, w), side * N_DISTANCE + distance bin, below zero where not examined
    corner : (y, x) of the block in the section
    """
    side, (h, w) = block_px(um), place.shape
    rows, columns = (np.arange(at // side, (at + n - 1) // side + 1) for at, n in zip(corner, (h, w), strict=True))
    chosen, moves = chosen_moves(rows, columns), moves_px(um)
    for (a, b), counts in totals.items():
        _pair_blocks(place, bins[a], bins[b], corner[0], corner[1], side, moves, chosen, counts)


@compiled
def _pair_blocks(
    place: AnyArray, bins_a: AnyArray, bins_b: AnyArray, y0: int, x0: int, side: int, moves: IntArray, chosen: IntArray, counts: IntArray
) -> None:
    """As tally.scrambled_tally of every eighth row of the section."""
    h, w = place.shape
    for y in range(-y0 % ROW_STEP, h, ROW_STEP):
        row = (y0 + y) // side - y0 // side
        for column in range(chosen.shape[1]):
            first = max((x0 // side + column) * side - x0, 0)
            end = min((x0 // side + column + 1) * side - x0, w)
            down, right = moves[chosen[row, column], 0], moves[chosen[row, column], 1]
            if not _fits(y + down, first + right, end + right, h, w):  # the grid of the pass ends there: the other way
                down, right = -down, -right
                if not _fits(y + down, first + right, end + right, h, w):
                    continue
            for x in range(first, end):
                here, there = np.int64(place[y, x]), np.int64(place[y + down, x + right])
                if here >= 0 and there >= 0:
                    half = np.int64(here >= N_DISTANCE)
                    other = np.int64(there >= N_DISTANCE)
                    far = JOINT_OF_DISTANCE[here - half * N_DISTANCE]
                    alike = half == other and far == JOINT_OF_DISTANCE[there - other * N_DISTANCE]
                    # adding 0 is quicker than a branch that nobody can foresee
                    counts[half, far, COARSE_OF_FINE[bins_a[y, x]], COARSE_OF_FINE[bins_b[y + down, x + right]]] += np.int64(alike)


@compiled
def _fits(y: int, first: int, end: int, h: int, w: int) -> bool:
    return bool(y >= 0 and y < h and first >= 0 and end <= w)
