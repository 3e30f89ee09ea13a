"""Agreement against published numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.compare.agreement import agreement_summary, intraclass, limits_of_agreement, variation_pct
from sevhisto.schema_evidence import AGREEMENT

# Shrout and Fleiss 1979, table 2; intervals as R gives them: psych::ICC(matrix(c(9,6,8,7,10,6, 2,1,4,1,5,2, 5,3,6,2,6,4, 8,2,8,6,9,7), 6))
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def test_intraclass_correlations_of_shrout_and_fleiss() -> None:
    found = intraclass(JUDGES)
    assert found.one_way == pytest.approx((0.166, -0.133, 0.723), abs=5e-4)
    assert found.agreement == pytest.approx((0.290, 0.019, 0.761), abs=5e-4)
    assert found.consistency == pytest.approx((0.715, 0.342, 0.946), abs=5e-4)


def test_one_way_of_four_animals() -> None:
    rows = np.array([[12, 14, 13], [20, 19, 22], [15, 17, 14], [25, 24, 27]], float)
    assert intraclass(rows).one_way[0] == pytest.approx(0.936396, abs=1e-6)


def test_limits_and_variation_by_hand() -> None:
    a, b = np.array([10.0, 20.0, 30.0, 40.0]), np.array([12.0, 19.0, 33.0, 40.0])  # differences -2, 1, -3, 0: mean -1, SD 1.825742
    found = limits_of_agreement(a, b)
    assert found.bias == pytest.approx((-1, -1 - 3.182446 * 1.825742 / 2, -1 + 3.182446 * 1.825742 / 2), abs=1e-5)
    assert (found.low[0], found.high[0]) == pytest.approx((-1 - 1.959964 * 1.825742, -1 + 1.959964 * 1.825742), abs=1e-5)
    half = 3.182446 * 1.825742 * np.sqrt(1 / 4 + 1.959964**2 / 6)
    assert found.high[2] - found.high[0] == pytest.approx(half, abs=1e-5)
    assert variation_pct(a, b) == pytest.approx(100 * np.sqrt(np.mean([4 / 121, 1 / 380.25, 9 / 992.25, 0]) / 2), abs=1e-9)


@given(st.lists(st.floats(1, 1000), min_size=3, max_size=8, unique=True), st.floats(0.5, 50))
def test_a_constant_shift_is_consistent_and_does_not_agree(values: list[float], shift: float) -> None:
    a = np.round(np.array(values), 3)
    if np.ptp(a) < 1:
        return
    found = intraclass(np.column_stack([a, a + shift]))
    assert found.consistency[0] == pytest.approx(1, abs=1e-6) and found.agreement[0] < 1
    assert limits_of_agreement(a, a + shift).bias[0] == pytest.approx(-shift)


def test_too_little_gives_no_number() -> None:
    for readings in (np.ones((1, 2)), np.ones((4, 2)), np.array([[1.0, 2.0], [1.0, 2.0]])):
        assert all(np.isnan(v) for v in intraclass(readings).agreement)
    assert np.isnan(limits_of_agreement(np.ones(1), np.ones(1)).bias[0]) and np.isnan(variation_pct(np.zeros(2), np.zeros(2)))


def test_three_readings_give_pairs_and_all() -> None:
    rows = []
    for i, judges in enumerate(JUDGES[:, :3]):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            place = {"animal": f"A{i // 2}", "section": f"s{i}", "panel": "B", "kind": "cells", "reading_a": f"r{a}", "reading_b": f"r{b}"}
            rows.append({**place, "count_a": judges[a], "count_b": judges[b], "reason": ""})
    table = agreement_summary(AGREEMENT.conform(pd.DataFrame(rows).reindex(columns=AGREEMENT.names)))
    assert (
        list(table["readings"]) == ["r0, r1", "r0, r2", "r1, r2", "r0, r1, r2"]
        and set(table["n"]) == {6}
        and set(table["n_animals"]) == {3}
    )
    assert table["icc_a1"].iloc[3] == pytest.approx(intraclass(JUDGES[:, :3]).agreement[0])
    assert table["bias"].iloc[0] == pytest.approx((JUDGES[:, 0] - JUDGES[:, 1]).mean()) and np.isnan(table["bias"].iloc[3])
