"""Exports of one run study with hostile names: every format is read back by another program's reader, and the numbers are equal."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anndata
import numpy as np
import openpyxl
import pandas as pd
import pydantic_zarr.v2 as zarr_specs
import pytest
import pzfx
import tifffile
import zarr
from ome_zarr_models.v04.image import Image
from ome_zarr_models.v04.image_label import ImageLabel
from ome_zarr_models.v04.labels import Labels

from sevhisto.export.given import Given, PlacedSlide, formats, slide_formats
from sevhisto.export.names import FORMATS
from sevhisto.export.odc_rules import findings
from sevhisto.io.annotations import outline_mask, outlines_of, read_annotations, read_outlines
from sevhisto.io.records import load_record
from sevhisto.io.study import load_study
from sevhisto.pipeline import compare, export, export_formats, run
from sevhisto.pipeline.gathering import gather, placed_slides
from sevhisto.types import SevhistoError
from tests.pipeline.conftest import Study, draw

FORMULA, SCRIPT = '+HYPERLINK("http://x","y")', "<script>alert(1)</script>"
GROUPS = {"longgroup": f"{SCRIPT}&", "dailygroup": FORMULA}
"""Ids of animals are checked when a study is read; groups, contrasts and what the lab adds may be called anything."""


for _model in (ImageLabel, Labels, Image):  # their forward references do not resolve by themselves in newer versions of pydantic
    _model.model_rebuild(_types_namespace={"ArraySpec": zarr_specs.ArraySpec, "GroupSpec": zarr_specs.GroupSpec})


def read_cells(path: Path) -> list[list[str]]:
    """Every cell of a CSV, as text."""
    return list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))


@pytest.fixture(scope="module")
def exported(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study under hostile names, compared with its key open, exported to everything. No slide but one is read again."""
    study = Study(Path(shutil.copytree(measured, tmp_path_factory.mktemp("exported") / "study")))
    animals = study.sheet("animals.csv").replace({"protocol": GROUPS}).assign(block="@SUM(1)", strain=FORMULA, laboratory=SCRIPT)
    study.write_sheet("animals.csv", animals)
    text = (study.root / "study.toml").read_text("utf-8")
    for old, new in GROUPS.items():
        text = re.sub(rf'(?<=protocols\.){old}(?=\])|"{old}"', lambda _, new=new: f"'{new}'", text)
    text = re.sub(r'(?m)^name = "[^"]*"', lambda _: f"name = '{FORMULA}{SCRIPT}'", text, count=1)
    text = text.replace('name = "duration"', "name = '=1+1'")
    (study.root / "study.toml").write_text(text, "utf-8")
    draw(study, study.a_sample(), "exclude: tissue_damaged", 6)
    run(study.root, jobs=1)
    compare(study.root, open_key=True, jobs=1)
    export(study.root, ["all"])
    return study


@pytest.fixture(scope="module")
def given(exported: Study) -> Given:
    return gather(load_study(exported.root))


@pytest.fixture(scope="module")
def slides(exported: Study) -> list[PlacedSlide]:
    return placed_slides(load_study(exported.root))


@pytest.fixture(scope="module")
def folder(exported: Study) -> Path:
    return exported.results / "export"


def test_every_format_is_there_with_a_word_about_it(folder: Path) -> None:
    assert export_formats() == list(FORMATS)
    assert sorted(p.name for p in folder.iterdir()) == sorted(FORMATS)
    assert all("made by sevhisto" in (folder / name / "about.txt").read_text("utf-8") for name in FORMATS)


def test_prism_reads_back_every_number(folder: Path, given: Given) -> None:
    wide = given.wide.set_index("animal")
    members = given.members()
    assert set(GROUPS.values()) <= set(members)
    path = str(folder / "prism" / "study.pzfx")
    tables = pzfx.pzfx_tables(path)
    assert set(given.roles) <= set(tables) and given.config.motor.test in tables
    for endpoint in given.roles:
        table = pzfx.read_pzfx(path, endpoint)
        for group, animals in members.items():
            np.testing.assert_array_equal(table[group].to_numpy(float), wide.loc[animals, endpoint].to_numpy(float))
    scores = pzfx.read_pzfx(path, given.config.motor.test)
    motor = given.motor.groupby(["day", "animal"])["score"].mean()
    for group, animals in members.items():
        columns = [c for c in scores if c == group or re.fullmatch(rf"{re.escape(group)}_\d+", c)]
        for column, animal in zip(columns, animals, strict=False):
            found = scores.set_index(scores.columns[0])[column].dropna()
            assert found.to_dict() == motor.xs(animal, level="animal").to_dict()


