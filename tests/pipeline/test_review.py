"""The review queue of a measured study, and the dock that shows it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from sevhisto.io.exclusions import read_journal
from sevhisto.pipeline.reviewing import open_review
from sevhisto.types import SevhistoError


def test_the_queue_holds_animals_under_codes_with_one_contrast_for_a_batch(study):
    review = open_review(study.root)
    status = study.table("status.csv")
    assert set(review.queue["animal"]) <= set(status["animal"]) and review.queue["animal"].str.startswith("A-").all()
    assert set(review.queue["section"]) and not review.config.protocols
    first, same = review.contrast(0), review.contrast(len(review.queue) - 1)
    assert first == same and all(high > low for low, high in first.values())
    assert review.applied(0)["fibronectin"] == study.table("thresholds.csv").set_index("marker")["threshold"]["fibronectin"]
    assert review.record(0).markers == review.config.panels[review.queue["panel"][0]].markers


def test_a_study_that_was_not_run_says_so(fresh, sevhisto):
    with pytest.raises(SevhistoError, match="run"):
        open_review(fresh.root)
    said = sevhisto("review", fresh.root)
    assert said.status == 1 and "run" in said.err


@pytest.mark.gui
def test_the_dock_goes_through_the_queue_and_leaves_out_with_a_reason(study):
    pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed")
    if not os.environ.get("DISPLAY"):
        pytest.skip("needs a screen, or Xvfb")
    napari = pytest.importorskip("napari", reason="napari is not installed")
    from sevhisto_napari.review import ReviewDock

    viewer = napari.Viewer(show=False)
    try:
        dock = ReviewDock(viewer, study.root)
        n = len(open_review(study.root).queue)
        assert dock.table.rowCount() == n and dock.table.currentRow() == 0
        layers = list(viewer.layers)
        assert layers, dock.details.text()
        shown = viewer.layers["core"].data.copy()
        viewer.layers["zones"].visible = False
        dock.step(1)
        assert dock.table.currentRow() == 1 and list(viewer.layers) == layers
        assert shown.shape != viewer.layers["core"].data.shape or not np.array_equal(shown, viewer.layers["core"].data)
        assert not viewer.layers["zones"].visible and viewer.scale_bar.visible
        dock.step(-5)
        assert dock.table.currentRow() == 1  # there is nothing before the first
        dock.leave_out.click()
        assert "--who" in dock.message.text() and not read_journal(study.root)
        dock.who.setText("A. Person")
        dock.reason.setCurrentText("tissue_damaged")
        dock.leave_out.click()
        (entry,) = read_journal(study.root)
        assert (entry.animal, entry.section) == tuple(dock.table.item(1, k).text() for k in (0, 1)) and entry.reason == "tissue_damaged"
        dock.open(study.root / "nowhere")
        assert "study.toml" in dock.message.text() and dock.table.rowCount() == n  # what was open stays open
    finally:
        viewer.close()
