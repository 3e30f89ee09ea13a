"""The scrambled joint tally: the kernel against plain NumPy, and what it says where the truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging import kernels
from sevhisto.imaging.scramble import BLOCK_UM, DIRECTIONS, REACH_UM, ROW_STEP, block_px, chosen_moves, moves_px, scramble_block
from sevhisto.imaging.tally import scrambled_tally
from sevhisto.types import INTENSITY_EDGES, JOINT_EDGES, N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE, NO_DISTANCE

N_COARSE = len(JOINT_EDGES) + 1


def empty():
    return np.zeros((2, N_JOINT_DISTANCE, N_COARSE, N_COARSE), np.int64)


def partners(shape, corner, um):
    """The pixel that each one meets, by loops; -1 for none, and for rows that are not paired."""
    h, w = shape
    side, moves = block_px(um), moves_px(um)
    out = np.full(shape, -1)
    for y in range(h):
        if (y + corner[0]) % ROW_STEP:
            continue
        for x in range(w):
            row, column = (y + corner[0]) // side, (x + corner[1]) // side
            block = [u for u in range(w) if (u + corner[1]) // side == column]
            move = moves[chosen_moves(np.array([row]), np.array([column]))[0, 0]]
            for down, right in (move, -move):
                if 0 <= y + down < h and block[0] + right >= 0 and block[-1] + right < w:
                    out[y, x] = (y + down) * w + x + right
                    break
    return out


@given(seed=st.integers(0, 10**6), corner=st.tuples(st.integers(0, 50), st.integers(0, 50)))
@settings(max_examples=5, deadline=None)
def test_the_kernel_gives_what_plain_loops_give(seed, corner):
    rng = np.random.default_rng(seed)
    shape, um = (37, 41), 6.0
    place = rng.integers(142, 148, shape).astype(np.int16) + N_DISTANCE * rng.integers(0, 2, shape).astype(np.int16)
    place[rng.random(shape) < 0.2] = kernels.IN_CAVITY - 4
    bins = {m: rng.integers(0, N_INTENSITY, shape).astype(np.int16) for m in "ab"}
    found = {("a", "b"): empty()}
    scramble_block(found, bins, place, corner, um)
    wanted = scrambled_tally(*(v.ravel().astype(np.int64) for v in (place, bins["a"], bins["b"], partners(shape, corner, um))))
    assert np.array_equal(found["a", "b"], wanted) and wanted.sum() > 10


def test_blocks_move_further_than_a_cell_and_neighbours_differ():
    reach = np.hypot(*moves_px(0.5).T) * 0.5
    assert reach.min() > BLOCK_UM and reach.max() == pytest.approx(max(REACH_UM), abs=1)
    assert np.abs(moves_px(0.5).sum(axis=0)).max() <= 4  # in no direction more than in others
    chosen = chosen_moves(np.arange(200), np.arange(200))
    share = np.bincount(chosen.ravel(), minlength=DIRECTIONS) / chosen.size
    assert share == pytest.approx(1 / DIRECTIONS, rel=0.1)
    assert (chosen[1:] == chosen[:-1]).mean() < 0.1 and (chosen[:, 1:] == chosen[:, :-1]).mean() < 0.1


def discs(shape, centres, radius):
    out = np.zeros(shape, np.uint8)
    for y, x in centres:
        cv2.circle(out, (int(x), int(y)), radius, 1, -1)
    return out > 0


def manders(joint, first_positive):
    """Share of the first marker's positive pixels in which the second is positive."""
    positive = joint.sum((0, 1))[first_positive:]
    return positive[:, first_positive:].sum() / positive.sum()


@pytest.mark.parametrize(("together", "low", "high"), [(False, 0.8, 1.25), (True, 3.0, 8.0)])
def test_chance_is_found_where_both_crowd_in_the_same_place(together, low, high):
    """Cells crowd in the middle, for both markers: over the area fraction they seem to go together although they do not."""
    rng = np.random.default_rng(8)
    shape, um = (1400, 1400), 1.0

    def crowd(n):
        return np.clip(rng.normal(700, 160, (n, 2)), 0, 1399).astype(int)

    centres = crowd(900)
    a = discs(shape, centres, 6)
    b = discs(shape, centres[:450] if together else crowd(450), 6)
    above = int(np.searchsorted(INTENSITY_EDGES, 100.0))
    bins = {m: np.where(v, above + 40, 10).astype(np.int16) for m, v in (("a", a), ("b", b))}
    place = np.full(shape, NO_DISTANCE, np.int16)
    joint, apart = empty(), {("a", "b"): empty()}
    kernels.joint_into(place, bins["a"], bins["b"], joint)
    scramble_block(apart, bins, place, (0, 0), um)
    first = 20
    assert manders(joint, first) / b.mean() > 2  # over the area fraction
    assert low < manders(joint, first) / manders(apart["a", "b"], first) < high
