"""From outlines with classes to animals.csv: two stains as bright as each other in one channel, one of coarse and one of fine grain."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from sevhisto import pipeline
from sevhisto.io.models import load_model
from sevhisto.types import StudyError

from .conftest import Study

SHEET = """
[study]
name = "textures"
orientation = "transverse"
section_spacing_um = 200

[imaging]
mask_faults = false

[panels.P]
channels = [{ channel = 1, marker = "stain", role = "other" }]

[protocols.saline]
route = "none"
total_dose = 0
dose_unit = "particles"
injections_h = [0]

[zones]
edges_um = [0, 250]
"""
CLASSIFIED = """[panels.P]
classifier = "scar"
channels = [
  { channel = 1, marker = "stain", role = "other" },
  { channel = "scar", marker = "scar matrix", role = "ecm", source = "classifier" },
]
"""
UM, SIDE, MARGIN = 2.0, 330, 40
ANIMALS = ("Ratte01", "Ratte02", "Ratte03")


def slide(seed: int) -> tuple[np.ndarray, float]:
    """An image whose left part is coarse texture and whose right is fine, of the same grey levels; and the share that is coarse."""
    rng = np.random.default_rng(seed)
    edge = int(SIDE * (0.3 + 0.1 * seed))
    textures = [gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), s) for s in (5.0, 1.2)]
    coarse, fine = (500 + 120 * t / t.std() for t in textures)
    tissue = np.where(np.arange(SIDE) < edge, coarse, fine)
    image = np.full((SIDE + 2 * MARGIN,) * 2, 100.0)
    image[MARGIN:-MARGIN, MARGIN:-MARGIN] = tissue
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 65535).astype(np.uint16)[None], edge / SIDE


def box(x0: float, x1: float, y0: float, y1: float) -> dict:
    x0, x1, y0, y1 = (MARGIN + SIDE * v for v in (x0, x1, y0, y1))
    return {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}


def outlines(share: float) -> list[dict]:
    drawn = [("scar", box(0.05, share - 0.03, a, a + 0.1)) for a in (0.1, 0.5)]
    drawn += [("other", box(share + 0.03, 0.95, a, a + 0.1)) for a in (0.2, 0.7)]
    line = [[MARGIN + SIDE * (share + 0.05), MARGIN + 10], [MARGIN + SIDE * 0.9, MARGIN + 30]]
    drawn.append(("other", {"type": "LineString", "coordinates": line}))
    return [{"type": "Feature", "geometry": g, "properties": {"classification": {"name": c}}} for c, g in drawn]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A study of three animals; two are drawn on."""
    root = tmp_path_factory.mktemp("drawn") / "study"
    for folder in ("slides", "training"):
        (root / folder).mkdir(parents=True)
    (root / "study.toml").write_text(SHEET, "utf-8")
    rows, truth = ["file,animal,section,panel,batch,role,position_um,um_per_px"], {}
    for number, animal in enumerate(ANIMALS, 1):
        image, truth[animal] = slide(number)
        tifffile.imwrite(root / "slides" / f"{animal}_P.tif", image, photometric="minisblack", metadata={"axes": "CYX"})
        rows.append(f"{animal}_P.tif,{animal},s1,P,b1,sample,0,{UM}")
        if number < 3:
            (root / "training" / f"{animal}_P.tif.geojson").write_text(json.dumps(outlines(truth[animal])), "utf-8")
    (root / "slides.csv").write_text("\n".join([*rows, ""]), "utf-8")
    (root / "animals.csv").write_text("animal,protocol\n" + "".join(f"{a},saline\n" for a in ANIMALS), "utf-8")
    return root, truth


@pytest.fixture
def fresh(drawn, tmp_path) -> Study:
    return Study(Path(shutil.copytree(drawn[0], tmp_path / "fresh")))


@pytest.fixture(scope="module")
def finished(drawn, tmp_path_factory) -> Study:
    """The same learned and run."""
    study = Study(Path(shutil.copytree(drawn[0], tmp_path_factory.mktemp("finished") / "study")))
    pipeline.train(study.root, "scar", who="EM", jobs=1)
    use(study)
    assert pipeline.run(study.root, jobs=1).failed == 0
    return study


@pytest.fixture
def study(finished, tmp_path) -> Study:
    return Study(Path(shutil.copytree(finished.root, tmp_path / "study")))


def use(study: Study) -> None:
    study.edit('[panels.P]\nchannels = [{ channel = 1, marker = "stain", role = "other" }]\n', CLASSIFIED)


