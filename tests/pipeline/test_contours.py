"""Panels without landmark: their outlines come from the animal's nearest section that has one, and follow it when it is redrawn."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest

from sevhisto.io.study import load_study
from sevhisto.phantom import SectionSpec, StudySpec, make_study
from sevhisto.pipeline import check, run
from sevhisto.pipeline.contours import neighbours


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("carried") / "study"
    section = SectionSpec(cord_um=(700.0, 560.0), margin_um=30.0)
    make_study(root, StudySpec(n_per_arm=1, n_sections=2, um_per_px=4.0, n_batches=1, seed=5, section=section))
    text = (root / "study.toml").read_text("utf-8")
    start = text.index("[panels.B]")
    (root / "study.toml").write_text(text[:start] + text[start:].replace('role = "landmark"', 'role = "other"'), "utf-8")
    run(root, jobs=1)
    return root


@pytest.fixture
def study(made, tmp_path):
    return shutil.copytree(made, tmp_path / "study")


def sections(root, panel):
    table = pd.read_csv(root / "results/sections.csv", keep_default_na=False)
    rows = table[(table["zone"] == "core") & (table["marker"] == "DAPI") & (table["panel"] == panel)]
    return rows[rows["section"].str.startswith("s")].set_index(["animal", "section"])


def test_every_section_has_the_zones_of_its_neighbour(made):
    a, b = sections(made, "A"), sections(made, "B")
    assert len(a) == len(b) == 8
    assert b["flags"].str.contains("contour_carried").all() and not a["flags"].str.contains("contour_carried").any()
    assert not b["flags"].str.contains("no_landmark").any()
    whole = [t["zone_um2"].astype(float) + t["cavity_um2"].astype(float) + t["masked_um2"].astype(float) for t in (a, b)]
    assert (whole[1] / whole[0]).between(0.8, 1.25).all()
    status = pd.read_csv(made / "results/status.csv", keep_default_na=False)
    carried = status[status["flags"].str.contains("contour_carried") & ~status["flags"].str.contains("uncertain")]
    assert len(carried) and "contour_carried" not in ";".join(status.loc[status["panel"] == "A", "flags"])


def test_two_processes_give_the_same_and_nothing_is_read_twice(study):
    before = {p.name: p.read_bytes() for p in (study / "results").glob("*.csv")}
    assert run(study, jobs=1).measured_now == 0
    shutil.rmtree(study / "results/records")
    assert run(study, jobs=2).failed == 0
    assert {p.name: p.read_bytes() for p in (study / "results").glob("*.csv")} == before


def test_a_redrawn_outline_moves_the_sections_that_took_it(study):
    slides = pd.read_csv(study / "slides.csv", dtype=str, keep_default_na=False)
    a = slides[(slides["panel"] == "A") & (slides["role"] == "sample")].iloc[0]
    ring = [[40, 40], [90, 40], [90, 90], [40, 90], [40, 40]]
    drawn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"name": "lesion"}}
    (study / "corrections").mkdir(exist_ok=True)
    name = f"{a['file']}.geojson"
    (study / "corrections" / name).write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}), "utf-8")
    of_slide = (slides["file"] == a["file"]).sum()
    assert run(study, jobs=1).measured_now == 2 * of_slide  # the slide's own sections, and as many that take outlines from it
    assert sections(study, "A")["flags"].str.contains("contour_drawn").sum() == 1


def test_the_nearest_is_taken_and_none_beyond_reach(study):
    loaded = load_study(study)
    slides = loaded.slides
    near = neighbours(loaded)
    for row, (other, gap) in near.items():
        assert slides.loc[row, "panel"] == "B" and slides.loc[other, "panel"] == "A"
        assert slides.loc[row, "animal"] == slides.loc[other, "animal"]
        same = slides[(slides["animal"] == slides.loc[row, "animal"]) & (slides["panel"] == "A")]
        assert gap == abs(same["position_um"] - slides.loc[row, "position_um"]).min() <= 200
    row, (gone, _) = next(iter(near.items()))
    left = neighbours(loaded, set(slides.index) - {gone})
    assert left.get(row, (None,))[0] != gone  # the next, or none within reach
    text = (study / "study.toml").read_text("utf-8")
    (study / "study.toml").write_text(text + "\n[imaging]\ncontour_reach_um = 5\n", "utf-8")
    assert neighbours(load_study(study)).keys() <= {r for r, (_, g) in near.items() if g <= 5}
    problems, notes = check(study)
    assert not problems
    assert any(re.search(r"panel B: \d+ sections have no section with a landmark within 5 um", note) for note in notes)
