"""Synthetic studies: complete, readable, balanced, declared, and the same whatever the number of processes."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from sevhisto.config import parse_config
from sevhisto.phantom import SectionSpec, StudySpec, declared, load_truth, make_study
from sevhisto.phantom.motor import DAYS, MotorModel, auc
from sevhisto.phantom.study import plan_animals, plan_slides
from sevhisto.phantom.study_spec import ARMS
from sevhisto.schema import ANIMALS_SHEET, MOTOR, SLIDES
from sevhisto.types import SevhistoError, snap_threshold

SMALL = StudySpec(n_per_arm=1, n_sections=2, um_per_px=6.0, n_batches=1, section=SectionSpec(cord_um=(900, 700)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("study") / "demo"
    make_study(target, SMALL)
    return target


def hashes(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_bytes_do_not_depend_on_the_number_of_processes(folder, tmp_path):
    make_study(tmp_path / "again", SMALL, jobs=2)
    assert hashes(tmp_path / "again") == hashes(folder)


def test_the_study_is_what_the_vocabulary_asks(folder):
    config = parse_config(tomllib.loads((folder / "study.toml").read_text(encoding="utf-8")))
    assert {name: p.markers for name, p in config.panels.items()} == {
        "A": ("DAPI", "GFAP", "CD68", "CD206", "AF"),
        "B": ("DAPI", "GFAP", "fibronectin", "collagen_I", "AF"),
    }
    assert config.panels["A"].pairs == [("CD68", "CD206")]
    assert config.batches["batch1"].bleed_through["CD206"] == {"CD68": 0.03}
    assert {c.name for c in config.contrasts} == {"mode", "duration", "any_sev"}
    assert len({p.total_dose for n, p in config.protocols.items() if n != "vehicle"}) == 1
    for name, table in (("slides", SLIDES), ("animals", ANIMALS_SHEET), ("motor", MOTOR)):
        assert table.problems(pd.read_csv(folder / f"{name}.csv", dtype=str)) == []


def test_every_section_is_there_once(folder):
    slides = pd.read_csv(folder / "slides.csv")
    assert len(slides) == 4 * 2 * 2 + 2 * 3
    assert sorted(set(slides["file"])) == sorted(p.name for p in (folder / "slides").iterdir())
    assert set(slides.loc[slides["role"] != "sample", "role"]) == {"no_primary", "uninjured", "unstained"}
    assert len(pd.read_csv(folder / "motor.csv")) == 4 * len(DAYS)
    assert sorted(pd.read_csv(folder / "animals.csv")["protocol"]) == sorted(ARMS)
    assert not any(arm in name for arm in ARMS for name in (*slides["file"], *slides["animal"]))


def test_the_truth_matches_the_pixels(folder):
    truth = load_truth(folder)
    assert len(truth.sections) == len(truth.counts) == len(truth.outlines) == 22
    table = truth.table({"fibronectin": 100.0, "CD68": 100.0})
    assert set(table["threshold"]) == {snap_threshold(100.0)}
    control = table[(table["role"] == "no_primary")]
    assert len(control) == 2 * 6
    assert (control["positive_um2"] == 0).all()
    sample = table[(table["zone"] == "core") & (table["role"] == "sample") & (table["marker"] == "fibronectin") & (table["zone_um2"] > 0)]
    merged = sample.merge(truth.sections, on=["file", "piece"])
    share = merged["structure_um2"] / merged["zone_um2"]
    assert np.allclose(share, merged["coverage_fibronectin"], rtol=0.03)  # a few hundred pixels at 6 um
    piece = truth.sections.iloc[0]
    image = tifffile.imread(folder / "slides" / piece["file"])
    outline = np.array(truth.outlines[f"{piece['file']}#{piece['piece']}"]["tissue"])
    middle = np.rint(outline.mean(0)).astype(int)
    here = image[:, middle[1] - 4 : middle[1] + 5, middle[0] - 4 : middle[0] + 5].mean()
    assert here > image[:, :10, :10].mean() + 15


def test_arms_are_balanced_over_batches_and_names_do_not_tell_them():
    animals = plan_animals(StudySpec(n_per_arm=6))
    frame = pd.DataFrame([(a.protocol, a.batch) for a in animals], columns=["protocol", "batch"])
    assert (frame.groupby(["protocol", "batch"]).size() == 3).all()
    protocols = frame["protocol"].tolist()
    assert protocols != sorted(protocols, key=list(ARMS).index)


def test_lesions_shrink_away_from_the_epicentre_and_may_vanish():
    spec = StudySpec(n_per_arm=1, n_sections=7)
    animal = plan_animals(spec)[0]
    plan = next(p for p in plan_slides(spec, [animal]) if p.panel == "B")
    sizes = [piece.spec.lesion_scale for piece in plan.pieces]
    assert sizes[0] == sizes[-1] == 0
    assert max(sizes) in sizes[2:5]
    assert np.all(np.diff([piece.position_um for piece in plan.pieces]) > 0)


def test_declared_effects_are_those_of_the_animals_in_the_long_run():
    spec = StudySpec(n_per_arm=1500)
    frame = pd.DataFrame([(a.protocol, np.log(a.ecm_factor), auc(np.array([a.scores]))[0]) for a in plan_animals(spec)])
    ecm, area = frame.groupby(0)[1].mean(), frame.groupby(0)[2].mean()
    effects = declared(spec)["contrasts"]
    assert np.exp(ecm["infusion_3d"] - ecm["daily_3d"]) == pytest.approx(effects["mode"]["ecm_ratio"]["fibronectin"], rel=0.03)
    assert area["infusion_6d"] - area["infusion_3d"] == pytest.approx(effects["duration"]["bbb_auc_difference"], abs=9)
    assert effects["any_sev"]["ecm_ratio"]["collagen_I"] == pytest.approx((0.85 * 0.75 * 0.6) ** (1 / 3))


def test_a_null_study_declares_nothing():
    effects = declared(StudySpec(null=True))["contrasts"]
    for contrast in effects.values():
        assert contrast["ecm_ratio"] == {"fibronectin": 1.0, "collagen_I": 1.0}
        assert contrast["bbb_auc_difference"] == pytest.approx(0, abs=1e-9)
    assert {a.protocol for a in plan_animals(StudySpec(null=True))} == set(ARMS)


def test_vehicle_rats_recover_as_the_model_says():
    model = MotorModel(plateau_sd=3.0, per_ecm_sd=0.0, per_lesion_sd=0.0)  # the curve of the domain notes
    rng = np.random.default_rng(1)
    zero = np.zeros(20000)
    scores = model.scores(rng, model.plateaus(rng, 0.0, zero, zero), model.taus(rng, 1.0, len(zero)))
    mean = dict(zip(DAYS, scores.mean(0), strict=True))
    for day, value in {1: 1.8, 3: 4.7, 7: 7.9, 14: 10.2, 21: 11.1, 42: 11.5}.items():
        assert mean[day] == pytest.approx(value, abs=0.15)
    assert (scores == np.rint(scores)).all()


def test_more_matrix_means_a_lower_plateau_within_an_arm():
    animals = [a for a in plan_animals(StudySpec(n_per_arm=800)) if a.protocol == "vehicle"]
    z = np.log([a.ecm_factor for a in animals]) / StudySpec().log_sd
    slope = np.polyfit(z, [a.plateau for a in animals], 1)[0]
    assert slope == pytest.approx(StudySpec().motor.per_ecm_sd, abs=0.2)


def test_a_folder_in_use_and_a_wrong_spec_are_refused(folder):
    with pytest.raises(SevhistoError, match="is not empty"):
        make_study(folder, SMALL)
    with pytest.raises(SevhistoError, match="icc"):
        replace(SMALL, icc=0.0)
    with pytest.raises(SevhistoError, match="give effects for"):
        replace(SMALL, arms={})
