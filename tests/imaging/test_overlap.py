from __future__ import annotations

import numpy as np
import pytest

from sevhisto.imaging.overlap import matched_objects, objects_of, overlap


def disc(radius: float, y: float = 50, x: float = 50) -> np.ndarray:
    rows, columns = np.mgrid[:100, :100]
    return np.hypot(rows - y, columns - x) <= radius


def test_areas_dice_and_border_of_discs() -> None:
    found = overlap(disc(20), disc(30), 2.0)
    assert found.area_a_um2 == pytest.approx(np.pi * 40**2, rel=0.01) and found.area_b_um2 == pytest.approx(np.pi * 60**2, rel=0.01)
    assert found.dice == pytest.approx(2 * 400 / (400 + 900), rel=0.01)
    assert found.border_p95_um == pytest.approx(20, abs=1.5)  # 10 pixels of 2 um
    same = overlap(disc(20), disc(20), 2.0)
    assert (same.dice, same.border_p95_um) == (1.0, 0.0)
    shifted = overlap(disc(20), disc(20, x=56), 1.0)
    assert shifted.border_p95_um == pytest.approx(6, abs=0.5)
    assert overlap(disc(20), disc(20, x=56), 1.0) == overlap(disc(20, x=56), disc(20), 1.0)


def test_nothing_on_one_side_is_no_overlap_and_on_both_is_no_number() -> None:
    none = np.zeros((100, 100), bool)
    found = overlap(disc(10), none, 1.0)
    assert (found.dice, found.area_b_um2) == (0.0, 0.0) and np.isnan(found.border_p95_um)
    assert np.isnan(overlap(none, none, 1.0).dice)


def test_objects_match_by_at_least_half_of_their_union() -> None:
    a, b = np.zeros((2, 10, 30), np.int64)
    a[:, :10], a[:, 10:20] = 1, 2
    b[:, :10], b[:, 15:25], b[:, 28:] = 7, 8, 9
    assert matched_objects(a, b) == (2, 3, 1)  # 2 and 8 share a third
    b[:, 10:20] = 8
    b[:, 20:25] = 0
    assert matched_objects(a, b) == (2, 3, 2)
    assert matched_objects(a * 0, b) == (0, 3, 0)
    parts = objects_of((disc(10, 20, 20) | disc(10, 70, 70)).astype(np.int64) * 255)
    assert set(np.unique(parts)) == {0, 1, 2}
