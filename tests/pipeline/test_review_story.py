"""The whole story in the window, and the same by the command line: equal tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.outlines import feature_of
from sevhisto.pipeline.reviewing import open_review
from tests.pipeline.conftest import Study, wait_until
from tests.pipeline.test_editing import square

TABLES = ("status.csv", "sections.csv", "animals.csv", "animals_wide.csv", "profiles.csv", "thresholds.csv", "cells.parquet")


@pytest.mark.gui
def test_what_is_decided_in_the_window_is_what_the_command_line_decides(study: Study, tmp_path: Path, window, sevhisto) -> None:
    from sevhisto_napari.review import ReviewDock

    other = Study(Path(shutil.copytree(study.root, tmp_path / "other")))
    review = open_review(study.root)
    drawn = next(i for i in range(3, len(review.queue)) if review.record(i).masks["core"].any())
    dock = ReviewDock(window, study.root)
    window.window.add_dock_widget(dock)
    dock.who.setText("Ann")
    dock.accept_section()
    dock.accept_section()
    dock.queue.reason.setCurrentText("staining_failed")
    dock.leave_out_section()
    dock.thresholds.look()
    wait_until(lambda: dock.thresholds.ready)
    dock.thresholds.marker.setCurrentText("fibronectin")
    dock.thresholds.slider.setValue(dock.thresholds.slider.value() + 12)
    dock.thresholds.save.click()
    threshold = dock.thresholds.threshold
    dock.show_section(drawn)
    record = review.record(drawn)
    lesion, area = square(record, half=25), square(record, "exclude: tissue_damaged", half=7)
    dock.lesion.do("draw")
    dock.lesion.drawn.layer.add_polygons([lesion.polygons[0] - 0.5])
    dock.lesion.do("area")
    dock.lesion.drawn.layer.add_polygons([area.polygons[0] - 0.5])
    ticks = []
    dock.bar.runner.progress.connect(ticks.append)
    dock.bar.start()
    assert dock.bar.runner.running and not dock.bar.apply.isEnabled()
    dock.step(1)  # the window is free
    wait_until(lambda: not dock.bar.runner.running and "measured again" in dock.message.text(), seconds=300)
    assert ticks and dock.bar.apply.text() == "Apply"
    assert dock.looked_at.value() == 4 and dock._shown == dock._review.row_of(review.place(drawn + 1))

    place = [("--animal", a, "--section", s, "--panel", p) for a, s, p in map(review.place, range(len(review.queue)))]
    for i in (0, 1):
        assert sevhisto("accept", other.root, *place[i], "--who", "Ann").status == 0
    assert sevhisto("exclude", other.root, *place[2], "--who", "Ann", "--reason", "staining_failed").status == 0
    panel, batch = (str(review.queue[c].iloc[0]) for c in ("panel", "batch"))
    where = ("--panel", panel, "--batch", batch, "--marker", "fibronectin")
    assert sevhisto("threshold", other.root, *where, "--value", threshold, "--who", "Ann").status == 0
    (path,) = (study.root / "corrections").glob("*.geojson")
    (other.root / "corrections").mkdir()
    by_qupath = {"type": "FeatureCollection", "features": [feature_of(lesion), feature_of(area)]}
    (other.root / "corrections" / path.name).write_text(json.dumps(by_qupath), "utf-8")
    assert sevhisto("run", other.root, "--jobs", 1).status == 0
    assert sevhisto("exclude", other.root, *place[drawn], "--who", "Ann", "--reason", "tissue_damaged", "--areas").status == 0
    assert sevhisto("run", other.root, "--jobs", 1).status == 0
    for name in TABLES:
        assert (study.results / name).read_bytes() == (other.results / name).read_bytes(), name
    tables = [s.table("exclusions.csv").drop(columns="when") for s in (study, other)]
    assert tables[0].equals(tables[1]) and np.array_equal(tables[0]["level"], ["section", "area"])
    assert (tables[0]["who"] == "Ann").all()


@pytest.mark.gui
def test_a_run_from_the_review_can_be_stopped_and_nothing_is_lost(study: Study, window) -> None:
    from sevhisto_napari.review import ReviewDock

    before = study.files()
    dock = ReviewDock(window, study.root)
    window.window.add_dock_widget(dock)
    dock.bar.start()
    dock.bar.stop.click()
    wait_until(lambda: not dock.bar.runner.running, seconds=300)
    assert "Stopped" in dock.message.text() and dock.bar.apply.isEnabled()
    assert {name: data for name, data in study.files().items() if name in before} == before
