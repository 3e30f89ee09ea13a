from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from sevhisto.io.draft import FILES, draft_study
from sevhisto.io.filenames import read_name
from sevhisto.io.markers import guess_marker, guess_panel
from sevhisto.io.study import load_study
from sevhisto.types import StudyError

Write = Callable[..., None]


@pytest.mark.parametrize(
    ("path", "animal", "section", "batch", "role"),
    [
        ("R01_s03_A.ome.tif", "R01", "03", "", "sample"),
        ("rat3 sec12.tif", "rat3", "12", "", "sample"),
        ("M12-section-4.nd2", "M12", "4", "", "sample"),
        ("A-07_S2_b1.czi", "A-07", "2", "1", "sample"),
        ("batch2/R01/s1.tif", "R01", "1", "2", "sample"),
        ("2024-05-13/R2_s1.tif", "R2", "1", "2024-05-13", "sample"),
        ("20240513_R2_T10_s1.tif", "R2", "1", "20240513", "sample"),
        ("B1_unstained.tif", "", "", "1", "unstained"),
        ("R05_no_primary_B2.tif", "R05", "", "2", "no_primary"),
        ("secondary-only.tif", "", "", "", "no_primary"),
        ("uninjured_R9_s1.tif", "R9", "1", "", "uninjured"),
        ("B2_CD68 single-stain.tif", "", "", "2", "single_stain"),
        ("bridge_B3.tif", "", "", "3", "bridge"),
        ("scan 0001.tif", "", "", "", "sample"),
        ("stained_x20.tif", "", "", "", "sample"),
    ],
)
def test_file_names(path: str, animal: str, section: str, batch: str, role: str) -> None:
    tokens = read_name(path)
    assert (tokens.animal, tokens.section, tokens.batch, tokens.role) == (animal, section, batch, role)


@pytest.mark.parametrize(
    ("channel", "marker", "role"),
    [
        ("DAPI", "DAPI", "nuclei"),
        ("Hoechst 33342", "Hoechst", "nuclei"),
        ("GFAP-AF488", "GFAP", "landmark"),
        ("Iba-1", "Iba1", "macrophage"),
        ("FN", "fibronectin", "ecm"),
        ("Col1a1 (Cy5)", "collagen I", "ecm"),
        ("AF", "autofluorescence", "autofluorescence"),
        ("AF 488", "?", "?"),
        ("Alexa Fluor 594", "?", "?"),
        ("Cy5", "?", "?"),
        ("Channel:2", "?", "?"),
        ("C1", "?", "?"),
        ("ChA", "?", "?"),
        ("FITC BP", "?", "?"),
        ("NeuN", "NeuN", "other"),
    ],
)
def test_markers(channel: str, marker: str, role: str) -> None:
    assert guess_marker(channel) == (marker, role)


def test_panel_without_names() -> None:
    assert guess_panel(("", "", "DAPI", "DAPI 2")) == [(1, "?", "?"), (2, "?", "?"), ("DAPI", "DAPI", "nuclei"), ("DAPI 2", "?", "?")]


def drafted(root: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((root / name).read_text("utf-8").splitlines()))

    return rows("slides.csv"), rows("animals.csv")


def test_draft_then_fill_in_then_load(tmp_path: Path, tiff: Write, rgb: Write) -> None:
    slides = tmp_path / "my study" / "slides"
    for name in ("R01_s2.tif", "R01_s10.tif", "R02_s2.tif", "unstained_R02.tif"):
        tiff(slides / "batch1" / name, channels=("DAPI", "GFAP", "CD68", "CD206"))
    tiff(slides / "R03_s1.tif", channels=("Hoechst", "Cy5"), um=None)
    rgb(slides / "R01_psr.tif")
    (slides / "broken.tif").write_bytes(b"<html>")
    (slides / ".hidden.tif").write_bytes(b"")
    before = {p: p.read_bytes() for p in slides.rglob("*.tif")}
    notes = draft_study(slides)
    root = tmp_path / "my study"
    assert before == {p: p.read_bytes() for p in slides.rglob("*.tif")}
    assert any("broken.tif" in n for n in notes) and any("position_um" in n for n in notes)
    rows, animals = drafted(root)
    assert len(rows) == 6 and [r["section"] for r in rows if r["file"].startswith("batch1/R01")] == ["2", "10"]
    assert [a["animal"] for a in animals] == ["R01", "R03", "R02"] or {a["animal"] for a in animals} == {"R01", "R02", "R03"}
    assert all(a["protocol"] == "?" for a in animals)
    by_file = {r["file"]: r for r in rows}
    assert by_file["R03_s1.tif"]["um_per_px"] == "?" and by_file["R03_s1.tif"]["batch"] == "?"
    assert by_file["batch1/unstained_R02.tif"]["role"] == "unstained" and by_file["batch1/unstained_R02.tif"]["batch"] == "1"
    config = tomllib.loads((root / "study.toml").read_text("utf-8"))
    assert config["study"]["name"] == "my study" and config["study"]["slides_dir"] == "slides"
    kinds = [(p.get("kind"), p.get("pairs")) for p in config["panels"].values()]
    assert (None, [["CD68", "CD206"]]) in kinds and ("brightfield", None) in kinds and len(kinds) == 3
    with pytest.raises(StudyError) as error:
        load_study(root)
    assert all("is still to be filled in" in p.what or "two sections" in p.what for p in error.value.problems), error.value
    fill_in(root)
    study = load_study(root)
    assert len(study.slides) == 6 and len(study.config.panels) == 3


