"""The specification curve: which verdict a variant gets, and the one word that remains."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.compare import compare
from sevhisto.compare.contrasts import estimates
from sevhisto.compare.endpoints import endpoint_values
from sevhisto.compare.specifications import Specification, robustness, specification_curve, verdict
from sevhisto.schema import AS_ANALYSED, NOT_MADE, SPECIFICATIONS

ARMS = ("V", "D3", "P3", "P6")
GROUPS = pd.Series({f"{g}{i}": g for g in ARMS for i in range(5)})
FN = "B_core_fibronectin_fraction_pct"
NAN = math.nan


def numbers(shift: float, seed: int = 1) -> dict[str, float]:
    """P6 differs from all others by `shift`."""
    rng = np.random.default_rng(seed)
    return {a: 20 + shift * (g == "P6") + rng.normal() for a, g in GROUPS.items()}


@pytest.fixture
def config(make_study):
    return make_study(endpoints={"primary": [FN]})


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((-4.0, -6.0, -2.0), "robust"),
        ((-1.0, -3.0, 1.0), "fragile"),
        ((1.0, -1.0, 3.0), "reverses"),
        ((4.0, 2.0, 6.0), "reverses"),
        ((-4.0, NAN, NAN), ""),
    ],
)
def test_what_a_variant_does_to_a_clear_effect(other, expected):
    assert verdict((-5.0, -7.0, -3.0), other) == expected


def test_an_interval_that_moves_off_zero_is_fragile_too():
    assert verdict((-1.0, -3.0, 1.0), (-4.0, -6.0, -2.0)) == "fragile"
    assert verdict((-1.0, -3.0, 1.0), (-2.0, -4.5, 0.5)) == "robust"


@given(st.lists(st.floats(-9, 9), min_size=3, max_size=3).map(sorted), st.lists(st.floats(-9, 9), min_size=3, max_size=3).map(sorted))
def test_the_verdict_does_not_depend_on_which_group_comes_first(a, b):
    base, other = (a[1], a[0], a[2]), (b[1], b[0], b[2])
    flipped = [tuple(-v for v in (r[0], r[2], r[1])) for r in (base, other)]
    assert verdict(base, other) == verdict(*flipped)


def test_estimates_are_those_of_the_comparison(make_rows, config):
    animals = make_rows(numbers(-9))
    full = compare(animals, GROUPS, config)
    quick = estimates(endpoint_values(animals, {FN}), GROUPS, config, (), [FN])
    same = full.loc[full["endpoint"] == FN, list(quick.columns)].reset_index(drop=True)
    pd.testing.assert_frame_equal(quick, same, rtol=1e-12, check_dtype=False)


def test_curve_and_word(make_rows, config):
    base = make_rows(numbers(-9))
    curve = specification_curve(
        [
            Specification(AS_ANALYSED, "", base),
            Specification("threshold", "x 0.7", make_rows(numbers(-8))),
            Specification("threshold", "x 1.3", make_rows(numbers(0.0))),
            Specification("without animal", "P30", base, frozenset({"P30"})),
        ],
        GROUPS,
        config,
        [FN],
    )
    assert SPECIFICATIONS.problems(curve) == []
    mine = curve[curve["contrast"] == "P6-P3"].set_index(["choice", "variant"])
    assert mine["verdict"].to_dict() == {
        (AS_ANALYSED, ""): "",
        ("threshold", "x 0.7"): "robust",
        ("threshold", "x 1.3"): mine.loc[("threshold", "x 1.3"), "verdict"],
        ("without animal", "P30"): "robust",
    }
    assert mine.loc[("threshold", "x 1.3"), "verdict"] in ("fragile", "reverses")
    assert mine.loc[("without animal", "P30"), ["n_a", "n_b"]].tolist() == [5, 4]
    without = curve.loc[curve["choice"] == "without animal", "contrast"]
    assert set(without) == {c for c in curve["contrast"] if "P3" in c or c == "treated-vehicle"} < set(curve["contrast"])
    assert robustness(curve)[FN, "P6-P3"] == mine.loc[("threshold", "x 1.3"), "verdict"]


def test_a_variant_that_empties_a_group_has_no_verdict(make_rows, config):
    base = make_rows(numbers(-9))
    gone = frozenset(f"P6{i}" for i in range(5))
    variants = [Specification(AS_ANALYSED, "", base), Specification("without batch", "b2", base, gone)]
    curve = specification_curve(variants, GROUPS, config, [FN])
    row = curve[(curve["choice"] == "without batch") & (curve["contrast"] == "P6-P3")]
    assert row.empty or (math.isnan(row["estimate"].item()) and row["verdict"].item() == "")


def test_a_variant_that_has_no_form_for_an_endpoint_says_so_and_does_not_count(make_rows, config):
    base = make_rows(numbers(-9))
    none = base.assign(value=np.nan)
    variants = [Specification(AS_ANALYSED, "", base), Specification("background", "local", none), Specification("threshold", "x 0.7", base)]
    curve = specification_curve(variants, GROUPS, config, [FN])
    assert set(curve.loc[curve["choice"] == "background", "verdict"]) == {NOT_MADE}
    assert set(robustness(curve)) == {"robust"}
    assert set(robustness(curve[curve["choice"] != "threshold"])) == {""}