def test_from_outlines_to_the_animal_table(finished, drawn):
    _, truth = drawn
    key = pd.read_csv(finished.results / "key" / "key.csv").set_index("code")["name"]
    animals = finished.table("animals.csv")
    rows = animals[(animals["marker"] == "scar matrix") & (animals["zone"] == "all") & (animals["metric"] == "fraction_pct")]
    for row in rows.itertuples():
        assert float(row.value) == pytest.approx(100 * truth[key[row.animal]], abs=4), key[row.animal]
    assert len(rows) == 3
    thresholds = finished.table("thresholds.csv").set_index("marker")
    assert thresholds.loc["scar matrix", "source"] == "classifier" and float(thresholds.loc["scar matrix", "threshold"]) == 499.25
    # what a threshold sees is the same everywhere: the stain alone tells nothing
    means = animals[(animals["marker"] == "stain") & (animals["zone"] == "all") & (animals["metric"] == "mean_intensity")]
    assert means["value"].astype(float).std() < 0.05 * means["value"].astype(float).mean()


def test_flags_tell_on_which_slides_it_learned(finished):
    sections = finished.table("sections.csv")
    key = pd.read_csv(finished.results / "key" / "key.csv").set_index("code")["name"]
    of_class = sections[(sections["marker"] == "scar matrix") & (sections["zone"] == "all")]
    assert {key[r.animal]: "trained_on" in r.flags for r in of_class.itertuples()} == dict(zip(ANIMALS, (True, True, False), strict=True))
    assert not sections[sections["marker"] == "stain"]["flags"].str.contains("trained_on").any()


def test_error_is_in_model_run_and_report_and_no_name_leaks(finished):
    model = load_model(finished.root / "classifiers/scar.npz")
    error = model.facts["out_of_sample"]
    assert (error["left_out"], error["groups"]) == ("animal", 2) and error["balanced_accuracy"] > 0.9
    facts = json.loads((finished.results / "run.json").read_text("utf-8"))["classifiers"]["P"]
    assert facts["out_of_sample"] == error and facts["who"] == "EM" and facts["n_slides"] == 2
    report = pipeline.report(finished.root, jobs=1).read_text("utf-8")
    assert "Classifier scar, panel P" in report and "balanced accuracy" in report
    told = [p for p in finished.results.rglob("*") if p.is_file() and "key" not in p.parts]
    for path in [*told, finished.root / "classifiers/scar.npz"]:
        assert b"Ratte" not in path.read_bytes(), path


def test_the_same_outlines_give_the_same_bytes_and_a_changed_model_measures_again(study):
    model = study.root / "classifiers/scar.npz"
    before = model.read_bytes()
    pipeline.train(study.root, "scar", who="EM", jobs=1)
    assert model.read_bytes() == before
    assert pipeline.run(study.root, jobs=1).measured_now == 0
    frozen = [json.loads((study.results / "run.json").read_text("utf-8"))["frozen"]]
    pipeline.train(study.root, "scar", who="EM", seed=2, jobs=1)
    assert model.read_bytes() != before
    assert pipeline.run(study.root, jobs=1).measured_now == 3
    frozen.append(json.loads((study.results / "run.json").read_text("utf-8"))["frozen"])
    assert frozen[0]["thresholds"] == frozen[1]["thresholds"] and frozen[0]["classifiers"] != frozen[1]["classifiers"]


def test_a_panel_without_classifier_is_measured_as_before(fresh, finished):
    """What is in the files does not notice that a class is measured beside it."""
    assert pipeline.run(fresh.root, jobs=1).failed == 0
    plain, beside = (pd.read_csv(s.results / "sections.csv", dtype=str) for s in (fresh, finished))
    beside = beside[beside["marker"] == "stain"].reset_index(drop=True)
    beside["flags"] = beside["flags"].str.replace("axis_uncertain;", "")  # of fibres, which the class has
    pd.testing.assert_frame_equal(plain, beside)


