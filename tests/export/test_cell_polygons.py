"""Cells as polygons: few corners, near the pixels' edges, with the area of the cell."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sevhisto.export.cell_polygons import LEAVES_OUT, polygon_texts
from sevhisto.imaging.outlining import cell_outlines
from sevhisto.rings import signed_area


def polygons(labels: np.ndarray, n: int, step: int = 1, corner: tuple[float, float] = (0, 0), areas: np.ndarray | None = None) -> list:
    outlines = cell_outlines(labels, np.arange(1, n + 1), step, (0, 0))
    size = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    place = np.array([np.argwhere(labels == k).mean(axis=0) if (labels == k).any() else (3.0, 3.0) for k in range(1, n + 1)])
    centres = (place + 0.5) * step + corner
    texts = polygon_texts(outlines, slice(0, n), corner, centres, (size * float(step) ** 2) if areas is None else areas)
    return [np.array(json.loads(f"[{t}]")) for t in texts.to_pylist()]


def test_polygons_have_the_area_of_the_cell_and_lie_along_its_pixels() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:40, :40]
    labels = np.zeros((40 * 6, 40), np.int64)
    for k in range(6):
        a, b, turn = *rng.uniform(3, 12, 2), rng.uniform(0, np.pi)
        v, u = (y - 19.5) * np.cos(turn) + (x - 20.2) * np.sin(turn), (x - 20.2) * np.cos(turn) - (y - 19.5) * np.sin(turn)
        labels[40 * k : 40 * k + 40][(u / a) ** 2 + (v / b) ** 2 < 1] = k + 1
    for step, corner in ((1, (0.0, 0.0)), (3, (70.0, 1000.0))):
        for k, ring in enumerate(polygons(labels, 6, step, corner), 1):
            assert np.array_equal(ring[0], ring[-1]) and 5 <= len(ring) <= 40
            assert abs(signed_area(ring[:-1, ::-1])) == pytest.approx((labels == k).sum() * step**2, rel=0.002)
            inside = np.argwhere(labels == k) + 0.5
            away = [np.abs(inside - (p[::-1] - corner) / step).max(axis=1).min() for p in ring]  # from the middle of the nearest pixel
            assert max(away) < 0.5 + LEAVES_OUT


def test_a_cell_without_pixels_is_an_octagon_and_one_in_parts_keeps_the_outline_of_its_largest() -> None:
    labels = np.zeros((12, 12), np.int64)
    labels[0:3, 0:3] = labels[6:12, 6:12] = 1
    two, none = polygons(labels, 2, areas=np.array([45.0, 20.0]))
    assert two.min() > 5.9 and abs(signed_area(two[:-1])) == pytest.approx(36, rel=0.002)
    assert len(none) == 9 and abs(signed_area(none[:-1])) == pytest.approx(20, rel=0.005)


def test_numbers_are_written_as_they_are() -> None:
    labels = np.zeros((3, 3), np.int64)
    labels[1, 1] = 1
    for corner in ((-1.5, 0.0), (0.25, 1e6), (-1000.0, 99.99)):
        (ring,) = polygons(labels, 1, corner=corner)
        centre = np.array(corner)[::-1] + 1.5
        assert np.abs(ring[:-1].mean(axis=0) - centre).max() < 0.01 and np.abs(ring - centre).max() < 1
