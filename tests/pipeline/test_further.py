"""What `compare` and `plan` write beside comparisons and relations, on the tiny study: one animal per arm, so most of it must say so."""

from __future__ import annotations

import pandas as pd
import pytest

from sevhisto.pipeline import check, compare, plan, report
from sevhisto.schema import COMPOSITE_TABLE, DESIGN, EXPOSURE, MEDIATION, MODELS, SHAPES
from sevhisto.types import StudyError

BESIDE = (MODELS, SHAPES, MEDIATION, COMPOSITE_TABLE, DESIGN)


def test_a_blind_study_has_everything_but_the_exposures(study):
    compare(study.root)
    assert not (study.results / EXPOSURE.name).exists()  # a profile tells the group
    for table in BESIDE:
        assert table.problems(pd.read_csv(study.results / table.name)) == [], table.name
    assert set(study.table("composite.csv")["reference"]) == {"all"}


def test_one_animal_per_arm_is_flagged_in_every_table_and_nothing_is_empty_in_silence(study):
    done = compare(study.root, open_key=True)
    exposure = study.table("exposure.csv")
    assert len(exposure) == 4 * 3 and (exposure["auc"] >= 0).all()
    assert set(exposure.loc[exposure["protocol"] == "longgroup", "mode"]) == {"infusion"}
    for name, value in (("models.csv", "p"), ("mediation.csv", "indirect"), ("shapes.csv", "p"), ("comparisons.csv", "ci_low")):
        table = study.table(name)
        empty = table[table[value] == ""]
        assert len(empty) and (empty["flags"] != "").all(), name
    assert any("exploratory here and no proof of a cause" in n for n in done.notes)
    flags = study.table("comparisons.csv").set_index("contrast")["flags"]
    assert flags["mode"].str.contains("surgery_confounded").all() and not flags["duration"].str.contains("surgery_confounded").any()
    assert set(study.table("composite.csv")["reference"]) == {"vehicle"}
    text = report(study.root, 1).read_text("utf-8")
    assert "Modelled, not measured: one compartment" in text and "Mixed models and onset" in text


def test_the_composite_index_can_be_an_endpoint(study):
    study.edit('"BBB_auc_score_days"]', '"ecm_core_composite_index_ln_ratio"]')
    compare(study.root)
    t = study.table("comparisons.csv")
    own = t[t["endpoint"] == "ecm_core_composite_index_ln_ratio"]
    assert len(own) == 6 and set(own["unit"]) == {"ln_ratio"} and (own["estimate"] != "").all()
    assert "ecm_core_composite_index_ln_ratio" in set(study.table("specifications.csv")["endpoint"])


def test_plan_needs_a_variance_and_names_a_wrong_endpoint(study, sevhisto):
    with pytest.raises(StudyError, match="no variance between animals of one arm"):
        plan(study.root, "BBB_auc_score_days")
    said = sevhisto("plan", study.root, "--endpoint", "BBB_auc_score_dais")
    assert said.status == 1 and "did you mean 'BBB_auc_score_days'" in said.err
    assert not (study.results / "plan.csv").exists()


def test_plan_writes_table_and_curve(study, sevhisto):
    animals = study.sheet("animals.csv")
    animals["protocol"] = "salinegroup"  # all in one arm: now there is a variance
    study.write_sheet("animals.csv", animals)
    said = sevhisto("plan", study.root, "--effect", "50")
    assert said.status == 0 and "animals per arm" in said.out
    assert (study.results / "plan.svg").read_text("utf-8").startswith("<svg")
    t = study.table("plan.csv")
    assert set(t["endpoint"]) == {"B_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"}


def test_what_cannot_be_given_is_told_by_check(study):
    animals = study.sheet("animals.csv")
    animals["delivered_volume_ul"] = ["-1"] * len(animals)
    study.write_sheet("animals.csv", animals)
    with pytest.raises(StudyError, match="column delivered_volume_ul: -1 cannot be"):
        check(study.root)
