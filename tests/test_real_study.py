"""Real files that nobody here made, from the folder of slides to animals.csv, as a user runs it.

The study's sheets stand in `real_study/`. The images are copied from ``shared/data``; where that is absent the tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from sevhisto.imaging.stains import fit_stain, stains, unmix_stains
from sevhisto.io.records import find_record, load_record
from sevhisto.io.study import load_study
from sevhisto.io.template import HEAD
from sevhisto.registry import split_flags
from sevhisto.types import AnyArray, FloatArray, SectionRecord

SHEETS = Path(__file__).parent / "real_study"
FILES = ("study.toml", "slides.csv", "animals.csv")
TABLES = ("status.csv", "sections.csv", "profiles.csv", "animals.csv", "animals_wide.csv", "thresholds.csv", "records.csv")

# panel and section: pixel size (um), where it stands, field (um2) that the makers' own metadata give
FIELDS: dict[tuple[str, str], tuple[float, str, float]] = {
    ("nd2", "s1"): (0.323390, "ND2", (256 * 0.323390) ** 2),
    ("czi", "s1"): (0.195644, "CZI", (251 * 0.195644) ** 2),
    ("czi", "s2"): (0.195644, "CZI", (251 * 0.195644) ** 2),
    ("tubulin", "s1"): (0.454, "ImageJ", 730 * 968 * 0.454**2),
    ("membrane", "s1"): (0.5, "slides.csv", 450 * 450 * 0.25),
    ("microglia", "s1"): (0.758317, "ImageJ", (512 * 0.758317) ** 2),
    ("picrosirius", "s1"): (0.5, "slides.csv", 2048 * 2048 * 0.25),
    ("dab", "s1"): (0.5, "slides.csv", 5050 * 2716 * 0.25),
    ("he", "s1"): (0.499, "Aperio MPP", 2967 * 2220 * 0.499**2),
}
ON_GLASS = ("dab", "he")


def sevhisto(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-W", "error", "-m", "sevhisto.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def make_study(root: Path, shared_data: Path, files: tuple[str, ...] | None = None) -> Path:
    """Copy the sheets and the images that slides.csv names, under the same names; without `files`, all of them."""
    root.mkdir()
    for name in FILES:
        shutil.copyfile(SHEETS / name, root / name)
    for file in files or sorted(set(slides()["file"])):
        target = root / "slides" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared_data / file, target)  # the data are read-only, the copy is not
    return root


def slides() -> pd.DataFrame:
    return pd.read_csv(SHEETS / "slides.csv", dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The study, run once."""
    root = make_study(tmp_path_factory.mktemp("real") / "study", shared_data)
    done = sevhisto("run", root, "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 sections: " in done.stdout and "0 failed" in done.stdout
    return root


def record_of(study: Path, panel: str, section: str = "s1") -> SectionRecord:
    listed = pd.read_csv(study / "results/records.csv", dtype=str).set_index(["panel", "section"])
    found = find_record(study / "results/records", str(listed.loc[(panel, section), "record"]).split(".")[0])
    assert found is not None
    return load_record(found)


def whole(study: Path) -> pd.DataFrame:
    sections = pd.read_csv(study / "results/sections.csv", dtype={"section": str})
    return sections[sections["zone"] == "all"].set_index(["panel", "section", "marker"])


def rgb(path: Path) -> AnyArray:
    return np.moveaxis(np.asarray(Image.open(path).convert("RGB")), -1, 0)


def test_every_section_has_a_row(study: Path) -> None:
    status = pd.read_csv(study / "results/status.csv").set_index(["panel", "section"])
    assert sorted(status.index) == sorted(FIELDS)
    assert set(status["status"]) <= {"ok", "flagged"}
    for (panel, section), cell in status["flags"].items():
        flags = split_flags(cell)
        assert "no_landmark" in flags and not flags & {"no_lesion", "contour_unreviewed", "no_tissue", "constant_channel"}
        assert ("projected" in flags) == (panel == "czi"), (panel, section)
        assert ("whole_field" in flags) == (panel not in ON_GLASS), (panel, section)
        assert ("stain_vectors_assumed" in flags) == (panel in ("dab", "he"))  # no haematoxylin; three stains at once
    assert "touches_edge" in split_flags(status.loc[("he", "s1"), "flags"])  # cut at the lower edge
    assert "touches_edge" not in split_flags(status.loc[("dab", "s1"), "flags"])


@pytest.mark.parametrize(("panel", "section"), FIELDS)
def test_pixel_size_and_its_source(study: Path, panel: str, section: str) -> None:
    meta = record_of(study, panel, section).meta
    um, source, _ = FIELDS[panel, section]
    assert meta["um_per_px"] == pytest.approx(um, abs=2e-6 if source != "ImageJ" else 1e-4) and meta["um_source"] == source
    assert not meta["has_core"]


def test_areas(study: Path) -> None:
    rows = whole(study)
    assert len(rows) == 15 and (rows["zone_um2"] > 0).all() and (rows["masked_um2"] == 0).all()
    assert rows["positive_um2"].between(0, rows["zone_um2"]).all()
    for (panel, section, marker), row in rows.iterrows():
        field = FIELDS[panel, section][2]
        if panel in ON_GLASS:
            assert 0.15 * field < row["zone_um2"] < 0.5 * field
        else:
            assert row["zone_um2"] == pytest.approx(field, rel=1e-3), (panel, marker)
    sections = pd.read_csv(study / "results/sections.csv")
    assert set(sections.loc[sections["zone_um2"] > 0, "zone"].str.split("_").str[0]) == {"all"}  # no lesion, so no other zone
    animals = pd.read_csv(study / "results/animals.csv")
    assert set(animals["animal"]) == set(slides()["animal"])


def test_two_scenes_are_two_sections(study: Path) -> None:
    one, two = (record_of(study, "czi", s) for s in ("s1", "s2"))
    assert not np.array_equal(one.counts, two.counts)
    assert one.counts.sum() == two.counts.sum() == 251**2


def test_cells_where_there_is_a_channel_that_shows_them(study: Path) -> None:
    cells = pd.read_parquet(study / "results/cells.parquet").groupby("panel").size()
    assert set(cells.index) == {"nd2", "tubulin", "membrane", "he", "microglia"}
    assert 16 <= cells["microglia"] <= 23  # cells seen whole; people drew 19
    assert 150 < cells["tubulin"] < 350 and 70 < cells["membrane"] < 200  # about 230 and 120 can be seen


def test_picrosirius_picks_the_red_fibres(study: Path, shared_data: Path) -> None:
    """The published vectors come from this very tile; those of the batch and the threshold do not."""
    row = whole(study).loc[("picrosirius", "s1", "collagen")]
    folder = shared_data / "ecm/picrosirius"
    mask = np.asarray(Image.open(folder / "tile02_PSR_mask.jpg").convert("L")) > 127
    assert 100 * mask.mean() == pytest.approx(17.57, abs=0.01)
    assert row["threshold_source"] == "dye" and row["threshold"] == pytest.approx(100, abs=2)
    assert 100 * row["positive_um2"] / row["zone_um2"] == pytest.approx(17.57, abs=3)
    collagen = ndimage.gaussian_filter(stain_of(study, folder / "tile02_PSR.jpg", "picrosirius"), 0.3 / 0.5)
    red = collagen > row["threshold"]
    assert row["positive_um2"] / row["zone_um2"] == pytest.approx(red.mean(), rel=0.01)
    assert 2 * (red & mask).sum() / (red.sum() + mask.sum()) > 0.85
    assert np.median(collagen[mask]) > 200 and np.median(collagen[~ndimage.binary_dilation(mask, iterations=10)]) < 0


def stain_of(study: Path, path: Path, panel: str) -> FloatArray:
    """The panel's first marker, with the vectors that the run wrote down."""
    found = json.loads((study / "results/run.json").read_text("utf-8"))["background"][f"{panel} / b"]
    settings = load_study(study).config.panels[panel]
    stain = fit_stain(stains[settings.stain], [], np.zeros(3), found["stain_vectors"])[0]
    return unmix_stains(rgb(path), stain, (str(settings.channels[0].channel),), excess=True)[0]


def test_dab_is_dark_brown(study: Path, shared_data: Path) -> None:
    row = whole(study).loc[("dab", "s1", "Iba1")]
    path = shared_data / "brightfield/iba1_dab_half_section.tif"
    image = rgb(path)
    positive = stain_of(study, path, "dab") - row["background"] > row["threshold"]
    assert row["positive_um2"] == pytest.approx(positive.sum() * 0.25, rel=0.05)  # crumbs beside the section do not count
    red, green, blue = (image[i][positive].mean() for i in range(3))
    assert red > green > blue  # brown
    dark = image.mean(axis=0) < 128
    assert dark[positive].mean() > 0.8 and positive[dark].mean() > 0.8 and dark.mean() < 0.1


def test_outlines_of_tissue_on_glass(study: Path, shared_data: Path) -> None:
    dab = record_of(study, "dab")
    y0, x0 = dab.meta["corner_px"]
    factor = dab.meta["overview_factor"]
    outline = np.kron(dab.masks["tissue"], np.ones((factor, factor), np.uint8)) > 0
    image = rgb(shared_data / "brightfield/iba1_dab_half_section.tif")[:, y0 : y0 + outline.shape[0], x0 : x0 + outline.shape[1]]
    stained = image.mean(axis=0) < 128
    assert (stained & outline[: stained.shape[0], : stained.shape[1]]).sum() > 0.99 * stained.sum()
    assert ndimage.label(dab.masks["tissue"])[1] == 1
    assert record_of(study, "he").masks["cavity"].any()  # the tear at the top


def test_report(study: Path) -> None:
    done = sevhisto("report", study)
    assert done.returncode == 0, done.stderr
    page = (study / "results/report.html").read_text("utf-8")
    assert page.count("data:image/jpeg") >= len(FIELDS)


def test_the_same_again(study: Path, tmp_path: Path, shared_data: Path) -> None:
    again = make_study(tmp_path / "again", shared_data)
    assert sevhisto("run", again, "--jobs", "2").returncode == 0
    for name in TABLES:
        assert (again / "results" / name).read_bytes() == (study / "results" / name).read_bytes(), name
    records = [sorted(p.name for p in (root / "results/records").rglob("*.npz")) for root in (study, again)]
    assert records[0] == records[1]
    inputs = [json.loads((root / "results/run.json").read_text("utf-8"))["inputs_sha256"] for root in (study, again)]
    assert inputs[0] == inputs[1] and len(inputs[0]) == 8


def test_a_colour_picture_of_fluorescence_is_refused(tmp_path: Path, shared_data: Path) -> None:
    root = make_study(tmp_path / "study", shared_data, ("cord/253_L3_NeuN.jpg", "vendor/cluster.nd2"))
    head = (root / "slides.csv").read_text("utf-8").splitlines()[0]
    rows = ["cord/253_L3_NeuN.jpg,mg,s1,,microglia,b,sample,0,,2,", "vendor/cluster.nd2,mg,s2,,microglia,b,sample,0,,,"]
    (root / "slides.csv").write_text("\n".join([head, *rows, ""]), "utf-8")
    before = sevhisto("check", root)
    assert before.returncode == 1 and "slides.csv, row 2" in before.stderr and "slides.csv, row 3" in before.stderr
    done = sevhisto("run", root, "--jobs", "1")
    assert done.returncode == 3  # the run goes on, and leaves a row for each
    status = pd.read_csv(root / "results/status.csv").set_index("section")
    assert list(status["status"]) == ["failed", "failed"]
    for where in (before.stderr, str(status.loc["s1", "reason"])):
        assert "the panel is fluorescence, but the file is a colour (RGB) image" in where
        assert "export the raw channels from the microscope" in where
    for where in (before.stderr, str(status.loc["s2", "reason"])):
        assert "is a time series of 3 frames" in where and "save the frame to be measured as a file of its own" in where


def test_the_draft_names_every_stain() -> None:
    for name in stains:
        assert f"{name} ({', '.join(stains[name].components)})" in HEAD
