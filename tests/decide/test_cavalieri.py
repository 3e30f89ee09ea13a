"""The coefficient of error: worked by hand, and against every start of a series through known objects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sevhisto.decide.cavalieri import coefficient_of_error, equally_spaced


def random_start_error(profile: np.ndarray, step: int) -> float:
    """The true coefficient of error of sampling a known object: the relative SD of the volume over every start of the series."""
    totals = np.array([profile[start::step].sum() for start in range(step)])
    return float(totals.std() / totals.mean())


def test_the_formula_by_hand() -> None:
    area = np.array([1.0, 2.0, 1.0])  # A = 6, B = 4, C = 1: 18 - 16 + 1 = 3
    assert coefficient_of_error(area, 0) == pytest.approx(math.sqrt(3 / 12) / 4)
    assert coefficient_of_error(area, 1) == pytest.approx(math.sqrt(3 / 240) / 4)


@pytest.mark.parametrize(
    ("area", "rough", "smooth"),
    [([1.0, 3, 5, 4, 2], 0.054433, 0.012172), ([0.4, 1.1, 1.9, 2.3, 2.2, 1.6, 0.8, 0.2], 0.021296, 0.004762)],
)
def test_values_worked_out_elsewhere(area: list[float], rough: float, smooth: float) -> None:
    assert coefficient_of_error(np.array(area), 0) == pytest.approx(rough, abs=1e-6)
    assert coefficient_of_error(np.array(area), 1) == pytest.approx(smooth, abs=1e-6)


@pytest.mark.parametrize("area", [[1.0, 2.0], [0.0, 0.0, 0.0], []])
def test_nothing_is_said_of_too_few_sections_or_no_area(area: list[float]) -> None:
    assert math.isnan(coefficient_of_error(np.array(area), 1))


def test_it_does_not_depend_on_the_unit_or_the_direction() -> None:
    area = np.array([1.0, 4.0, 6.0, 2.0, 0.5])
    for m in (0, 1):
        assert coefficient_of_error(1e6 * area[::-1], m) == pytest.approx(coefficient_of_error(area, m))
        assert coefficient_of_error(np.array([0, *area, 0.0]), m) == pytest.approx(coefficient_of_error(area, m))  # glass beyond it


@pytest.mark.parametrize(("shape", "m"), [("cylinder", 0), ("ellipsoid", 1)])
def test_each_class_tells_the_error_of_its_kind_of_object(shape: str, m: int) -> None:
    x = (np.arange(60_000) - 30_000) / 20_000
    profile = (np.abs(x) < 1).astype(float) if shape == "cylinder" else np.clip(1 - x**2, 0, None)
    ratios = []
    for step in range(6700, 8700, 100):  # 5 to 6 sections
        told = [coefficient_of_error(profile[start::step], m) ** 2 for start in range(0, step, 50)]
        ratios.append((np.mean(told), random_start_error(profile, step) ** 2))
    told, true = np.mean(ratios, axis=0)
    assert 0.7 < math.sqrt(told / true) < 1.4


@pytest.mark.parametrize(
    ("position", "even"),
    [([400.0, 0, 200], True), ([0.0, 200, 410], True), ([0.0, 200, 600], False), ([0.0, math.nan, 400], False), ([0.0, 0, 0], False)],
)
def test_places_are_even_or_not(position: list[float], even: bool) -> None:
    assert equally_spaced(np.array(position)) is even
