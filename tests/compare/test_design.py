"""What the design hides, and the next study: check values of the specification, SciPy, and sections made to be alike."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sevhisto.compare.design import components, hidden, p_of_cells, p_of_sections
from sevhisto.compare.planning import animals_needed, arm_variance, plan_table, power
from sevhisto.schema import DESIGN, PLAN, SPREAD

ROWS = np.array([[12, 14, 13], [20, 19, 22], [15, 17, 14], [25, 24, 27.0]])


def sums(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.full(len(rows), float(rows.shape[1])), rows.mean(axis=1), ((rows - rows.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)


def test_icc_and_design_effect_of_the_specification():
    # check_values.py, "ICC1": MSB 90.3333, MSW 2.0, ICC 0.936396, DEFF 2.872792
    found = components(*sums(ROWS), np.zeros(4))
    assert (found.icc, found.design_effect) == pytest.approx((0.936396, 2.872792), abs=5e-7)
    assert (found.within, found.between) == pytest.approx((2.0, (90.33333333 - 2) / 3))
    assert found.icc_low < found.icc < found.icc_high


def test_components_do_not_take_a_group_difference_for_animals():
    shifted = np.concatenate([ROWS, ROWS + 100])
    found = components(*sums(shifted), np.repeat([0.0, 1.0], 4))
    assert found.icc == pytest.approx(0.936396, abs=5e-7)


def test_few_animals_or_equal_sections_are_told():
    assert math.isnan(components(*sums(ROWS[:1]), np.zeros(1)).icc)
    assert math.isnan(components(*sums(np.ones((4, 3))), np.zeros(4)).icc)
    assert components(*sums(np.repeat([[1.0], [2.0], [4.0]], 3, axis=1)), np.zeros(3)).icc == 1.0


def test_p_of_sections_and_cells_are_the_naive_tests():
    a, b = ROWS[:2], ROWS[2:] + 1.0
    n, mean, squares = sums(np.concatenate([a, b]))
    arm = np.array([0.0, 0, 1, 1])
    expected = stats.ttest_ind(a.ravel(), b.ravel(), equal_var=False).pvalue
    assert p_of_sections(n, mean, squares, arm, {0.0: 1.0, 1.0: -1.0}) == pytest.approx(expected)
    positive, cells = np.array([30.0, 20, 50, 45]), np.array([100.0, 80, 110, 90])
    # R: prop.test(c(50, 95), c(180, 200), correct = FALSE)$p.value
    chi2 = stats.chi2_contingency([[50, 130], [95, 105]], correction=False)
    assert p_of_cells(positive, cells, np.array([True, True, False, False])) == pytest.approx(chi2.pvalue)


def test_the_table_has_the_wrong_p_beside_the_right_one():
    rng = np.random.default_rng(1)
    groups = pd.Series({f"{g}{i}": g for g in "AB" for i in range(4)})
    sections = rng.normal(0, 1, 8)[:, None] + 0.3 * rng.normal(size=(8, 10))
    n, mean, squares = sums(sections)
    columns = {"panel": "P", "zone": "core", "marker": "FN", "metric": "fraction_pct", "n_positive_cells": np.nan, "n_cells": np.nan}
    spread = pd.DataFrame({"animal": groups.index, "n_sections": n.astype(int), "mean": mean, "sum_squares": squares, **columns})
    row = {"contrast": "A-B", "p": 0.5, "group_a": "A", "group_b": "B"}
    comparisons = pd.DataFrame([{"endpoint": "P_core_FN_fraction_pct", **row}, {"endpoint": "BBB_auc_score_days", **row}])
    t = hidden(spread[SPREAD.names], comparisons, groups)
    assert DESIGN.problems(t) == [] and len(t) == 1  # no sections stand behind a motor endpoint
    got = t.iloc[0]
    naive = stats.ttest_ind(sections[:4].ravel(), sections[4:].ravel(), equal_var=False).pvalue
    assert got["p_sections"] == pytest.approx(naive) and got["p_sections"] < stats.ttest_ind(mean[:4], mean[4:]).pvalue
    assert got["n_effective"] == pytest.approx(80 / (1 + 9 * got["icc"])) and got["icc"] > 0.8


# ---------------------------------------------------------------- the next study


@pytest.mark.parametrize(
    ("delta", "icc", "needed"),
    [
        (1.0, 0.3, [17, 10, 8, 7, 7]),
        (1.0, 0.5, [17, 12, 11, 10, 10]),
        (1.0, 0.7, [17, 14, 13, 13, 13]),
        (1.5, 0.5, [9, 6, 6, 6, 5]),
    ],
)
def test_animals_for_80_percent_power_are_those_of_the_specification(delta, icc, needed):
    # science, section 4, "Design effect/power": delta in SD of one section; simulated there: one animal of slack
    found = [animals_needed(delta, icc, 1 - icc, m) for m in (1, 3, 5, 10, 20)]
    assert np.abs(np.array(found) - needed).max() <= 1


def test_power_of_motor_scores_is_the_specifications():
    # science, section 5, SD 3.23: 2 points n = 8 .21, n = 10 .26, n = 12 .31; n for 80 %: 2 points 42, 3 points 20, 4 points 12
    assert [power(n, 2, 3.23**2, 0, 1) for n in (8, 10, 12)] == pytest.approx([0.21, 0.26, 0.31], abs=0.01)
    assert [animals_needed(d, 3.23**2, 0, 1) for d in (2, 3, 4)] == [42, 20, 12]


def test_plan_never_goes_below_what_an_exact_test_needs_and_says_where_it_ends():
    assert animals_needed(100, 1, 1, 3) == 4
    assert animals_needed(0.01, 1, 1, 3) is None
    t = plan_table("P_core_FN_fraction_pct", "pct", 3.0, 4.0, 9.0, 6.4, 0.8)
    assert PLAN.problems(t) == [] and set(t["sections"]) == {1, 2, 3, 5, 6, 8, 12, 20}
    assert (t[t["enough"] == "yes"].groupby("sections").size() == 1).all()
    assert t.groupby("sections")["power"].is_monotonic_increasing.all()
    assert set(plan_table("BBB_auc_score_days", "score_days", 50, 900, 0, math.nan, 0.8)["sections"]) == {1}


def test_variance_is_pooled_within_arms():
    values = pd.Series({"a1": 1.0, "a2": 3.0, "b1": 11.0, "b2": 13.0, "b3": math.nan})
    mean, variance = arm_variance(values, pd.Series({"a1": "A", "a2": "A", "b1": "B", "b2": "B", "b3": "B"}))
    assert (mean, variance) == (7.0, 2.0)
