"""Direction, width and length of fibres from sums: properties and known shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.decide.fibres import GRADIENT_QUANTUM, coherency, fibre_angle, level_set, rotated
from sevhisto.types import JOINT_EDGES

DEGREES = st.floats(0, 180, allow_nan=False)


def of_fibres(deg):
    """Tensor of fibres at an angle from x towards y: the gradient lies across them."""
    across = math.radians(deg + 90)
    return math.cos(across) ** 2, math.sin(across) ** 2, math.cos(across) * math.sin(across)


@given(DEGREES)
def test_the_angle_of_fibres_is_that_to_the_first_axis(deg):
    away = min(deg % 180, 180 - deg % 180)
    assert fibre_angle(*of_fibres(deg)) == pytest.approx(away, abs=1e-6)


@given(DEGREES, DEGREES, st.floats(0, 5), st.floats(0, 5))
def test_turning_the_frame_turns_the_fibres_and_changes_nothing_else(deg, turn, a, b):
    tensor = np.array(of_fibres(deg)) * a + np.array(of_fibres(deg + 90)) * b
    turned = rotated(*tensor, turn)
    assert turned[0] + turned[1] == pytest.approx(tensor[0] + tensor[1])
    if a + b > 1e-3:
        assert coherency(*turned) == pytest.approx(coherency(*tensor), abs=1e-9)
    if a > b + 1e-3:
        assert fibre_angle(*turned) == pytest.approx(fibre_angle(*of_fibres(deg - turn)), abs=1e-4)


def test_without_direction_there_is_no_angle():
    assert math.isnan(fibre_angle(2, 2, 0)) and math.isnan(fibre_angle(0, 0, 0))


@given(st.floats(30, 300), st.floats(2, 40))
@settings(max_examples=30, deadline=None)
def test_area_and_outline_of_a_cone_at_any_threshold(threshold, steep):
    """A cone of height 500 that falls by `steep` per pixel is a disc at every threshold."""
    radius = 500 / steep
    r = (np.arange(200_000) + 0.5) / 200_000 * radius
    ring, value = 2 * np.pi * r * radius / 200_000, 500 - steep * r
    bins = np.searchsorted(JOINT_EDGES, value, side="right")
    pixels = np.bincount(bins, ring * 1e6, minlength=len(JOINT_EDGES) + 1)[None].astype(np.int64)
    slope = np.bincount(bins, ring * steep / GRADIENT_QUANTUM * 1e6, minlength=len(JOINT_EDGES) + 1)[None].astype(np.int64)
    area, outline = (v[0] / 1e6 for v in level_set(pixels, slope, threshold))
    true = (500 - threshold) / steep
    assert outline == pytest.approx(2 * np.pi * true, rel=0.03)
    assert area == pytest.approx(np.pi * true**2, rel=0.06)  # a coarse bin is a quarter of its intensity wide


def test_beyond_the_bins_nothing_is_known():
    none = np.zeros((1, len(JOINT_EDGES) + 1), np.int64)
    assert np.isnan(level_set(none, none, float(JOINT_EDGES[-1]))).all()
    assert level_set(none, none, 50.0) == ([0.0], [0.0])