def test_prism_csv_and_xml_hold_the_same(folder: Path) -> None:
    root = ElementTree.parse(folder / "prism" / "study.pzfx").getroot()  # no tag of a name became one of the file
    assert {e.tag for e in root.iter()} == {
        *("GraphPadPrismFile", "Created", "OriginalVersion", "InfoSequence", "Ref", "Info", "Title", "Notes", "TableSequence", "Table"),
        *("YColumn", "XColumn", "RowTitlesColumn", "Subcolumn", "d"),
    }
    kinds = {"OneWay": "column", "TwoWay": "grouped", "XY": "xy"}
    seen = 0
    for table in root.findall("Table"):
        path = folder / "prism" / kinds[table.attrib["TableType"]] / f"{table.findtext('Title')}.csv"
        rows = read_cells(path)[1:]
        columns = [[d.text or "" for d in sub.findall("d")] for sub in table.iter("Subcolumn")]
        assert [[r[i] for r in rows] for i in range(len(rows[0]))] == [c + [""] * (len(rows) - len(c)) for c in columns if any(c)]
        seen += 1
    assert seen == len(list((folder / "prism").glob("*/*.csv")))


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R (Rscript); on Debian r-base-core")
def test_r_computes_the_same_contrasts(folder: Path, exported: Study) -> None:
    done = subprocess.run(["Rscript", "contrasts.R"], cwd=folder / "r", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Known to one of the two only: 0." in done.stdout
    keys = ["endpoint", "contrast"]
    found = pd.read_csv(folder / "r" / "contrasts_r.csv").set_index(keys)
    said = exported.table("comparisons.csv").replace({"contrast": {"=1+1": "'=1+1"}}).set_index(keys)
    assert len(found) == len(said) > 0
    for column in found:
        expected = pd.to_numeric(said[column], errors="coerce").reindex(found.index)
        np.testing.assert_allclose(found[column], expected, rtol=1e-6, atol=1e-300)


def test_excel_has_frozen_headers_a_dictionary_and_no_formula(folder: Path, given: Given) -> None:
    book = openpyxl.load_workbook(folder / "xlsx" / "study.xlsx")
    assert not [c.coordinate for sheet in book for row in sheet for c in row if c.data_type == "f" or c.hyperlink]
    assert all(sheet.freeze_panes for sheet in book if sheet.title != "About")
    rows = list(book["Animals wide"].values)
    assert [r[0] for r in rows[1:]] == given.wide["animal"].tolist() and set(GROUPS.values()) <= {r[1] for r in rows}
    numbers = np.array([[np.nan if v is None else v for v in r[2:]] for r in rows[1:]], float)
    np.testing.assert_allclose(numbers, given.wide.iloc[:, 1:].to_numpy(float), rtol=1e-14)
    explained = {(t, c) for t, c, *_ in list(book["Dictionary"].values)[1:]}
    assert {("sections.csv", "zone_um2"), ("animals_wide.csv", given.wide.columns[5])} <= explained
    assert all(doc for *_, doc in list(book["Dictionary"].values)[1:])


def test_no_csv_holds_a_formula(folder: Path) -> None:
    files = sorted(folder.rglob("*.csv"))
    cells = [cell for path in files for row in read_cells(path) for cell in row]
    assert len(files) > 30 and {f"'{FORMULA}", "'=1+1", "'@SUM(1)", SCRIPT} <= set(cells)
    assert [c for c in cells if c[:1] in ("=", "+", "@", "\t") or (c[:1] == "-" and not re.fullmatch(r"-[\d.]+(e[+-]?\d+)?", c))] == []


def test_odc_sci_has_no_finding_and_all_animals(folder: Path, exported: Study) -> None:
    data, words = (pd.read_csv(folder / "odc-sci" / f"{n}.csv", dtype=str, keep_default_na=False) for n in ("dataset", "dictionary"))
    assert findings(data, words) == []
    assert len(data) == len(exported.sheet("animals.csv")) and list(data.columns) == list(words["VariableName"])
    assert set(words.loc[words["VariableName"] == "Weight", "DataType"]) == {"Numeric"}


def test_parquet_says_what_its_columns_are(folder: Path, exported: Study) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(folder / "parquet" / "sections.parquet")
    assert schema.field("zone_um2").metadata[b"unit"] == b"um2" and schema.field("zone").metadata[b"description"]
    assert len(pd.read_parquet(folder / "parquet" / "sections.parquet")) == len(exported.table("sections.csv"))


def test_anndata_counts_the_cells_that_the_tables_count(folder: Path, exported: Study) -> None:
    cells = anndata.read_h5ad(folder / "anndata" / "cells_B.h5ad")
    assert cells.n_obs == len(pd.read_parquet(exported.results / "cells.parquet")) and cells.obsm["spatial"].shape == (cells.n_obs, 2)
    rows = exported.table("sections.csv").query("zone == 'all'")
    markers = [c.removesuffix("_positive") for c in cells.obs if c.endswith("_positive")]
    counted = cells.obs.groupby(["animal", "section"], observed=True)[[f"{m}_positive" for m in markers]].sum()
    checked = 0
    for r in rows[rows["marker"].isin(markers) & (rows["n_cells"] != "")].itertuples():
        if (r.animal, r.section) in counted.index:
            assert counted.loc[(r.animal, r.section), f"{r.marker}_positive"] == float(r.n_cells)
            checked += 1
    assert checked > 10


def test_outlines_of_qupath_and_imagej_are_the_masks(folder: Path, slides: list[PlacedSlide]) -> None:
    for slide in slides:
        drawn, notes = read_annotations(folder / "qupath" / f"{slide.name}.geojson")
        again, _ = read_annotations(folder / "imagej" / f"{slide.name}.zip")
        assert len(drawn) == len(again) and all("made by the program" in n for n in notes) and notes
        rings = [np.concatenate(o.polygons + o.holes) for outlines in (drawn, again) for o in outlines]
        for a, b in zip(rings[: len(drawn)], rings[len(drawn) :], strict=True):
            np.testing.assert_allclose(a[np.lexsort(a.T)], _closed_like(b, a), atol=0.01)
        for section in slide.sections:
            record = section.load()
            factor, corner = float(record.meta["overview_factor"]), tuple(map(float, record.meta["corner_px"]))
            for outlines in (drawn, again):
                mask = outline_mask(outlines_of(outlines, "lesion"), record.masks["core"].shape, factor, corner)
                assert np.array_equal(mask, record.masks["core"] > 0)


def _closed_like(ring: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The points of a ring in the order of `np.lexsort`, each as often as in the other, which may repeat its first."""
    points = {tuple(np.round(p, 2)): p for p in ring}
    found = np.array([points[tuple(np.round(p, 2))] for p in other])
    return found[np.lexsort(other.T)]


def test_what_was_drawn_comes_back_by_its_name(folder: Path, exported: Study) -> None:
    file = exported.a_sample()
    before = outlines_of(read_outlines(exported.root / "corrections" / f"{file}.geojson"), "excluded")[0]
    for path in (folder / "qupath" / f"{file}.geojson", folder / "imagej" / f"{file}.zip"):
        after = outlines_of(read_outlines(path), "excluded")[0]
        assert after.reason == before.reason == "tissue_damaged"
        np.testing.assert_allclose(after.polygons[0][:4], before.polygons[0][:4], atol=0.01)


def test_an_export_put_into_corrections_changes_no_number(exported: Study, folder: Path, tmp_path: Path) -> None:
    study = Study(Path(shutil.copytree(exported.root, tmp_path / "study")))
    file = study.a_sample(1)
    shutil.copy(folder / "qupath" / f"{file}.geojson", study.root / "corrections" / f"{file}.geojson")
    run(study.root, jobs=1)
    columns = ["zone_um2", "positive_um2", "n_cells", "cavity_um2"]
    pd.testing.assert_frame_equal(study.table("sections.csv")[columns], exported.table("sections.csv")[columns])
    flags = study.table("sections.csv")["flags"]
    assert flags.str.contains("contour_drawn").sum() > 0  # the person who put it there has accepted it


def test_cells_for_qupath_have_place_area_and_class(folder: Path, slides: list[PlacedSlide]) -> None:
    slide = next(s for s in slides if len(s.sections) > 1)
    features = json.loads((folder / "qupath" / f"{slide.name}_cells.geojson").read_text("utf-8"))["features"]
    records = [s.load() for s in slide.sections]
    assert len(features) == sum(len(r.cells["y_um"]) for r in records)
    rings = (np.array(f["geometry"]["coordinates"][0])[:-1] for f in features)
    for record in records:
        um, (y0, x0) = record.meta["um_per_px"], record.meta["corner_px"]
        for y_um, x_um, area_um2 in zip(*(record.cells[c].astype(float) for c in ("y_um", "x_um", "area_um2")), strict=True):
            ring = next(rings) - [x0, y0]
            x, y = ring.T
            cross = x * np.roll(y, -1) - np.roll(x, -1) * y
            area = cross.sum() / 2
            centre = ((ring + np.roll(ring, -1, axis=0)) * cross[:, None]).sum(axis=0) / (6 * area)
            assert abs(area) == pytest.approx(area_um2 / um**2, rel=0.01, abs=0.05)
            assert np.abs(centre - [x_um / um, y_um / um]).max() < 0.5 * record.outlines.step
    assert {f["properties"]["objectType"] for f in features} == {"detection"}


def test_labels_are_what_the_tables_count_and_have_the_levels_of_the_image(
    folder: Path, slides: list[PlacedSlide], given: Given, exported: Study
) -> None:
    names = sorted(p.name for p in (folder / "ome-zarr").glob("*.zarr"))
    sections = sorted((s for slide in slides for s in slide.sections), key=lambda s: (s.panel, s.animal, s.section))
    assert len(names) == len(sections) > 10
    rows = exported.table("sections.csv").drop_duplicates(["animal", "section", "panel", "zone"])
    areas = rows.set_index(["animal", "section", "panel", "zone"])["zone_um2"]
    zones = [z for z in given.config.zones.ranges if z != "all"]
    for section in [s for s in sections if s.limits is not None][:4]:
        name = next(n for n in names if re.sub(r"[^A-Za-z0-9._-]+", "_", f"{section.panel}/{section.animal}/{section.section}") in n)
        meta = section.load().meta
        px_um2, place = meta["um_per_px"] ** 2, (section.animal, section.section, section.panel)
        group = zarr.open_group(folder / "ome-zarr" / name, mode="r")
        image = Image.from_zarr(group)
        levels = len(image.attributes.multiscales[0].datasets)
        assert image.labels is not None and set(image.labels.attributes.labels) == {"zones", "regions"}
        _lie_on_the_slide(group, meta, levels)
        found = [group[f"labels/{kind}/0"][...] for kind in ("zones", "regions")]
        assert found[0].shape == tuple(meta["shape_px"])
        assert np.count_nonzero(found[1] == 1) * px_um2 == pytest.approx(float(areas[(*place, "all")]), rel=1e-11)
        for value, zone in enumerate(zones, 1):
            told = float(areas.get((*place, zone), 0) or 0)
            assert np.count_nonzero(found[0] == value) * px_um2 == pytest.approx(told, rel=0.005, abs=50 * px_um2)
        with tifffile.TiffFile(folder / "ome-tiff" / name.replace(".zarr", ".ome.tif")) as tif:
            assert len(tif.series[0].levels) == levels and f'PhysicalSizeX="{meta["um_per_px"]}"' in tif.ome_metadata
            for i, level in enumerate(tif.series[0].levels):
                assert np.array_equal(level.asarray(), np.stack([group[f"labels/{kind}/{i}"][...] for kind in ("zones", "regions")]))


def _lie_on_the_slide(group: zarr.Group, meta: dict[str, Any], levels: int) -> None:
    """Hold every level of the labels against the first: the pixel that it shows is where it says."""
    um = meta["um_per_px"]
    for kind in ("zones", "regions"):
        sets = group.attrs["multiscales"][0]["datasets"], group[f"labels/{kind}"].attrs["multiscales"][0]["datasets"]
        assert len(sets[0]) == len(sets[1]) == levels == len(list(group[f"labels/{kind}"].array_keys()))
        whole = group[f"labels/{kind}/0"][...]
        for i, told in enumerate(sets[1]):
            scale, place = (t[k] for t, k in zip(told["coordinateTransformations"], ("scale", "translation"), strict=True))
            assert scale == [um * 2**i] * 2
            first = np.array(place) / um - meta["corner_px"]
            np.testing.assert_allclose(first, 2**i // 2, atol=0.01)
            y, x = (np.minimum(np.arange(-(-n // 2**i)) * 2**i + round(f), n - 1) for n, f in zip(whole.shape, first, strict=True))
            assert np.array_equal(group[f"labels/{kind}/{i}"][...], whole[np.ix_(y, x)])
        half = (meta["overview_factor"] - 1) / 2
        place = sets[0][0]["coordinateTransformations"][1]["translation"][1:]
        np.testing.assert_allclose(np.array(place) / um - half, meta["corner_px"], atol=0.01)


def test_what_is_seen_of_a_section_is_what_its_record_holds(slides: list[PlacedSlide], exported: Study) -> None:
    section = slides[0].sections[0]
    view, record = section.load(), load_record(exported.results / "records" / section.record)
    assert (view.meta, view.markers, list(view.cells), list(view.masks)) == (
        record.meta,
        record.markers,
        list(record.cells),
        list(record.masks),
    )
    for one, other in ((view.cells, record.cells), (view.masks, record.masks)):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])  # NaN is equal to NaN


def test_a_second_export_gives_the_same_bytes_and_replaces_the_first(exported: Study, folder: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "out", ("prism", "xlsx", "ome-tiff")
    for _ in range(2):
        export(exported.root, again, out)
    assert sorted(p.name for p in out.iterdir()) == sorted(again)
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) > 30 and [p.name for p in files if p.read_bytes() != (folder / p.relative_to(out)).read_bytes()] == []


def test_more_processes_give_the_same_bytes_and_what_a_killed_export_left_is_removed(exported: Study, folder: Path, tmp_path: Path) -> None:
    left = tmp_path / "out" / ".qupath.abc.tmp"
    left.mkdir(parents=True)
    (left / "half.geojson").write_text("{")
    export(exported.root, ["r", "imagej", "qupath"], tmp_path / "out", jobs=2)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["imagej", "qupath", "r"]
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [p for p in files if p.read_bytes() != (folder / p.relative_to(tmp_path / "out")).read_bytes()] == []


def test_what_a_person_put_into_an_export_is_never_deleted(exported: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(exported.root, ["r"], out)
    (out / "r" / "mine.txt").write_text("x")
    done = export(exported.root, ["r"], out)
    assert (out / "r_before_1" / "mine.txt").read_text() == "x" and "mine.txt" in done.notes[-1]
    (out / "prism").mkdir()
    (out / "prism" / "thesis.pzfx").write_text("years of work")
    with pytest.raises(SevhistoError, match="not made by an export"):
        export(exported.root, ["prism"], out)
    assert sorted(p.name for p in (out / "prism").iterdir()) == ["thesis.pzfx"]


def test_what_cannot_be_exported_is_told(exported: Study, study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SevhistoError, match="did you mean 'prism'"):
        export(exported.root, ["prisme"])
    with pytest.raises(SevhistoError, match="sevhisto compare"):
        export(study.root, ["r"])  # it was not compared
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    out = tmp_path / "out"
    for to in (["xlsx"], ["r", "xlsx", "all"]):
        with pytest.raises(SevhistoError, match=r"xlsxwriter: is not installed(?s:.)*pip install xlsxwriter"):
            export(exported.root, to, out)
    assert list(out.iterdir()) == []


def test_of_all_formats_those_are_made_that_can_be(exported: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in formats:  # a quick stand-in for each, but of the one whose library is missing
        if name != "xlsx":
            monkeypatch.setitem(formats._entries, name, lambda given, folder: [])
    for name in slide_formats:
        monkeypatch.setitem(slide_formats._entries, name, lambda given, folder: [])
    export(exported.root, ["all"], out)
    (earlier,) = (out / "xlsx").glob("*.xlsx")
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    done = export(exported.root, ["all"], out)
    assert sorted(done.folders) == sorted(set(FORMATS) - {"xlsx"}) and earlier.exists()
    (problem,) = done.left_out
    assert "xlsxwriter" in problem.where and "of an earlier export" in problem.what and "pip install xlsxwriter" in problem.remedy


def test_exports_are_put_into_place_all_or_none(exported: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out, rename = tmp_path / "out", Path.replace
    for name in ("prism", "r"):
        monkeypatch.setitem(formats._entries, name, lambda given, folder: [])
    export(exported.root, ["prism", "r"], out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}

    def held(path: Path, target: Path) -> Path:  # as Windows answers while a spreadsheet holds a file of it
        if path == out / "r":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", held)
    with pytest.raises(SevhistoError, match="close its files in other programs"):
        export(exported.root, ["prism", "r"], out)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
