"""Motor curves with known areas, onsets and gaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.compare.motor import summarise_motor
from sevhisto.config import MotorSettings
from sevhisto.schema import ANIMALS
from sevhisto.types import StudyError

DAYS = (1, 7, 14, 28)


def scores(curves: dict[str, dict[float, float]]) -> pd.DataFrame:
    rows = [(a, d, s) for a, curve in curves.items() for d, s in curve.items()]
    return pd.DataFrame(rows, columns=["animal", "day", "score"])


def get(table: pd.DataFrame, animal: str, metric: str, column: str = "value"):
    return table[(table["animal"] == animal) & (table["metric"] == metric)][column].item()


R1 = {1: 0.0, 7: 6.0, 14: 13.0, 28: 15.0}
FULL = dict.fromkeys(("r2", "r3", "r4"), R1)


def test_known_curve():
    t = summarise_motor(scores({"r1": R1, **FULL}), MotorSettings())
    assert get(t, "r1", "auc") == 6 * 3 + 7 * 9.5 + 14 * 14
    assert get(t, "r1", "early_auc") == 6 * 3 + 7 * 9.5
    assert get(t, "r1", "plateau") == 14
    assert get(t, "r1", "day1") == 0
    assert get(t, "r1", "onset_day") == 10  # 6 at day 7, 13 at day 14: 9 at day 10
    assert get(t, "r1", "auc", "unit") == "score_days"
    assert (t["panel"] == "BBB").all()
    assert set(t["flags"]) == {""}
    assert set(t["n_sections"]) == set(t["n_expected"]) == {4}
    assert ANIMALS.problems(t) == []


def test_early_end_between_visits_is_interpolated():
    t = summarise_motor(scores({"r1": R1, **FULL}), MotorSettings(early_until_day=10))
    assert get(t, "r1", "early_auc") == 6 * 3 + 3 * 7.5


def test_missing_visit_inside_is_bridged_and_flagged():
    t = summarise_motor(scores({"r1": {1: 0, 14: 13, 28: 15}, **FULL}), MotorSettings())
    assert get(t, "r1", "auc") == 13 * 6.5 + 14 * 14
    assert get(t, "r1", "auc", "flags") == "missing_visits"
    assert get(t, "r1", "auc", "n_sections") == 3
    assert get(t, "r2", "auc", "flags") == ""


def test_empty_score_is_a_missing_visit():
    t = summarise_motor(scores({"r1": {**R1, 7: math.nan}, **FULL}), MotorSettings())
    assert get(t, "r1", "auc", "flags") == "missing_visits"


def test_dead_animal_has_no_area_and_is_not_late():
    t = summarise_motor(scores({"r1": {1: 0, 7: 6}, **FULL}), MotorSettings(), pd.Series({"r1": 9.0, "r2": math.nan}))
    for metric in ("auc", "early_auc", "plateau", "onset_day"):
        assert math.isnan(get(t, "r1", metric))
        assert {"died", "missing_visits"} <= set(get(t, "r1", metric, "flags").split(";"))
    assert get(t, "r1", "day1") == 0
    assert get(t, "r2", "auc", "flags") == ""


def test_onset_never_and_from_the_start():
    t = summarise_motor(scores({"low": dict.fromkeys(DAYS, 4), "high": dict.fromkeys(DAYS, 12), **FULL}), MotorSettings())
    assert (get(t, "low", "onset_day"), get(t, "low", "onset_day", "flags")) == (28, "not_reached")
    assert (get(t, "high", "onset_day"), get(t, "high", "onset_day", "flags")) == (1, "already_reached")
    assert get(t, "low", "auc", "flags") == ""


def test_zero_scores_are_measurements():
    t = summarise_motor(scores({"r1": dict.fromkeys(DAYS, 0), **FULL}), MotorSettings())
    assert get(t, "r1", "auc") == 0
    assert get(t, "r1", "plateau") == 0


def test_sides_and_raters_are_averaged():
    two = scores({"r1": R1, **FULL})
    left, right = two.assign(side="left", rater="x"), two.assign(side="right", rater="x", score=two["score"] + 2)
    other = two.assign(side="left", rater="y", score=two["score"] + 5)
    other = pd.concat([other, other.assign(side="right")])
    t = summarise_motor(pd.concat([left, right, other]), MotorSettings())
    assert get(t, "r1", "plateau") == 14 + (1 + 5) / 2
    assert set(t["flags"]) == {""}


def test_a_side_that_lacks_once_is_flagged():
    two = scores({"r1": R1, **FULL})
    both = pd.concat([two.assign(side="left"), two.assign(side="right")], ignore_index=True)
    one_less = both.drop(both.index[(both["animal"] == "r1") & (both["day"] == 7) & (both["side"] == "right")])
    t = summarise_motor(one_less, MotorSettings())
    assert get(t, "r1", "auc", "flags") == "missing_visits"
    assert get(t, "r2", "auc", "flags") == ""


def test_baseline_and_stray_visits_do_not_stretch_the_window():
    plain = summarise_motor(scores({"r1": R1, **FULL}), MotorSettings())
    base = {-1: 21.0, 0: 21.0}
    t = summarise_motor(scores({"r1": {**base, **R1, 60: 15}, **{a: {**base, **c} for a, c in FULL.items()}}), MotorSettings())
    pd.testing.assert_frame_equal(t, plain)


def test_other_tests_are_left_alone():
    t = summarise_motor(
        pd.concat([scores({"r1": R1}).assign(test=""), scores({"r1": {1: 90, 7: 95}}).assign(test="incline")]), MotorSettings()
    )
    assert get(t, "r1", "plateau") == 14
    with pytest.raises(StudyError, match="did you mean 'incline'"):
        summarise_motor(scores({"r1": R1}).assign(test="incline"), MotorSettings(test="inclin"))


def test_metrics_that_the_visits_cannot_give_are_left_out():
    one = summarise_motor(scores({"r1": {7: 5}}), MotorSettings())
    assert list(one["metric"]) == ["onset_day", "onset_after_day", "onset_by_day"]
    short = summarise_motor(scores({"r1": {3: 5, 7: 8}}), MotorSettings())
    assert "early_auc" not in set(short["metric"]) and "day1" not in set(short["metric"])


def test_impossible_and_double_scores_are_refused():
    with pytest.raises(StudyError, match=r"animal r1, day 7: score 22 is outside 0-21"):
        summarise_motor(scores({"r1": {7: 22}}), MotorSettings())
    with pytest.raises(StudyError, match="animal r1, day 7: scored twice"):
        summarise_motor(pd.concat([scores({"r1": R1})] * 2), MotorSettings())
    with pytest.raises(StudyError, match="no BBB score after day 0"):
        summarise_motor(scores({"r1": {0: 21}}), MotorSettings())


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4))
@settings(deadline=None, max_examples=30)
def test_better_scores_never_give_less_area_or_later_onset(curve):
    a = dict(zip(DAYS, map(float, curve), strict=True))
    b = {d: s + 1 for d, s in a.items()}
    t = summarise_motor(scores({"a": a, "b": b}), MotorSettings())
    assert get(t, "b", "auc") == pytest.approx(get(t, "a", "auc") + 27)
    assert get(t, "b", "onset_day") <= get(t, "a", "onset_day")
    assert np.all((t.loc[t["metric"] == "onset_day", "value"] >= 1) & (t.loc[t["metric"] == "onset_day", "value"] <= 28))


def test_onset_is_an_interval_between_two_visits():
    t = summarise_motor(scores({"r1": R1, "low": dict.fromkeys(DAYS, 4), "high": dict.fromkeys(DAYS, 12), **FULL}), MotorSettings())
    between = [(get(t, a, "onset_after_day"), get(t, a, "onset_by_day")) for a in ("r1", "high")]
    assert between == [(7, 14), (0, 1)]
    assert get(t, "low", "onset_after_day") == 28 and math.isnan(get(t, "low", "onset_by_day"))
    assert get(t, "low", "onset_by_day", "flags") == "not_reached"


def test_the_pooled_scale_is_fergusons():
    # 0, 1, 2-4 as 2, 5-13 two less, 14 and above as 12
    expected = [0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 12, 12, 12, 12, 12]
    assert MotorSettings().pooled_scale == expected
    t = summarise_motor(scores({"r1": {1: 3.0, 7: 6.0, 14: 13.0, 28: 15.0}, **FULL}), MotorSettings())
    assert get(t, "r1", "pooled_auc") == 6 * 3 + 7 * 7.5 + 14 * 11.5
    assert get(t, "r1", "pooled_plateau") == 11.5
    sides = scores({"r1": R1, **FULL}).assign(side="left")
    sides = pd.concat([sides, sides.assign(side="right", score=sides["score"] + 4)])
    assert get(summarise_motor(sides, MotorSettings()), "r1", "pooled_plateau") == 11.75  # 11 and 12, 12 and 12


def test_other_scales_have_their_own_pooling_or_none():
    bms = MotorSettings(test="BMS", maximum=9, criterion=4)
    t = summarise_motor(scores({"r1": {1: 0, 7: 4, 14: 9}, "r2": {1: 0, 7: 2, 14: 6}}).assign(test="BMS"), bms)
    assert not t["metric"].str.startswith("pooled").any()
    assert get(t, "r1", "auc", "flags") == "ceiling" and get(t, "r2", "auc", "flags") == ""
    own = MotorSettings(test="BMS", maximum=3, pooled=[0, 1, 1, 2])
    assert own.pooled_scale == [0, 1, 1, 2]
    with pytest.raises(ValueError, match="pooled needs 4 numbers that do not fall"):
        MotorSettings(test="BMS", maximum=3, pooled=[0, 2, 1, 2])
