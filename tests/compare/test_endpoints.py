"""The animal is the unit; endpoints have one name and one order."""

from __future__ import annotations

import pandas as pd
import pytest

from sevhisto.compare.endpoints import choose_endpoints, core_volume, wide
from sevhisto.types import SevhistoError, StudyError


@pytest.fixture
def animals(make_rows):
    return pd.concat(
        [
            make_rows({"b": 2.0, "a": 1.0}, panel="BBB", zone="", marker="", metric="auc"),
            make_rows({"b": 12.0}, zone="all"),
            make_rows({"b": 7.0, "a": 6.0}, zone="1000-2000"),
            make_rows({"b": 4.0, "a": 3.0}, zone="250-500_rostral"),
            make_rows({"b": 4.0, "a": 3.0}, zone="0-250"),
            make_rows({"b": 9.0, "a": 8.0}, metric="positive_volume_mm3"),
            make_rows({"b": 9.0, "a": 8.0}, marker="tissue", metric="zone_volume_mm3"),
            make_rows({"b": 11.0, "a": float("nan")}),
        ],
        ignore_index=True,
    )


def test_wide_has_one_row_per_animal_and_a_fixed_order(animals):
    t = wide(animals)
    assert list(t.columns) == [
        "animal",
        "B_core_fibronectin_fraction_pct",
        "B_core_fibronectin_positive_volume_mm3",
        "B_core_tissue_zone_volume_mm3",
        "B_0-250_fibronectin_fraction_pct",
        "B_250-500_rostral_fibronectin_fraction_pct",
        "B_1000-2000_fibronectin_fraction_pct",
        "B_all_fibronectin_fraction_pct",
        "BBB_auc_score_days",
    ]
    assert list(t["animal"]) == ["a", "b"]
    assert t.loc[1, "BBB_auc_score_days"] == 2
    assert t["B_all_fibronectin_fraction_pct"].isna().tolist() == [True, False]
    pd.testing.assert_frame_equal(wide(animals.sample(frac=1, random_state=2)), t)


def test_an_endpoint_without_any_value_stays(make_rows):
    assert list(wide(make_rows({"a": float("nan")})).columns) == ["animal", "B_core_fibronectin_fraction_pct"]


@pytest.mark.parametrize("column", ["section", "cell"])
def test_sections_and_cells_are_refused(animals, column):
    with pytest.raises(SevhistoError, match="the animal is the unit"):
        wide(animals.assign(**{column: "1"}))


def test_two_rows_for_one_animal_are_refused(animals):
    with pytest.raises(SevhistoError, match="share a key"):
        wide(pd.concat([animals, animals.iloc[:1]]))


def test_unknown_metric_and_wrong_unit_are_refused(animals):
    with pytest.raises(SevhistoError, match="did you mean 'fraction_pct'"):
        wide(animals.assign(metric=animals["metric"].replace("fraction_pct", "fraction_pc")))
    with pytest.raises(SevhistoError, match="unit 'mm2' instead of 'mm3'"):
        wide(animals.assign(unit=animals["unit"].replace("mm3", "mm2")))


def test_names_that_collide_are_refused(make_rows):
    both = pd.concat([make_rows({"a": 1.0}, panel="B", marker="x_y"), make_rows({"a": 1.0}, panel="B", zone="core_x", marker="y")])
    with pytest.raises(SevhistoError, match="same column"):
        wide(both)


def test_default_endpoints(animals, make_study):
    primary, secondary = choose_endpoints(make_study(), wide(animals).columns)
    assert primary == []
    assert secondary == [
        "B_core_fibronectin_fraction_pct",
        "B_core_fibronectin_positive_volume_mm3",
        "B_core_tissue_zone_volume_mm3",
        "B_0-250_fibronectin_fraction_pct",
        "BBB_auc_score_days",
    ]
    declared = make_study(endpoints={"primary": ["BBB_auc_score_days"]})
    primary, secondary = choose_endpoints(declared, wide(animals).columns)
    assert primary == ["BBB_auc_score_days"]
    assert "BBB_auc_score_days" not in secondary
    assert core_volume("B") == "B_core_tissue_zone_volume_mm3"


@pytest.mark.parametrize(
    ("primary", "secondary", "said"),
    [
        (["BBB_auc_score_day"], ["B_core_fibronecti_fraction_pct"], ["did you mean 'BBB_auc_score_days'?", "fibronectin_fraction_pct'?"]),
        (["BBB_auc_score_days"], ["BBB_auc_score_days"], ["stands twice"]),
        (["BBB_auc_score_days", "BBB_plateau_score", "BBB_onset_day"], [], ["at most two"]),
    ],
)
def test_wrong_endpoints_are_told_before_anything_runs(make_study, primary, secondary, said):
    with pytest.raises(StudyError) as error:
        make_study(endpoints={"primary": primary, "secondary": secondary})
    assert all(words in str(error.value) for words in said)


def test_endpoint_that_was_not_measured_is_named(animals, make_study):
    config = make_study(endpoints={"primary": ["B_all_fibronectin_alignment_ratio"]})
    with pytest.raises(StudyError, match="was not measured"):
        choose_endpoints(config, wide(animals).columns)