def test_check_and_run_tell_what_is_wrong_with_a_classifier(fresh, study, sevhisto):
    use(fresh)
    for command in ("check", "run"):
        said = sevhisto(command, fresh.root)
        assert said.status == 1 and "classifiers/scar.npz: cannot be read" in said.err
    (fresh.root / "classifiers").mkdir()
    (fresh.root / "classifiers/scar.npz").write_bytes(b"PK")
    assert "no classifier of this program" in sevhisto("check", fresh.root).err
    shutil.copy(study.root / "classifiers/scar.npz", fresh.root / "classifiers/scar.npz")
    fresh.edit('channel = "scar"', 'channel = "scars"')
    assert "knows no class 'scars'" in sevhisto("check", fresh.root).err
    fresh.edit('channel = "scars"', 'channel = "scar"')
    fresh.edit('marker = "stain"', 'marker = "other stain"')
    assert "needs stain, which the panel does not have" in sevhisto("check", fresh.root).err
    fresh.edit('marker = "other stain"', 'marker = "stain"')
    assert sevhisto("check", fresh.root).status == 0
    fresh.edit(f",{UM}", ",4.0", "slides.csv")
    assert "pixels of 4 um are too coarse" in sevhisto("check", fresh.root).err


def test_check_and_train_tell_what_is_wrong_with_outlines(fresh, sevhisto):
    first, second = sorted((fresh.root / "training").iterdir())
    second.unlink()
    made = json.loads(first.read_text("utf-8"))
    made[0]["properties"] = {}
    made[1]["geometry"] = box(20, 21, 20, 21)
    first.write_text(json.dumps(made), "utf-8")
    for said in (sevhisto("check", fresh.root), sevhisto("train", fresh.root, "scar", "--jobs", 1)):
        assert said.status == 1 and "outline 1: has no class" in said.err and "outline 2: lies outside the slide" in said.err
    first.write_text(json.dumps(made[2:]), "utf-8")
    for said in (sevhisto("check", fresh.root), sevhisto("train", fresh.root, "scar", "--jobs", 1)):
        assert said.status == 1 and "one class only, 'other'" in said.err
    first.rename(first.with_name("nobody.geojson"))
    assert "training/nobody.geojson: belongs to no slide" in sevhisto("check", fresh.root).err
    (fresh.root / "training/nobody.geojson").unlink()
    assert "holds no outlines" in sevhisto("train", fresh.root, "scar").err
    assert not (fresh.root / "classifiers").exists()


def test_an_image_that_changed_since_first_sight_teaches_nothing(study, sevhisto):
    model = (study.root / "classifiers" / "scar.npz").read_bytes()
    name = sorted((study.root / "training").iterdir())[0].name.removesuffix(".geojson")
    path = next(p for p in (study.root / "slides").iterdir() if p.name.startswith(name))
    path.write_bytes(path.read_bytes() + b" ")
    said = sevhisto("train", study.root, "scar", "--jobs", 1)
    assert said.status == 1 and "changed since it was first seen" in said.err and "--accept" in said.err
    assert (study.root / "classifiers" / "scar.npz").read_bytes() == model
    assert sevhisto("check", study.root, "--accept", path.name).status == 0
    assert sevhisto("train", study.root, "scar", "--jobs", 1).status == 0


def test_the_command_shows_the_error_and_warns_of_a_single_slide(fresh, sevhisto):
    sorted((fresh.root / "training").iterdir())[1].unlink()
    said = sevhisto("train", fresh.root, "scar", "--who", "EM", "--finest-um", 2, "--jobs", 1)
    assert said.status == 0, said.err
    for part in ("scar: 2 outlines", "drawn / found", "balanced accuracy", "5 outlines", "whole outlines were left out"):
        assert part in said.out
    assert 'classifier = "scar"' in said.out
    assert "Ratte" not in said.out.replace(str(fresh.root), "")
    said = sevhisto("train", fresh.root, "scar", "--finest-um", 1, "--jobs", 1)
    assert said.status == 1 and "1 um is finer than the largest pixel of these slides, 2 um" in said.err
    assert "cannot be a file name" in sevhisto("train", fresh.root, "../x").err
    use(fresh)
    pipeline.run(fresh.root, jobs=1)
    of_class = fresh.table("sections.csv").query("marker == 'scar matrix'")
    assert of_class["flags"].str.contains("classifier_untested").all()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('classifier = "scar"\n', "", "need each other"),
        (', source = "classifier"', "", "need each other"),
        ('role = "ecm"', 'role = "landmark"', "cannot have role 'landmark'"),
        ('classifier = "scar"', 'classifier = "../scar"', "without folder"),
        ('  { channel = 1, marker = "stain", role = "other" },\n', "", "of which one at least is needed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fresh, old, new, told):
    use(fresh)
    fresh.edit(old, new)
    with pytest.raises(StudyError, match=told):
        pipeline.run(fresh.root, jobs=1)
