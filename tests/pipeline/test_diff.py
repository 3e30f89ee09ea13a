"""`sevhisto diff`: one change at a time, and two at once; each moved number names the change, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from sevhisto.io import key as keys
from sevhisto.io.study import load_study
from sevhisto.pipeline import check, compare, diff, exclude, run
from sevhisto.pipeline.differing import _Kept
from sevhisto.report.differences import NOTHING, difference_lines
from sevhisto.types import SevhistoError
from tests.pipeline.conftest import Study, draw
from tests.pipeline.test_exclusions import a_code


def brighten(study: Study, role: str) -> str:
    """Change the pixels of a slide with sections of this role; return its code."""
    slides = study.sheet("slides.csv")
    file = sorted(slides.loc[slides["role"] == role, "file"])[0]
    path = study.root / "slides" / file
    with tifffile.TiffFile(path) as tiff:
        pixels, text = tiff.asarray(), tiff.ome_metadata
    assert text is not None
    tifffile.imwrite(
        path, np.minimum(pixels.astype(np.int64) + pixels // 8, 65535).astype(pixels.dtype), description=text.encode(), metadata=None
    )
    assert check(study.root, accept=[file])[0] == []  # it is meant
    return keys.codes(load_study(study.root)).files[file]


def after(study: Study, change: Callable[[], object]) -> pd.DataFrame:
    """Make a change, run again, and return what differs."""
    kept = study.root.parent / "kept"
    shutil.copytree(study.results, kept)
    change()
    assert run(study.root, jobs=1).failed == 0
    return diff(kept, study.root)


def causes(found: pd.DataFrame, stage: str, **where: str) -> set[str]:
    rows = found[found["stage"] == stage]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return {cause for cell in rows["cause"] for cause in cell.split("; ")}


def test_nothing_differs_after_the_same_run(study: Study, sevhisto: Callable) -> None:
    found = after(study, lambda: None)
    assert found.empty and difference_lines(found) == [NOTHING]
    said = sevhisto("diff", study.root.parent / "kept", study.root)
    assert (said.status, said.out.strip()) == (0, NOTHING)


def test_a_threshold_moves_its_marker_only(study: Study) -> None:
    found = after(study, lambda: study.edit('marker = "fibronectin"', 'marker = "fibronectin"\nthreshold = 40.0'))
    name = "panels.B.channels.fibronectin.threshold"
    assert set(found.loc[found["stage"] == "settings", "what"]) == {name}
    assert causes(found, "thresholds") == {f"setting {name}"}
    moved = found[found["stage"] == "sections"]
    assert set(moved["marker"]) == {"fibronectin"} and causes(found, "sections") == {"threshold of fibronectin, batch batch1"}
    assert set(found["stage"]) == {"settings", "thresholds", "sections", "animals"}
    assert causes(found, "animals") == {"threshold of fibronectin, batch batch1"}
    text = "\n".join(difference_lines(found))
    assert text.index("Settings that differ") < text.index("Thresholds that moved") < text.index("Sections that moved")


def test_a_zone_edge_moves_zones_only(study: Study) -> None:
    found = after(study, lambda: study.edit("[study]", "[zones]\nedges_um = [0, 200, 400]\n[study]"))
    assert set(found["stage"]) == {"settings", "sections", "animals"}
    assert causes(found, "sections") == causes(found, "animals") == {"setting zones.edges_um"}
    assert not set(found.loc[found["stage"] == "sections", "zone"]) & {"core", "all"}


def test_a_redrawn_lesion_moves_its_section_and_what_is_made_from_it(study: Study) -> None:
    file = study.a_sample()
    found = after(study, lambda: draw(study, file))
    code = keys.codes(load_study(study.root)).files[file]
    assert list(found.loc[found["stage"] == "inputs", "what"]) == [f"drawn outlines of {code}"]
    moved = found[found["stage"] == "outlines"]
    assert moved[["old", "new", "cause"]].to_numpy().tolist() == [["program", "drawn", "outline drawn anew"]]
    own = tuple(moved[["animal", "section"]].iloc[0])
    sections = found[(found["stage"] == "sections") & (found["animal"] == own[0]) & (found["section"] == own[1])]
    assert len(sections) > 20 and sections["cause"].str.startswith("outline drawn anew").all()
    others = found[(found["stage"] == "sections") & ~found.index.isin(sections.index)]
    assert others["cause"].str.startswith(("threshold of", "other sections")).all()  # the cut of positive cells is made from all samples
    assert causes(found, "thresholds") <= {f"section {own[0]} {own[1]}: outline drawn anew"}


def test_a_changed_slide_moves_its_own_sections(study: Study) -> None:
    told: list[str] = []
    found = after(study, lambda: told.append(brighten(study, "sample")))
    assert list(found.loc[found["stage"] == "inputs", "what"]) == [f"image file {told[0]}"]
    slides = study.table("provenance.csv")
    own = slides.loc[slides["file"] == told[0], ["animal", "section"]]
    sections = found[found["stage"] == "sections"].merge(own, on=["animal", "section"])
    assert len(sections) > 50 and sections["cause"].str.startswith(f"image file {told[0]}").all()
    assert "background" not in set(found["stage"])  # controls tell it


def test_a_changed_control_moves_background_then_all(study: Study) -> None:
    told: list[str] = []
    found = after(study, lambda: told.append(brighten(study, "no_primary")))
    assert causes(found, "background") == {f"image file {told[0]}"}
    samples = found[(found["stage"] == "sections") & (found["what"] == "signal_sum")]
    assert samples["cause"].str.contains("background of panel B, batch batch1").all()
    assert "not explained" not in " ".join(found["cause"])


def test_a_section_left_out_moves_its_animal(study: Study) -> None:
    code = a_code(study)
    found = after(study, lambda: exclude(study.root, code, "s02", who="Ann", reason="tissue_damaged"))
    gone = found[found["stage"] == "exclusions"]
    assert gone[["animal", "section", "what", "new"]].to_numpy().tolist() == [[code, "s02", "left out", "tissue_damaged"]]
    mine = found[(found["stage"] == "animals") & (found["animal"] == code)]
    assert mine["cause"].str.startswith("section s02 left out").all()
    assert causes(found, "sections", animal=code, section="s02") >= {"left out"}
    assert "not explained" not in " ".join(found["cause"])


def test_another_version_is_named_everywhere(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def newer() -> None:
        monkeypatch.setattr("sevhisto.pipeline.provenance.__version__", "99")
        path = study.results / "provenance.csv"
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table["record_sha256"] = "0"
        table.to_csv(study.root.parent / "kept" / "provenance.csv", index=False)

    found = after(study, newer)
    assert found[["stage", "what", "new"]].to_numpy().tolist() == [["version", "sevhisto", "99"]]
    assert difference_lines(found)[-1] == "No number moved."


def test_two_changes_at_once_are_told_apart(study: Study) -> None:
    file = study.a_sample()

    def both() -> None:
        draw(study, file)
        study.edit('marker = "collagen_I"', 'marker = "collagen_I"\nthreshold = 40.0')

    found = after(study, both)
    own = tuple(found.loc[found["stage"] == "outlines", ["animal", "section"]].iloc[0])
    sections = found[(found["stage"] == "sections") & (found["what"] == "positive_um2")]
    mine = (sections["animal"] == own[0]) & (sections["section"] == own[1])
    drawn, threshold = (sections["cause"].str.contains(text) for text in ("outline drawn anew", "threshold of collagen_I"))
    assert (drawn == mine).all() and (threshold == (sections["marker"] == "collagen_I")).all()


def test_results_name_animals_settings_and_the_key(study: Study, sevhisto: Callable, tmp_path: Path) -> None:
    study.edit("[endpoints]", "[comparison]\npermutations = 999\n[endpoints]\nsecondary = ['B_core_fibronectin_area_um2']")
    run(study.root, jobs=1)
    compare(study.root, jobs=1)
    code, kept = a_code(study), study.root.parent / "kept"
    shutil.copytree(study.results, kept)
    exclude(study.root, code, "s02", who="Ann", reason="tissue_damaged")
    run(study.root, jobs=1)
    compare(study.root, open_key=True, jobs=1)
    said = sevhisto("diff", kept, study.root, "--csv", tmp_path / "d.csv")
    name = {c: n for n, c in keys.codes(load_study(study.root)).animals.items()}[code]  # one of the runs shows names
    assert said.status == 0 and f"{name} s02" in said.out and code not in said.out
    table = pd.read_csv(tmp_path / "d.csv", keep_default_na=False)
    assert set(table.loc[table["stage"] == "exclusions", "animal"]) == {name}
    assert "key opened" in set(table.loc[table["stage"] == "settings", "what"])
    assert causes(table, "results") >= {f"animal {name}", "key opened"}


def test_a_renamed_study_has_other_codes_and_the_same_numbers(study: Study) -> None:
    text = (study.root / "study.toml").read_text("utf-8")
    name = load_study(study.root).config.study.name
    found = after(study, lambda: (study.root / "study.toml").write_text(text.replace(f'name = "{name}"', 'name = "renamed"'), "utf-8"))
    assert found[["stage", "what"]].to_numpy().tolist() == [["settings", "study.name"]]
    assert not _Kept.of(study.root).open


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(SevhistoError, match="holds no finished run"):
        diff(tmp_path, tmp_path)
