"""A person's own segmenter: a function of a package on this machine, with a model file; nothing of the study's folder is run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.io.records import load_record
from sevhisto.pipeline import check, run
from sevhisto.pipeline.own_segmenter import own_segmenter, segmenter_problems
from sevhisto.types import SevhistoError

SOURCE = """
import numpy as np
from scipy import ndimage

def bright(image, um_per_px, diameter_um, model):
    assert image.dtype == np.float32 and um_per_px > 0 and diameter_um > 0
    return ndimage.label(image > float(model.read_text()) * image.max())[0]

def wrong(image, um_per_px, diameter_um, model):
    return image > 5.5

threshold = 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package, as one that was installed."""
    folder = tmp_path / "site" / "tiny_cells"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(SOURCE, "utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(__import__("sys").modules, "tiny_cells", raising=False)
    return folder


def set_up(study, model="0.3"):
    slides = study.sheet("slides.csv")
    study.write_sheet("slides.csv", slides[slides["animal"].isin(slides["animal"].unique()[:2]) | (slides["role"] != "sample")])
    (study.root / "model.txt").write_text(model, "utf-8")
    with (study.root / "study.toml").open("a", encoding="utf-8") as file:
        file.write('\n[imaging]\nsegmenter = "tiny_cells:bright"\nsegmenter_model = "model.txt"\n')


def test_an_own_function_finds_the_nuclei_and_a_changed_model_measures_again(fresh, package):
    set_up(fresh)
    assert not any("segmenter" in p.where for p in check(fresh.root)[0])
    first = run(fresh.root, jobs=1)
    assert first.failed == 0 and first.measured_now > 0
    record = load_record(next(iter(sorted((fresh.results / "records").glob("*.npz")))))
    assert record.meta["segmenter"] == "tiny_cells:bright" and len(record.meta["segmenter_sha256"]) == 2
    sections = fresh.table("sections.csv")
    nuclei = sections[(sections["zone"] == "all") & (sections["marker"] == "DAPI")]
    assert pd.to_numeric(nuclei["n_cells"]).max() > 20
    assert run(fresh.root, jobs=1).measured_now == 0
    (fresh.root / "model.txt").write_text("0.9", "utf-8")
    assert run(fresh.root, jobs=1).measured_now == first.measured_now


def test_what_cannot_be_used_is_told_before_anything_is_read(tmp_path, package):
    def told(**changes):
        return "; ".join(f"{p.where}: {p.what} ({p.remedy})" for p in segmenter_problems(ImagingSettings(**changes), tmp_path / "study"))

    assert told(segmenter="tiny_cells:bright") == told() == ""
    assert "there is no module 'not_there'" in told(segmenter="not_there:f") and "nothing is fetched" in told(segmenter="not_there:f")
    assert "no function 'dim'" in told(segmenter="tiny_cells:dim") and "no function 'threshold'" in told(segmenter="tiny_cells:threshold")
    assert "of Python itself" in told(segmenter="os:system")
    assert "did you mean 'watershed'" in told(segmenter="watershedd") and "body_segmenter" in told(body_segmenter="bodies")
    assert "is not there" in told(segmenter="tiny_cells:bright", segmenter_model="none.pt")
    assert "no segmenter takes a model" in told(segmenter_model="none.pt")


def test_nothing_in_the_study_is_run(tmp_path, monkeypatch):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", "utf-8")
    (tmp_path / "evil" / "part.py").write_text("def f(*a): ...", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)  # as where Python is started in the study's folder
    for name in ("evil:f", "evil.part:f"):
        (problem,) = segmenter_problems(ImagingSettings(segmenter=name), tmp_path)
        assert "from which nothing is run" in problem.what
    assert not (tmp_path / "ran").exists()


def test_what_an_own_function_returns_is_checked(package):
    with pytest.raises(SevhistoError, match="gave bool of shape"):
        own_segmenter("tiny_cells:wrong", None).find(np.ones((5, 6), np.float32), 0.5, 8.0, 1.0)
