"""Models of the recovery curves: what is compared, what is flagged, and that a null study rejects rarely."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sevhisto.compare.longitudinal import longitudinal
from sevhisto.compare.protocols import default_contrasts
from sevhisto.schema import MODELS
from sevhisto.types import StudyError

DAYS = np.array([1.0, 3, 7, 14, 21, 28])


def recovery(seed: int, n: int = 5, **shift: float) -> tuple[pd.DataFrame, pd.Series]:
    """Scores of four groups of n rats whose plateaus are shifted."""
    rng, rows, groups = np.random.default_rng(seed), [], {}
    for g in ("V", "D3", "P3", "P6"):
        for i in range(n):
            plateau = rng.normal(11.5 + shift.get(g, 0), 2)
            tau = rng.lognormal(math.log(6), 0.3)
            y = np.clip(np.rint(plateau * (1 - np.exp(-DAYS / tau)) + rng.normal(0, 0.9, len(DAYS))), 0, 21)
            rows += [(f"{g}{i}", d, s) for d, s in zip(DAYS, y, strict=True)]
            groups[f"{g}{i}"] = g
    return pd.DataFrame(rows, columns=["animal", "day", "score"]), pd.Series(groups)


def table(make_study, motor, groups, **people):
    config = make_study()
    facts = pd.DataFrame(people, index=groups.index)
    return longitudinal(motor, groups, config, default_contrasts(config), facts)


def one(t, model, contrast, term="level"):
    return t[(t["model"] == model) & (t["contrast"] == contrast) & (t["term"] == term)].iloc[0]


def test_every_model_and_contrast_has_its_row(make_study):
    motor, groups = recovery(1, P3=4, P6=4, D3=4)
    t = table(make_study, motor, groups, force_kdyn=np.random.default_rng(0).normal(200, 5, 20))
    assert MODELS.problems(t) == []
    assert len(t) == 4 * 5
    for model in ("linear_mixed", "ordinal_mixed", "ordinal_mixed_slope"):
        row = one(t, model, "treated-vehicle")
        assert row["estimate"] > 0 and row["ci_low"] > 0 and row["p"] < 0.01, model
        assert row["covariates"] == "day1;force_kdyn" and (row["n_animals"], row["n_scores"]) == (20, 100)
    assert one(t, "onset_interval", "treated-vehicle", "later")["estimate"] < -0.5
    assert set(t.loc[t["contrast"] == "P6-D3", "flags"].str.contains("exploratory")) == {True}
    assert t[["estimate", "p"]].notna().all(axis=None)


def test_p_of_the_ordinal_models_is_a_permutations(make_study):
    motor, groups = recovery(3, n=4)
    t = table(make_study, motor, groups)
    p = one(t, "ordinal_mixed", "P3-D3")["p"]
    assert p * 70 == pytest.approx(round(p * 70)) and p >= 2 / 70
    assert "exact permutation" in one(t, "ordinal_mixed", "P3-D3")["method"]


def test_missing_visits_and_lost_animals_leave_no_gap(make_study):
    motor, groups = recovery(4)
    lost = motor[~((motor["animal"] == "P30") & (motor["day"] > 7)) & ~((motor["animal"] == "V1") & (motor["day"] == 14))]
    t = table(make_study, lost, groups)
    assert one(t, "linear_mixed", "P3-D3")["n_animals"] == 10
    assert t["p"].notna().all()
    without = motor[~motor["animal"].str.startswith("P6")]
    assert set(table(make_study, without, groups)["contrast"]) == {"P3-D3"}  # the others need P6


def test_too_few_animals_and_no_variation_are_told_not_computed(make_study):
    motor, groups = recovery(5, n=1)
    t = table(make_study, motor, groups)
    linear = t[t["model"] != "onset_interval"]
    assert linear["estimate"].isna().all() and linear["flags"].str.contains("too_few_animals").all()
    motor, groups = recovery(5)
    t = table(make_study, motor.assign(score=7.0), groups)
    linear = t[t["model"] != "onset_interval"]
    assert linear["flags"].str.contains("no_variation").all()
    assert set(t.loc[t["model"] == "onset_interval", "p"]) == {1.0}


def test_scores_that_separate_the_groups_have_a_p_and_an_interval_or_a_flag(make_study):
    motor, groups = recovery(6)
    far = motor.assign(score=[20.0 if a.startswith("V") else 0.0 for a in motor["animal"]])
    far.loc[far["day"] == 1, "score"] = 0.0
    far.loc[far["day"] == 3, "score"] += [float(i % 2) for i in range(20)]
    t = table(make_study, far, groups)
    ordered = t[t["model"].str.startswith("ordinal")]
    assert ((ordered["flags"].str.contains("not_converged")) == ordered["ci_low"].isna()).all()
    assert one(t, "ordinal_mixed", "treated-vehicle")["p"] < 0.01 < one(t, "ordinal_mixed", "P6-P3")["p"]


def test_scores_off_the_scale_are_refused(make_study):
    motor, groups = recovery(7)
    motor.loc[0, "score"] = 22
    with pytest.raises(StudyError, match="outside 0-21"):
        table(make_study, motor, groups)
