"""Outlines of label masks: filled again they are the masks, whatever the masks look like."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sevhisto.imaging.outlining import cell_outlines, joined
from sevhisto.types import CellOutlines

DY, DX = np.array([0, 1, 0, -1]), np.array([1, 0, -1, 0])


def filled(outlines: CellOutlines, i: int, shape: tuple[int, int]) -> np.ndarray:
    """The pixels right of an outline, by counting the edges to the left of each."""
    begin = int(outlines.length[:i].sum())
    turns = np.array([0, -1, 1])[outlines.turns[begin : begin + outlines.length[i]]]
    heading = np.concatenate([[0], np.cumsum(turns)[:-1]]) % 4
    y = outlines.start[i, 0] // outlines.step + np.cumsum(DY[heading]) - DY[heading]
    x = outlines.start[i, 1] // outlines.step + np.cumsum(DX[heading]) - DX[heading]
    assert (y[-1] + DY[heading[-1]], x[-1] + DX[heading[-1]]) == (y[0], x[0])
    crossed = np.zeros((shape[0], shape[1] + 1), int)
    np.add.at(crossed, (y[heading == 3] - 1, x[heading == 3]), 1)  # up: the label is to the right
    np.add.at(crossed, (y[heading == 1], x[heading == 1]), -1)
    return np.cumsum(crossed, axis=1)[:, :-1] > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.7]), st.integers(1, 3))
def test_an_outline_filled_again_is_the_largest_part_without_holes(seed: int, share: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((9, 11)) < share, rng.integers(1, n + 1, (9, 11)), 0)
    chosen = np.array([k for k in range(1, n + 1) if (labels == k).any()], np.int64)
    outlines = cell_outlines(labels.astype(np.int64), chosen, 2, (0, 0))
    for i, k in enumerate(chosen):
        parts, _ = ndimage.label(labels == k, np.ones((3, 3)))
        whole = [ndimage.binary_fill_holes(parts == p) for p in range(1, parts.max() + 1)]
        found = filled(outlines, i, labels.shape)
        assert any(np.array_equal(found, part) for part in whole)
        assert found.sum() == max(part.sum() for part in whole)


def test_places_are_those_of_the_slide_and_blocks_are_joined_in_order() -> None:
    labels = np.zeros((4, 5), np.int64)
    labels[1:3, 2:4] = 7
    labels[0, 0] = 3
    outlines = cell_outlines(labels, np.array([3, 7, 9]), 4, (100, 200))  # 9 has no pixel
    assert outlines.start[:2].tolist() == [[100, 200], [104, 208]] and outlines.length.tolist() == [4, 8, 0]
    both = joined([outlines, cell_outlines(labels, np.array([7]), 4, (0, 0))], np.array([3, 2, 1, 0]))
    assert both.length.tolist() == [8, 0, 8, 4] and both.start[0].tolist() == [4, 8]
    assert both.turns.tolist() == [*outlines.turns[4:], *outlines.turns[4:], *outlines.turns[:4]]


def test_no_label_has_no_outline() -> None:
    outlines = cell_outlines(np.zeros((3, 4), np.int64), np.zeros(0, np.int64), 1, (0, 0))
    assert len(outlines.length) == len(outlines.turns) == 0
