"""Shapes and mediation: R's numbers, known shapes, and what a shared severity does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sevhisto.compare.composite import composite_rows
from sevhisto.compare.links import links
from sevhisto.compare.mediation import RHO, mediate
from sevhisto.compare.protocols import default_contrasts
from sevhisto.compare.shapes import find_shape
from sevhisto.schema import MEDIATION, SENSITIVITY, SHAPES

FRAMING = Path(__file__).resolve().parents[3] / "shared" / "data" / "stats" / "framing.csv"


@pytest.mark.skipif(not FRAMING.is_file(), reason="needs framing.csv of R's mediation in ../shared/data/stats")
def test_paths_are_rs_and_the_interval_is_its_bootstraps():
    # R: d <- read.csv("framing.csv"); lavaan::sem("emo ~ a*treat + age + income
    #    cong_mesg ~ b*emo + c*treat + age + income
    #    ab := a*b", d): a 1.522, b 0.067, c 0.004, ab 0.101; digits below from lm
    #    set.seed(1); boot::boot.ci(boot(d, f, 5000, strata = d$treat + 1), type = "perc"): 0.0481, 0.1637
    d = pd.read_csv(FRAMING)
    found = mediate(*(d[c].to_numpy(float) for c in ("treat", "emo", "cong_mesg")), d[["age", "income"]].to_numpy(float), 5000, 1)
    assert (found.a, found.p_a) == pytest.approx((1.52186236, 7.11437205e-05), rel=1e-6)
    assert (found.b, found.p_b) == pytest.approx((0.06650633, 1.89330011e-10), rel=1e-6)
    assert (found.direct, found.indirect) == pytest.approx((0.00417878, 1.52186236 * 0.06650633), rel=1e-5)
    assert found.total == pytest.approx(found.direct + found.indirect)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.0481, 0.1637), abs=0.004)
    assert found.rho_zero == pytest.approx(0.380446783, rel=1e-6)  # R: cor of the residuals of both on treat, age, income
    assert found.curve is not None and found.curve[RHO == 0, 0] == pytest.approx(found.indirect)
    assert (np.diff(found.curve[:, 0]) < 0).all() and found.p_joint == pytest.approx(found.p_a)


def test_a_factor_behind_both_makes_a_product_that_its_own_correlation_removes():
    rng = np.random.default_rng(1)
    x = np.repeat([0.0, 1.0], 4000)
    hidden = rng.normal(size=8000)
    m, y = x + 0.6 * hidden + 0.8 * rng.normal(size=8000), 0.6 * hidden + 0.8 * rng.normal(size=8000)
    found = mediate(x, m, y, np.zeros((8000, 0)), 200, 1)
    assert found.ci_low > 0.2  # science, section 4: b is truly 0
    assert found.rho_zero == pytest.approx(0.36, abs=0.03)  # loadings of 0.6: 0.6 x 0.6
    assert found.curve is not None and abs(found.curve[np.isclose(RHO, 0.35), 0][0]) < 0.05


def test_too_few_animals_and_no_variation_are_told():
    x = np.repeat([0.0, 1.0], 3)
    assert mediate(x, x + np.arange(6), np.arange(6.0), np.zeros((6, 0)), 99, 1).flags == set()
    few = mediate(x[1:5], np.arange(4.0), np.arange(4.0), np.zeros((4, 0)), 99, 1)
    assert few.flags == {"too_few_animals"} and math.isnan(few.indirect) and few.curve is None
    assert mediate(x, np.ones(6), np.arange(6.0), np.zeros((6, 0)), 99, 1).flags == {"no_variation"}
    assert mediate(x, np.arange(6.0), np.ones(6), np.zeros((6, 0)), 99, 1).flags == {"no_variation"}


def test_shape_is_rs():
    # R: z <- (x - mean(x)) / sd(x); AICc of lm(y ~ g), lm(y ~ g + z), lm(y ~ g + z + I(z^2)) by its definition; coef, confint
    x = np.array([8.1, 9.4, 7.7, 10.2, 6.9, 5.5, 6.3, 7.2, 4.8, 6.0, 3.1, 2.2, 4.4, 3.8, 2.9])
    y = np.array([11.0, 10, 13, 9, 12, 14, 15, 13, 12, 14, 11, 9, 13, 12, 10])
    found = find_shape(x, y, pd.Series(np.repeat(["V", "D", "P"], 5)))
    assert (found.aicc_none, found.aicc_linear, found.aicc_curved) == pytest.approx((62.3500629, 66.9891271, 48.6666627), rel=1e-7)
    assert (found.quadratic, found.ci_low, found.ci_high) == pytest.approx((-1.63713713, -2.21355822, -1.06071604), rel=1e-6)
    assert (found.p, found.turning_point) == pytest.approx((8.58855776e-05, 6.70193839), rel=1e-5)
    assert found.shape == "non_monotonic"


@pytest.mark.parametrize(
    ("curve", "shape"),
    [
        (lambda x: 0 * x, "none"),
        (lambda x: 3 * x, "linear"),
        (lambda x: -2 * (x - 1) ** 2, "non_monotonic"),
        (lambda x: (x + 1) ** 2, "curved"),
    ],
)
def test_known_shapes_are_called_so(curve, shape):
    rng = np.random.default_rng(3)
    x = np.linspace(-1, 3, 40)
    arm = pd.Series(np.tile(["V", "P"], 20))
    assert find_shape(x, curve(x) + 0.3 * rng.normal(size=40) + 5.0 * (arm == "P").to_numpy(), arm).shape == shape


GROUPS = pd.Series({f"{g}{i}": g for g in ("V", "D3", "P3", "P6") for i in range(6)})


def tables(make_rows) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    level = GROUPS.map({"V": 0.0, "D3": 0.2, "P3": 0.5, "P6": 0.7}).to_numpy()
    fn, col = np.exp(-level + 0.2 * rng.normal(size=24)), np.exp(-0.5 * level + 0.2 * rng.normal(size=24))
    parts = [("B", "fibronectin", "positive_volume_mm3", fn), ("B", "collagen1", "positive_volume_mm3", col)]
    parts += [("A", "CD206", "fraction_of_cd68_pct", 30 + 20 * level + rng.normal(size=24))]
    found = [make_rows(dict(zip(GROUPS.index, v, strict=True)), panel=p, marker=m, metric=k) for p, m, k, v in parts]
    auc = 200 - 50 * np.log(fn) + 10 * rng.normal(size=24)
    found.append(make_rows(dict(zip(GROUPS.index, auc, strict=True)), panel="BBB", zone="", marker="", metric="auc"))
    return pd.concat(found, ignore_index=True)


def test_the_composite_is_the_mean_of_its_parts_and_zero_has_no_logarithm(make_rows, make_study):
    animals = tables(make_rows)
    t = composite_rows(animals, make_study(), [f"V{i}" for i in range(6)]).set_index(["marker", "animal"])["value"]
    assert t["fibronectin"][[f"V{i}" for i in range(6)]].mean() == pytest.approx(0, abs=1e-12)
    assert t["composite"]["P61"] == pytest.approx((t["fibronectin"]["P61"] + t["collagen1"]["P61"]) / 2)
    animals.loc[(animals["animal"] == "P61") & (animals["marker"] == "collagen1"), "value"] = 0.0
    rows = composite_rows(animals, make_study(), list(GROUPS.index)).set_index(["marker", "animal"])
    assert math.isnan(rows.loc[("composite", "P61"), "value"]) and rows.loc[("composite", "P61"), "flags"] == "no_signal"
    assert rows.loc[("composite", "P60"), "flags"] == ""
    assert composite_rows(animals[animals["panel"] == "A"], make_study(), list(GROUPS.index)).empty


def test_chains_lead_from_contrast_to_matrix_to_motor_and_from_cd206_to_matrix(make_rows, make_study):
    config = make_study()
    animals = tables(make_rows)
    animals = pd.concat([animals, composite_rows(animals, config, list(GROUPS.index))], ignore_index=True)
    people = pd.DataFrame({"force_kdyn": np.random.default_rng(1).normal(200, 5, 24)}, index=GROUPS.index)
    shapes, mediation, sensitivity = links(animals, GROUPS, config, default_contrasts(config), people)
    assert [t.problems(f) for t, f in ((SHAPES, shapes), (MEDIATION, mediation), (SENSITIVITY, sensitivity))] == [[], [], []]
    pairs = set(zip(mediation["mediator"], mediation["outcome"], strict=True))
    fn, auc = "B_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"
    assert {(fn, auc), ("ecm_core_composite_index_ln_ratio", auc), ("A_core_CD206_fraction_of_cd68_pct", fn)} <= pairs
    assert set(mediation["contrast"]) == {"P3-D3", "P6-P3", "treated-vehicle"}  # the exploratory one is not taken further
    row = mediation[(mediation["contrast"] == "treated-vehicle") & (mediation["mediator"] == fn) & (mediation["outcome"] == auc)].iloc[0]
    assert row["ci_low"] > 0 and row["a"] < 0 and row["b"] < 0 and row["covariates"] == "force_kdyn"
    assert set(row["flags"].split(";")) == {"exploratory", "few_for_mediation"}
    assert len(sensitivity) == 37 * mediation["indirect"].notna().sum()
    assert "no_covariates" in links(animals, GROUPS, config, default_contrasts(config), people[[]])[1].iloc[0]["flags"]
    mixed = links(animals, GROUPS, config, default_contrasts(config), people.assign(dpi=np.tile([28.0, 42.0], 12)))[1]
    assert mixed["indirect"].isna().all() and mixed["flags"].str.contains("dpi_mixed").all()
