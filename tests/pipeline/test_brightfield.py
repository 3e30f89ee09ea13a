"""Colour slides of a dye of matrix, from files to the section table: the colours of the batch, and what is positive."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sevhisto.imaging.stains import stains
from sevhisto.pipeline import run
from sevhisto.types import StudyError

SHEET = """
[study]
name = "tiles"
blind = false
section_spacing_um = 200

[panels.masson]
kind = "brightfield"
stain = "masson"
channels = [{ channel = "collagen", marker = "collagen", role = "ecm" }]

[protocols.none]
route = "none"
total_dose = 0
dose_unit = "particles"
injections_h = [0]
"""
BLUE = np.array([0.86, 0.49, 0.10]) / np.linalg.norm([0.86, 0.49, 0.10])
RED = np.array([0.35, 0.77, 0.53]) / np.linalg.norm([0.35, 0.77, 0.53])
SIDE = 256


def tile(collagen_pct, seed):
    """A tile of which the left part is collagen and the rest cytoplasm, with nuclei in it that hold as much of either; exactly known."""
    rng = np.random.default_rng(seed)
    blue, red = np.zeros((2, SIDE, SIDE))
    width = round(SIDE * collagen_pct / 100)
    blue[:, :width] = 400
    red[:, width:] = 300
    for y, x in rng.integers(0, SIDE, (60, 2)):
        if x > width + 6:
            blue[max(y - 4, 0) : y + 4, x - 4 : x + 4], red[max(y - 4, 0) : y + 4, x - 4 : x + 4] = 450, 500
    density = blue[..., None] * BLUE + red[..., None] * RED + rng.normal(0, 4, (SIDE, SIDE, 3))
    return np.clip(256 * 10 ** (-density / 1000) - 1, 0, 255).astype(np.uint8), width / SIDE


@pytest.fixture
def study(tmp_path):
    """Three tiles of one batch, one of them without collagen."""
    (tmp_path / "slides").mkdir()
    (tmp_path / "study.toml").write_text(SHEET, "utf-8")
    (tmp_path / "animals.csv").write_text("animal,protocol\na,none\nb,none\nc,none\n", "utf-8")
    rows = ["file,animal,section,panel,batch,role,position_um,um_per_px"]
    truth = {}
    for animal, pct in (("a", 40), ("b", 12), ("c", 0)):
        image, truth[animal] = tile(pct, ord(animal))
        Image.fromarray(image).save(tmp_path / "slides" / f"{animal}.png")
        rows.append(f"{animal}.png,{animal},s1,masson,day1,sample,0,0.5")
    (tmp_path / "slides.csv").write_text("\n".join([*rows, ""]), "utf-8")
    return tmp_path, truth


def measured(root):
    assert not run(root, jobs=1).failures
    sections = pd.read_csv(root / "results/sections.csv").query("zone == 'all'").set_index("animal")
    return sections, json.loads((root / "results/run.json").read_text("utf-8"))["background"]["masson / day1"]


def degrees(a, b):
    return np.degrees(np.arccos(np.clip(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_collagen_is_where_its_dye_prevails_also_in_a_tile_without_any(study):
    root, truth = study
    sections, facts = measured(root)
    assert facts["stain_source"] == {"collagen": "estimated", "cytoplasm": "estimated"}
    assert (
        degrees(facts["stain_vectors"]["collagen"], BLUE) < 6 and degrees(facts["stain_vectors"]["cytoplasm"], RED) < 6
    )  # in the published plane
    for animal, share in truth.items():
        row = sections.loc[animal]
        assert row["positive_um2"] / row["zone_um2"] == pytest.approx(share, abs=0.01)
        assert row["threshold_source"] == "dye" and row["threshold"] == pytest.approx(100, rel=0.02)
        assert "stain_vectors_assumed" not in row["flags"] and "threshold_fallback" not in row["flags"]


def test_vectors_of_the_study_win_and_a_changed_colour_is_measured_again(study):
    root, truth = study
    measured(root)
    before = {p.name for p in (root / "results/records").rglob("*.npz")}
    given = 'stain = "masson"\nstain_vectors = { collagen = [0.86, 0.49, 0.1], cytoplasm = [0.35, 0.77, 0.53] }'
    (root / "study.toml").write_text(SHEET.replace('stain = "masson"', given), "utf-8")
    sections, facts = measured(root)
    assert facts["stain_source"] == {"collagen": "given", "cytoplasm": "given"}
    assert facts["stain_vectors"]["collagen"] == pytest.approx(BLUE, abs=1e-4)
    assert sections.loc["a", "positive_um2"] / sections.loc["a", "zone_um2"] == pytest.approx(truth["a"], abs=0.01)
    assert len({p.name for p in (root / "results/records").rglob("*.npz")} - before) == 3


def test_a_tile_without_collagen_alone_keeps_the_published_blue(study):
    root, _ = study
    slides = (root / "slides.csv").read_text("utf-8").splitlines()
    (root / "slides.csv").write_text("\n".join([slides[0], slides[3], ""]), "utf-8")
    (root / "animals.csv").write_text("animal,protocol\nc,none\n", "utf-8")
    sections, facts = measured(root)
    assert facts["stain_source"]["collagen"] == "published"
    assert facts["stain_vectors"]["collagen"] == pytest.approx(stains["masson"].vectors[0], abs=1e-4)
    assert sections.loc["c", "positive_um2"] < 0.01 * sections.loc["c", "zone_um2"]
    assert "stain_vectors_assumed" in sections.loc["c", "flags"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{ colagen = [0.8, 0.5, 0.1] }", "stain has no component 'colagen'"),
        ("{ collagen = [0.8, -0.5, 0.1] }", "none negative"),
        ("{ collagen = [0, 0, 0] }", "not all 0"),
    ],
)
def test_wrong_vectors_are_told_before_a_slide_is_read(study, given, told):
    root, _ = study
    (root / "study.toml").write_text(SHEET.replace('stain = "masson"', f'stain = "masson"\nstain_vectors = {given}'), "utf-8")
    with pytest.raises(StudyError, match=told):
        run(root, jobs=1)
    assert not (root / "results").exists()
