"""Matrix against recovery: within arms, adjusted, and the pooled trap."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from sevhisto.compare.relations import fit_slope, relate, within_sd
from sevhisto.schema import RELATIONS

N = 8
GROUPS = pd.Series({f"{g}{i}": g for g in ("V", "D3", "P6") for i in range(N)})
LEVEL = {"V": 0.0, "D3": 4.0, "P6": 8.0}
FN = "B_core_fibronectin_fraction_pct"
AUC = "BBB_auc_score_days"


def tables(make_rows, slope: float, seed: int = 1, severity: float = 0.0):
    """Matrix falls and score rises with the arm; within arms the score changes by `slope` per unit of matrix."""
    rng = np.random.default_rng(seed)
    level = GROUPS.map(LEVEL).to_numpy()
    hidden = rng.normal(size=len(GROUPS))
    noise = rng.normal(size=len(GROUPS))
    ecm = 30 - 2 * level + noise + severity * hidden
    score = 100 + 20 * level + slope * noise - 5 * severity * hidden + rng.normal(size=len(GROUPS))
    histology = pd.concat(
        [
            make_rows(dict(zip(GROUPS.index, ecm, strict=True))),
            make_rows(dict(zip(GROUPS.index, 2 + 0.1 * hidden, strict=True)), marker="tissue", metric="zone_volume_mm3"),
        ]
    )
    motor = make_rows(dict(zip(GROUPS.index, score, strict=True)), panel="BBB", zone="", marker="", metric="auc")
    return histology, motor, ecm, score


def row(table, model):
    return table[table["model"] == model].iloc[0]


def test_within_arm_slope_by_hand(make_rows, make_study):
    histology, motor, ecm, score = tables(make_rows, -3)
    t = relate(histology, motor, GROUPS, make_study())
    assert RELATIONS.problems(t) == []
    assert list(t["model"]) == ["within_arm", "adjusted", "pooled"]
    x = ecm - pd.Series(ecm).groupby(GROUPS.to_numpy()).transform("mean").to_numpy()
    y = score - pd.Series(score).groupby(GROUPS.to_numpy()).transform("mean").to_numpy()
    df = len(x) - 4
    sd = math.sqrt((x**2).sum() / (len(x) - 3))
    r = float((x * y).sum() / math.sqrt((x**2).sum() * (y**2).sum()))
    t_value = r * math.sqrt(df / (1 - r * r))
    got = row(t, "within_arm")
    assert got["estimate"] == pytest.approx((x * y).sum() / (x**2).sum() * sd)
    assert got["correlation"] == pytest.approx(r)
    assert got["p"] == pytest.approx(2 * stats.t.sf(abs(t_value), df))
    assert got["estimate"] / (got["ci_high"] - got["estimate"]) == pytest.approx(t_value / stats.t.ppf(0.975, df))
    assert (got["n"], got["covariates"], got["flags"]) == (24, "arm", "")


def test_pooled_is_linregress_and_says_so(make_rows, make_study):
    histology, motor, ecm, score = tables(make_rows, 0)
    got = row(relate(histology, motor, GROUPS, make_study()), "pooled")
    line = stats.linregress(ecm, score)
    assert got["correlation"] == pytest.approx(line.rvalue)
    assert got["p"] == pytest.approx(line.pvalue, rel=1e-6)
    assert got["flags"] == "pooled_across_groups"
    assert got["covariates"] == ""


def test_arms_alone_create_the_pooled_association_only(make_rows, make_study):
    pooled, within = [], []
    for seed in range(20):
        histology, motor, _, _ = tables(make_rows, 0, seed)
        t = relate(histology, motor, GROUPS, make_study())
        pooled.append(row(t, "pooled")["p"] < 0.05)
        within.append(row(t, "within_arm")["p"] < 0.05)
    assert all(pooled)
    assert sum(within) <= 4  # 1 expected


def test_severity_is_adjusted_for(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, 0, severity=2.0)
    t = relate(histology, motor, GROUPS, make_study(), pd.DataFrame({"force_kdyn": 200.0}, index=GROUPS.index))
    assert row(t, "within_arm")["p"] < 0.01
    got = row(t, "adjusted")
    assert got["p"] > 0.05
    assert got["covariates"] == "arm;B_core_tissue_zone_volume_mm3"  # the force does not vary


def test_all_covariates_in_order(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3)
    rng = np.random.default_rng(8)
    day1 = make_rows({a: float(rng.integers(0, 4)) for a in GROUPS.index}, panel="BBB", zone="", marker="", metric="day1")
    force = pd.DataFrame({"force_kdyn": rng.normal(200, 5, len(GROUPS))}, index=GROUPS.index)
    force.iloc[0] = math.nan
    got = row(relate(histology, pd.concat([motor, day1]), GROUPS, make_study(), force), "adjusted")
    assert got["covariates"] == "arm;B_core_tissue_zone_volume_mm3;BBB_day1_score;force_kdyn"
    assert (got["n"], got["flags"]) == (23, "missing_animals")
    depth = force.rename(columns={"force_kdyn": "displacement_um"}).assign(force_kdyn=math.nan)
    other = row(relate(histology, pd.concat([motor, day1]), GROUPS, make_study(), depth), "adjusted")
    assert other["covariates"] == got["covariates"].replace("force_kdyn", "displacement_um")  # the force is not known
    assert other["p"] == pytest.approx(got["p"])


def test_too_few_animals_and_no_covariate(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3)
    few = GROUPS[["V0", "V1", "P60", "P61"]]
    t = relate(histology, motor, few, make_study())
    got = row(t, "within_arm")
    assert math.isfinite(got["estimate"])
    assert math.isnan(got["p"])
    assert got["flags"] == "too_few_animals"
    assert row(t, "adjusted")["flags"] == "no_covariates"
    assert math.isnan(row(t, "adjusted")["estimate"])
    none = relate(histology, motor, few.iloc[:0], make_study())
    assert set(none["n"]) == {0}
    assert none["estimate"].isna().all()
    assert (none["flags"] != "").all()


def test_flat_endpoints_give_no_slope(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3)
    for flat in (
        relate(histology.assign(value=3.3), motor, GROUPS, make_study()),
        relate(histology, motor.assign(value=3.3), GROUPS, make_study()),
    ):
        assert flat["estimate"].isna().all()
        assert flat["flags"].map(lambda f: "no_variation" in f or "no_covariates" in f).all()


def test_flags_dpi_and_controls(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3)
    marked = histology.assign(flags="contour_unreviewed")
    assert "contour_unreviewed" in row(relate(marked, motor, GROUPS, make_study()), "within_arm")["flags"]
    dpi = pd.DataFrame({"dpi": [28.0] * 12 + [42.0] * 12}, index=GROUPS.index)
    mixed = relate(histology, motor, GROUPS, make_study(), dpi)
    assert mixed["estimate"].isna().all()
    assert mixed["flags"].str.contains("dpi_mixed").all()
    with_control = pd.concat([GROUPS, pd.Series({"u1": "uninjured"})])
    pd.testing.assert_frame_equal(relate(histology, motor, with_control, make_study()), relate(histology, motor, GROUPS, make_study()))
    assert row(relate(histology, motor, GROUPS, make_study(), excluded=["V0"]), "within_arm")["n"] == 23
    both = pd.concat([histology, motor])
    pd.testing.assert_frame_equal(relate(both, None, GROUPS, make_study()), relate(both, motor, GROUPS, make_study()))


def test_slope_covers_the_truth():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        arms = np.repeat(np.eye(3), 6, axis=0)
        x = arms @ [1.0, 5, 9] + rng.normal(size=18)
        fit = fit_slope(arms @ [9.0, 5, 1] + 0.7 * x + rng.normal(size=18), x, arms)
        hits += fit.ci_low <= 0.7 <= fit.ci_high
    assert 0.91 < hits / 300 < 0.99


def test_slopes_are_those_of_statsmodels():
    rng = np.random.default_rng(5)
    arms, x = np.kron(np.eye(3), np.ones((6, 1))), rng.normal(size=18)
    for y in (rng.normal(size=18), 2 * x + rng.normal(size=18)):
        fit, known = fit_slope(y, x, arms), OLS(y, np.column_stack([x, arms])).fit()
        low, high = known.conf_int()[0]
        assert (fit.estimate, fit.ci_low, fit.ci_high, fit.p) == pytest.approx((known.params[0], low, high, known.pvalues[0]), rel=1e-12)


def test_within_sd():
    known = pd.DataFrame({"ecm": [1.0, 3, 10, 14], "arm": list("aabb")})
    assert within_sd(known) == pytest.approx(math.sqrt((2 + 8) / 2))
    assert math.isnan(within_sd(known.iloc[[0, 2]]))
    assert within_sd(known.assign(ecm=0.1)) == 0


def test_spared_white_matter_is_adjusted_for(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3, severity=1.0)
    spared = dict(zip(GROUPS.index, np.random.default_rng(4).normal(2, 0.3, len(GROUPS)), strict=True))
    white = make_rows(spared, zone="all", marker="tissue", metric="spared_white_matter_mm2")
    table = relate(pd.concat([histology, white]), motor, GROUPS, make_study())
    used = row(table, "adjusted")["covariates"].split(";")
    assert used[0] == "arm" and any("zone_volume" in c for c in used) and any("spared_white_matter" in c for c in used)
    assert "spared_white_matter" not in row(table, "within_arm")["covariates"]


def test_one_group_has_no_pooled_model(make_rows, make_study):
    histology, motor, _, _ = tables(make_rows, -3)
    table = relate(histology, motor, pd.Series("all", index=GROUPS.index), make_study(protocols={"all": {}}))
    assert list(table["model"]) == ["within_arm", "adjusted"]