def fill_in(root: Path) -> None:
    """Do what the notes ask of the user."""
    toml = (root / "study.toml").read_text("utf-8")
    toml = toml.replace('section_spacing_um = "?"', "section_spacing_um = 200")
    toml = toml.replace('marker = "?"', 'marker = "NeuN"').replace('role = "?"', 'role = "other"')
    start = toml.index("# [protocols.vehicle]")
    end = toml.index("# [protocols.daily_x3]")
    toml = toml[:start] + "\n".join(line.lstrip("# ") for line in toml[start:end].splitlines()) + "\n" + toml[end:]
    (root / "study.toml").write_text(toml, "utf-8")
    for name, value in (("slides.csv", "1"), ("animals.csv", "vehicle")):
        text = (root / name).read_text("utf-8")
        (root / name).write_text(text.replace("?", value), "utf-8")


def test_examples_in_the_template_are_valid(tmp_path: Path, tiff: Write) -> None:
    tiff(tmp_path / "slides" / "R01_s1_b1.tif", channels=("DAPI", "CD68", "CD206"))
    draft_study(tmp_path)
    fill_in(tmp_path)
    text = (tmp_path / "study.toml").read_text("utf-8")
    lines = text[text.index("# Stain batches") :].splitlines()
    example = [line.removeprefix("# ").removeprefix("#") for line in lines if not line.startswith("# ") or "=" in line or "[" in line]
    (tmp_path / "study.toml").write_text(text[: text.index("# Stain batches")] + "\n".join(example), "utf-8")
    study = load_study(tmp_path)
    assert set(study.config.protocols) == {"vehicle", "daily_x3", "infusion_3d"} and len(study.config.contrasts) == 1


def test_nothing_is_overwritten(tmp_path: Path, tiff: Write) -> None:
    tiff(tmp_path / "slides" / "R01_s1.tif")
    (tmp_path / "animals.csv").write_text("mine")
    with pytest.raises(StudyError, match=r"animals\.csv: is there already"):
        draft_study(tmp_path / "slides")
    assert (tmp_path / "animals.csv").read_text() == "mine" and not (tmp_path / "study.toml").exists()


def test_where_the_study_is_written(tmp_path: Path, tiff: Write) -> None:
    tiff(tmp_path / "images" / "R01_s1_b1.tif")
    draft_study(tmp_path / "images")
    assert all((tmp_path / "images" / name).is_file() for name in FILES)
    fill_in(tmp_path / "images")
    assert load_study(tmp_path / "images").slide_path("R01_s1_b1.tif").is_file()
    draft_study(tmp_path / "images", tmp_path / "elsewhere")
    fill_in(tmp_path / "elsewhere")
    assert load_study(tmp_path / "elsewhere").slide_path("R01_s1_b1.tif").is_file()


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such folder"):
        draft_study(tmp_path / "nowhere")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(StudyError, match="no image that can be read"):
        draft_study(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (("DAPI", "CD68", "GFAP"), True),
        (("ch00", "ch01"), True),
        (("C1", "C2", "C3"), True),
        (("w1DAPI", "w2FITC"), True),
        (("405nm", "488nm"), True),
        (("C4", "C5"), False),  # levels of the cord
        (("left", "right"), False),
        (("001", "002"), False),
    ],
)
def test_files_of_single_channels_are_drafted_as_one_slide(tmp_path: Path, tiff: Write, words: tuple[str, ...], joined: bool) -> None:
    for section in (3, 4):
        for word in words:
            tiff(tmp_path / f"R12_s{section}_{word}.tif", ("",))
    notes = draft_study(tmp_path)
    slides, _ = drafted(tmp_path)
    if joined:
        assert [row["file"] for row in slides] == ["R12_s3_*.tif", "R12_s4_*.tif"]
        assert {row["animal"] for row in slides} == {"R12"} and [row["section"] for row in slides] == ["3", "4"]
        channels = tomllib.loads((tmp_path / "study.toml").read_text("utf-8"))["panels"]["A"]["channels"]
        assert sorted(str(c["channel"]) for c in channels) == sorted(words)
        assert sum("joined" in note for note in notes) == 2
    else:
        assert len(slides) == 2 * len(words) and not any("joined" in note for note in notes)


def test_single_channels_of_unlike_size_stay_apart(tmp_path: Path, tiff: Write) -> None:
    tiff(tmp_path / "R1_s1_DAPI.tif", ("",))
    tiff(tmp_path / "R1_s1_GFAP.tif", ("",), size=16)
    draft_study(tmp_path)
    assert len(drafted(tmp_path)[0]) == 2
