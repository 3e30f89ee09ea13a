"""Shading and local background from study.toml to the tables: given, estimated, told, and part of the record's key."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from sevhisto.pipeline import check, compare, run

MARKERS = ("DAPI", "GFAP", "fibronectin", "collagen_I", "AF")


def with_shading(study, lines):
    text = (study.root / "study.toml").read_text("utf-8")
    (study.root / "study.toml").write_text(f"{text}\n[batches.batch1.shading]\n{lines}\n", "utf-8")


def write_flat(study, tilt):
    (study.root / "flat").mkdir()
    light = 1 + tilt * np.linspace(-1, 1, 300)
    tifffile.imwrite(study.root / "flat" / "fn.tif", (154 + 3000 * np.tile(light, (200, 1))).astype(np.uint16))


def background(study):
    (facts,) = json.loads((study.results / "run.json").read_text("utf-8"))["background"].values()
    return facts["shading"]


def intensity(study, marker="fibronectin"):
    table = study.table("sections.csv")
    own = table[(table["marker"] == marker) & (table["zone"] == "all")]
    return own["signal_sum"].astype(float).to_numpy()


def test_a_given_flat_field_is_divided_out_and_what_cannot_be_estimated_is_told(study):
    assert background(study) is None
    before = intensity(study), intensity(study, "collagen_I")
    write_flat(study, 0.2)
    with_shading(study, 'flat = { fibronectin = "flat/fn.tif" }\nestimate = true\nfield_um = [1200, 800]\ndark = { fibronectin = 150 }')
    assert check(study.root)[0] == []
    done = run(study.root, jobs=1)
    assert (done.failed, done.measured_now) == (0, 15)  # everything that shading changes is measured again
    told = background(study)["markers"]
    assert {m: told[m]["source"] for m in MARKERS} == dict.fromkeys(MARKERS, "none") | {"fibronectin": "given"}
    assert (told["fibronectin"]["lowest"], told["fibronectin"]["highest"]) == pytest.approx((0.8, 1.2), abs=0.01)
    assert told["fibronectin"]["dark"] == 150
    assert not np.allclose(intensity(study), before[0], rtol=1e-3)
    assert np.allclose(intensity(study, "collagen_I"), before[1], rtol=0.02, atol=5e4)  # tissue is outlined on all channels
    assert study.table("sections.csv")["flags"].str.contains("shading_not_estimated").all()
    notes = json.loads((study.results / "run.json").read_text("utf-8"))["notes"]
    assert any("shading of collagen_I" in n and "camera fields of tissue; 12 are needed" in n for n in notes)


def test_mistakes_are_told_before_anything_is_read(fresh, sevhisto):
    with_shading(fresh, 'flat = { fibronectin = "flat/fn.tif" }')
    (problem,) = check(fresh.root)[0]
    assert problem.where == "study.toml: batches.batch1.shading.flat"
    assert "fn.tif" in problem.what
    fresh.edit('flat = { fibronectin = "flat/fn.tif" }', 'flat = { fibronektin = "flat/fn.tif" }')
    assert "fibronectin" in sevhisto("check", fresh.root).err
    fresh.edit('flat = { fibronektin = "flat/fn.tif" }', "field_um = [600, 600]")
    assert "set `estimate` to true" in sevhisto("check", fresh.root).err


def test_the_specification_curve_holds_the_local_background(study):
    wanted = (
        "B_core_fibronectin_fraction_pct",
        "B_core_tissue_zone_volume_mm3",
        "B_core_GFAP_density_per_mm2",
        "B_core_DAPI_density_per_mm2",
    )
    study.edit("[endpoints]\n", f"[endpoints]\nsecondary = {json.dumps(wanted)}\n")
    assert run(study.root, jobs=1).measured_now == 0
    compare(study.root, open_key=True)
    curve = study.table("specifications.csv").set_index("endpoint")
    local, plain = (curve[curve["choice"] == choice] for choice in ("background", "as analysed"))
    fraction, volume, gfap, nuclei = (local.loc[name] for name in wanted)
    assert not (fraction["estimate"] == plain.loc[wanted[0], "estimate"]).any()
    assert volume["estimate"].astype(float).to_numpy() == pytest.approx(plain.loc[wanted[1], "estimate"].astype(float).to_numpy())
    assert set(gfap["verdict"]) == {"not made"}  # cells have no form over the local background
    assert nuclei["estimate"].astype(float).to_numpy() == pytest.approx(plain.loc[wanted[3], "estimate"].astype(float).to_numpy())
    sections, thresholds = study.table("sections.csv"), study.table("thresholds.csv")
    made = sections.set_index("marker")["positive_local_um2"] != ""
    assert made["fibronectin"].all()
    assert not made[["DAPI", "AF"]].any()
    known = thresholds.set_index("marker")["local_threshold"] != ""
    assert known.to_dict() == {"DAPI": False, "GFAP": True, "fibronectin": True, "collagen_I": True, "AF": False}
