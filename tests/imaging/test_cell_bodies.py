"""Whole cells: ramified shapes are one, touching ones are two, fragments are none."""

from __future__ import annotations

import cv2
import numpy as np

from sevhisto.imaging.cell_bodies import find_cells

UM = 0.75


def star(image, y, x, level, turn=0.0, arms=5, reach=26):
    """Paint a body of 8 um across with thin processes."""
    cv2.circle(image, (x, y), 7, level, -1, cv2.LINE_AA)
    for k in range(arms):
        angle = turn + 2 * np.pi * k / arms
        cv2.line(image, (x, y), (round(x + reach * np.cos(angle)), round(y + reach * np.sin(angle))), level, 2, cv2.LINE_AA)


def field(*cells):
    image = np.zeros((300, 300), np.float32)
    for cell in cells:
        one = np.zeros_like(image)
        star(one, *cell)
        image = np.maximum(image, one)
    image = cv2.GaussianBlur(image, (0, 0), 1.0)
    return image + np.random.default_rng(3).normal(20, 2, image.shape).astype(np.float32)


PLACES = [(60, 60), (70, 220), (220, 120)]


def test_ramified_cells_are_whole():
    labels = find_cells(field(*((y, x, 200) for y, x in PLACES)), UM)
    assert len(np.unique(labels)) == 4
    for y, x in PLACES:
        truth = field((y, x, 200)) > 120
        mine = labels == labels[y, x]
        around = cv2.dilate(truth.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0  # blur carries processes some pixels out
        assert (mine & truth).sum() > 0.98 * truth.sum()
        assert (mine & around).sum() > 0.98 * mine.sum()


def test_dim_cells_are_found_beside_bright_ones():
    labels = find_cells(field(*((y, x, v) for (y, x), v in zip(PLACES, (300, 100, 200), strict=True))), UM)
    assert len({labels[y, x] for y, x in PLACES} - {0}) == len(np.unique(labels)) - 1 == 3


def test_cells_that_touch_with_their_processes_are_two_and_specks_are_none():
    image = field((150, 90, 200, 0.0), (150, 142, 200, np.pi / 5))
    image[20:23, 20:23] += 200
    labels = find_cells(image, UM)
    assert len(np.unique(labels)) == 3
    assert labels[150, 90] != labels[150, 142]
    assert labels[21, 21] == 0


def test_a_flat_image_has_none():
    assert not find_cells(np.full((50, 50), 9.0, np.float32), UM).any()
