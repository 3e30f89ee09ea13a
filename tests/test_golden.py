"""The sample studies give the tables that are kept with them; where not, the difference is told in words."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from sevhisto.columns import Table
from sevhisto.io.store import read_table
from sevhisto.schema import ANIMALS, COMPARISONS, RELATIONS, SECTIONS, STATUS, THRESHOLDS

REPO = Path(__file__).resolve().parents[1]
SAMPLES = REPO / "sample_images"
OF_FILE: dict[str, tuple[Table, float]] = {
    "status.csv": (STATUS, 0.0),
    "thresholds.csv": (THRESHOLDS, 1e-6),
    "sections.csv": (SECTIONS, 1e-6),
    "animals.csv": (ANIMALS, 1e-6),
    "comparisons.csv": (COMPARISONS, 1e-4),  # intervals are searched for, not computed
    "relations.csv": (RELATIONS, 1e-4),
}


def load(path: Path) -> ModuleType:
    name = f"for_test_golden_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


make = load(SAMPLES / "make.py")
golden = load(Path(__file__).with_name("golden.py"))


@pytest.mark.parametrize("study", make.STUDIES)
def test_the_sample_study_gives_what_is_expected(study: str, tmp_path: Path) -> None:
    results = make.measure(study, tmp_path / study, jobs=1)
    pairs = []
    for file in make.TABLES[study]:
        table, tolerance = OF_FILE[file]
        pairs.append((table, read_table(SAMPLES / "expected" / study / file, table), read_table(results / file, table), tolerance))
    told = golden.explain(pairs)
    assert not told, f"\n{told}"


def test_every_section_of_the_samples_was_measured() -> None:
    for study in make.STUDIES:
        status = read_table(SAMPLES / "expected" / study / "status.csv", STATUS)
        assert set(status["status"]) <= {"ok", "flagged"}
    measured = read_table(SAMPLES / "expected" / "study" / "animals.csv", ANIMALS)
    kept = (measured["metric"] == "positive_volume_mm3") & (measured["zone"] == "core") & (measured["marker"] == "fibronectin")
    volumes = measured.loc[kept & ~measured["animal"].str.startswith("control"), "value"]
    assert len(volumes) == 8 and (volumes > 0).all()


def test_the_samples_are_small_and_say_what_they_are() -> None:
    files = [p for p in SAMPLES.rglob("*") if p.is_file() and not {"results", "__pycache__"} & set(p.parts)]
    assert max(p.stat().st_size for p in files) < 2_000_000
    assert sum(p.stat().st_size for p in files) < 5_000_000
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert "synthetic" in text and "scikit-image" in text and "no known copyright" in text
    assert "synthetic" in (SAMPLES / "study" / "study.toml").read_text(encoding="utf-8")


def test_the_brightfield_picture_is_scikit_images_own() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    from skimage import data

    kept = imagecodecs.png_decode((SAMPLES / "ihc" / "slides" / "ihc.png").read_bytes())
    assert np.array_equal(kept, data.immunohistochemistry())


# ---------------------------------------------------------------- the explanation itself


def sections() -> pd.DataFrame:
    rows = []
    for animal in ("R01", "R02"):
        for zone, area in (("core", 1000.0), ("all", 9000.0)):
            row: dict[str, object] = {c.name: "" if c.kind == "text" else 0.0 for c in SECTIONS.columns}
            row |= {"animal": animal, "section": "s01", "panel": "A", "zone": zone, "marker": "CD68"}
            rows.append(row | {"zone_um2": area, "positive_um2": area / 4, "threshold": 20.0, "n_cells": 12.0})
    return SECTIONS.conform(pd.DataFrame(rows))


def cell(frame: pd.DataFrame, row: int, column: str, value: str | float) -> pd.DataFrame:
    out = frame.copy()
    out.loc[row, column] = value
    return out


def told(before: pd.DataFrame, after: pd.DataFrame) -> str:
    text = golden.explain([(SECTIONS, before, after, 1e-6)])
    assert isinstance(text, str)
    return text


def test_equal_tables_need_no_words() -> None:
    assert told(sections(), sections()) == ""
    assert told(sections(), sections().iloc[::-1]) == ""  # the order of rows is no number
    assert told(sections(), cell(sections(), 0, "zone_um2", 1000.0005)) == ""  # within 1e-6


def test_a_lost_and_an_appeared_row_are_named() -> None:
    after = sections()
    after.loc[3, "animal"] = "R03"
    text = told(sections(), after)
    assert "1 row lost: animal R02, section s01, panel A, zone all, marker CD68" in text
    assert "1 row appeared: animal R03, section s01, panel A, zone all, marker CD68" in text
    assert "It begins in sections.csv, rows" in text


def test_moved_values_are_told_by_stage_the_largest_first() -> None:
    after = cell(cell(cell(sections(), 0, "positive_um2", 300.0), 1, "positive_um2", 2255.0), 0, "threshold", 18.0)
    text = told(sections(), after)
    key = "animal R01, section s01, panel A, zone"
    assert f"threshold: 1 value moved in 1 row, the largest first\n    {key} core, marker CD68: threshold from 20 to 18 (10 %)" in text
    large = text.index(f"{key} core, marker CD68: positive_um2 from 250 to 300 (20 %)")
    small = text.index(f"{key} all, marker CD68: positive_um2 from 2250 to 2255 (0.222 %)")
    assert text.index("threshold: ") < text.index("positive area: 2 values moved in 2 rows") < large < small
    assert "It begins in sections.csv, threshold: look there for the cause." in text


def test_text_and_what_became_unmeasurable_are_told() -> None:
    after = cell(cell(sections(), 2, "flags", "no_lesion"), 2, "n_cells", np.nan)
    text = told(sections(), after)
    assert "flags from '' to 'no_lesion'" in text
    assert "n_cells from 12 to not measurable" in text


def test_many_moves_are_counted_and_the_way_on_is_shown() -> None:
    before = pd.concat([sections().assign(section=f"s{i:02d}") for i in range(4)], ignore_index=True)
    text = told(before, before.assign(zone_um2=before["zone_um2"] + 1))
    assert "zone area: 16 values moved in 16 rows" in text and "and 11 more" in text
    assert "python sample_images/make.py --renew-expected" in text and "'Numbers changed'" in text


def test_a_column_that_comes_or_goes_is_told() -> None:
    text = told(sections(), sections().drop(columns="fibre_xx"))
    assert "column fibre_xx lost" in text


def test_the_first_table_that_differs_is_where_it_begins() -> None:
    status = STATUS.conform(pd.DataFrame([{"animal": "R01", "section": "s01", "panel": "A", "status": "ok"}]).reindex(columns=STATUS.names))
    failed = status.assign(status="failed", reason="the file is cut short")
    text = golden.explain([(STATUS, status, failed, 0.0), (SECTIONS, sections(), sections().iloc[:2], 1e-6)])
    assert "It begins in status.csv, status" in text
    assert "status from 'ok' to 'failed'" in text and "2 rows lost" in text
