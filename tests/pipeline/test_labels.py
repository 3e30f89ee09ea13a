"""A study whose nuclei were labelled elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from sevhisto.config import WITHOUT_LESION
from sevhisto.io.records import load_record
from sevhisto.io.slides import open_slide
from sevhisto.io.study import load_study
from sevhisto.pipeline import check, run
from sevhisto.pipeline.tasks import file_sha256


def label_all(study):
    """Label bright blobs of the nuclear channel of every slide but the controls; return the files by image."""
    slides = study.sheet("slides.csv")
    made = {}
    for file, rows in slides[slides["file"] != ""].groupby("file"):
        if set(rows["role"]) <= set(WITHOUT_LESION):
            continue
        with open_slide(study.root / "slides" / file) as slide:
            plane = slide.read([0], 0, slide.shape[0], 0, slide.shape[1])[0]
        labels, n = ndimage.label(plane > plane.min() + 0.3 * np.ptp(plane))
        assert n > 20
        made[file] = study.root / "labels" / f"{file.removesuffix('.ome.tif').removesuffix('.tif')}.tif"
        made[file].parent.mkdir(exist_ok=True, parents=True)
        sizes = np.bincount(labels.ravel())
        labels[(sizes > 200)[labels]] = 0  # 4 um per pixel: what is larger is no nucleus
        tifffile.imwrite(made[file], labels.astype(np.uint32), photometric="minisblack", compression="zlib")
    return made


def switch_on(study, name="labels"):
    with (study.root / "study.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[imaging]\nsegmenter = "{name}"\n')


def test_labels_are_counted_recorded_and_looked_for_again_when_they_change(fresh):
    slides = fresh.sheet("slides.csv")
    fresh.write_sheet("slides.csv", slides[slides["role"] != "uninjured"])  # a slide with controls alone is left
    made = label_all(fresh)
    switch_on(fresh)
    assert check(fresh.root)[0] == []
    done = run(fresh.root, jobs=1)
    assert (done.failed, done.measured_now) == (0, 14)
    status = fresh.table("status.csv")
    hashes = {file_sha256(p) for p in made.values()}
    found = [load_record(p) for p in sorted((fresh.results / "records").glob("*.npz"))]
    assert {r.meta["labels_sha256"] for r in found} == hashes | {None}
    assert all(r.meta["segmenter"] == "labels" for r in found)
    assert status["flags"].str.contains("cells_not_labelled").sum() == sum(r.meta["labels_sha256"] is None for r in found)
    sections = fresh.table("sections.csv")
    controls = sections["flags"].str.contains("cells_not_labelled")
    assert (sections.loc[controls, "n_cells"] == "").all() and controls.any()
    nuclei = sections[~controls & (sections["zone"] == "all") & (sections["marker"] == "DAPI")]
    assert pd.to_numeric(nuclei["n_cells"]).min() > 20
    assert json.loads((fresh.results / "run.json").read_text("utf-8"))["settings"]["imaging"]["segmenter"] == "labels"

    changed, gone = sorted(made)[:2]
    labels = tifffile.imread(made[changed])
    tifffile.imwrite(made[changed], np.where(labels == labels.max(), 0, labels), photometric="minisblack")
    made[gone].unlink()
    assert [p.remedy for p in check(fresh.root)[0]] == [f"put it at labels/{made[gone].name}"]
    n = load_study(fresh.root).slides["file"].value_counts()
    done = run(fresh.root, jobs=1)
    assert (done.failed, done.measured_now) == (n[gone], n[changed])
    reasons = fresh.table("status.csv").loc[lambda t: t["status"] == "failed", "reason"]
    assert reasons.str.contains("has no label image of its nuclei").all()
    assert not any(gone.split(".")[0] in r for r in reasons)  # the names of files can tell the arm


def test_an_unknown_segmenter_is_told_with_what_is_known(fresh):
    switch_on(fresh, "label")
    with pytest.raises(Exception, match="did you mean 'labels'"):
        run(fresh.root, jobs=1)
