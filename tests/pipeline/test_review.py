"""The review queue of a measured study, and the dock that shows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sevhisto.io.accepted import read_accepted
from sevhisto.io.exclusions import read_journal
from sevhisto.io.hand_thresholds import read_hand_thresholds
from sevhisto.pipeline import accept, exclude
from sevhisto.pipeline.live import edge_of, live_batch
from sevhisto.pipeline.reviewing import BOOKMARK, open_review, recall, remember, states
from sevhisto.types import INTENSITY_EDGES, SevhistoError
from tests.pipeline.conftest import Study, wait_until
from tests.pipeline.test_editing import square


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


def test_what_was_decided_and_where_one_stopped_is_known_again(study: Study) -> None:
    review = open_review(study.root)
    assert states(review) == [""] * len(review.queue) and recall(review) == (0, "")
    accept(study.root, *review.place(1), who="Ann")
    exclude(study.root, *review.place(2), who="Ann", reason="tissue_damaged")
    assert states(review)[:4] == ["", "accepted", "left out", ""]
    remember(review, 3, "Ann")
    assert recall(open_review(study.root)) == (3, "Ann")
    (study.results / BOOKMARK).write_text("[1]", "utf-8")
    assert recall(review) == (0, "")


def test_the_numbers_under_the_slider_are_those_of_the_tables(study: Study) -> None:
    review = open_review(study.root)
    batch = live_batch(review, 0)
    animals, sections = study.table("animals.csv"), study.table("sections.csv")
    thresholds = study.table("thresholds.csv").set_index("marker")
    for marker in ("fibronectin", "collagen_I"):
        curves, value = batch.curves(marker), review.applied(0)[marker]
        assert batch.ladder(marker) == (value, thresholds.loc[marker, "source"])
        for i in range(len(review.queue)):
            animal, section, _ = review.place(i)
            mine = sections[(sections["animal"] == animal) & (sections["section"] == section) & (sections["marker"] == marker)]
            expected = mine.set_index("zone").loc[list(curves.zones), "positive_um2"].to_numpy(float)
            np.testing.assert_allclose(curves.of_section((animal, section), value)[0], expected, rtol=1e-9)
            told = animals[(animals["animal"] == animal) & (animals["marker"] == marker) & (animals["metric"] == "fraction_pct")]
            expected = told.set_index("zone")["value"].replace("", np.nan).reindex(list(curves.zones)).to_numpy(float)
            np.testing.assert_allclose(curves.of_animal(animal, value), expected, rtol=1e-9)
        areas = [curves.of_section(review.place(0)[:2], float(e))[0][-1] for e in INTENSITY_EDGES[edge_of(value) :: 20]]
        assert (np.diff(areas) <= 0).all() and areas[-1] == 0
    controls, samples = batch.distribution("fibronectin", batch.rung("fibronectin"))
    assert controls.sum() > 0 and samples.sum() > 0


@pytest.mark.gui
def test_the_dock_goes_through_the_queue_and_keeps_what_is_decided_by_key(study: Study, window) -> None:
    from qtpy.QtGui import QKeySequence, QShortcut

    from sevhisto_napari.review import ReviewDock

    dock = ReviewDock(window, study.root)
    window.window.add_dock_widget(dock)
    keys = {s.key().toString(QKeySequence.SequenceFormat.PortableText): s.activated for s in dock.findChildren(QShortcut)}
    table, n = dock.queue.table, len(open_review(study.root).queue)
    assert table.rowCount() == n and table.currentRow() == 0 and dock.looked_at.value() == 0
    layers = list(window.layers)
    assert layers, dock.queue.details.text()
    shown = window.layers["core"].data.copy()
    window.layers["zones"].visible = False
    keys["N"].emit()
    assert table.currentRow() == 1 and list(window.layers) == layers
    assert shown.shape != window.layers["core"].data.shape or not np.array_equal(shown, window.layers["core"].data)
    assert not window.layers["zones"].visible
    keys["P"].emit()
    keys["P"].emit()
    assert table.currentRow() == 0  # there is nothing before the first
    dock.who.setText("")
    keys["X"].emit()
    assert "--who" in dock.message.text() and not read_journal(study.root)
    dock.who.setText("A. Person")
    keys["A"].emit()
    dock.queue.reason.setCurrentText("tissue_damaged")
    keys["X"].emit()
    assert table.currentRow() == 2 and dock.looked_at.value() == 2
    assert [table.item(r, 5).text() for r in range(3)] == ["accepted", "left out", ""]
    (accepted,), (entry,) = read_accepted(study.root), read_journal(study.root)
    assert (accepted.animal, accepted.section) == tuple(table.item(0, k).text() for k in (0, 1))
    assert (entry.animal, entry.section, entry.reason) == (*(table.item(1, k).text() for k in (0, 1)), "tissue_damaged")
    dock._remember()
    again = ReviewDock(window, study.root)
    window.window.add_dock_widget(again)
    assert again.queue.table.currentRow() == 2 and again.looked_at.value() == 2 and again.who.text() == "A. Person"
    dock.open(study.root / "nowhere")
    assert "no such folder" in dock.message.text() and table.rowCount() == n  # what was open stays open


@pytest.mark.gui
def test_a_slider_moves_area_and_numbers_and_saves_for_the_batch(study: Study, window) -> None:
    from sevhisto_napari.record_layers import positive_mask
    from sevhisto_napari.review import ReviewDock

    dock = ReviewDock(window, study.root)
    window.window.add_dock_widget(dock)
    page = dock.thresholds
    page.look()
    wait_until(lambda: page.ready)
    assert page.marker.currentText() in ("fibronectin", "collagen_I")  # matrix first
    page.marker.setCurrentText("fibronectin")
    review = open_review(study.root)
    record, before = review.record(0), review.applied(0)["fibronectin"]
    assert page.threshold == before and "controls" in page.source.text() and not page.back.isEnabled()
    page.slider.setValue(page.slider.value() + 25)
    layer = window.layers["fibronectin positive"]
    assert layer.visible and np.array_equal(layer.data > 0, positive_mask(record, "fibronectin", page.threshold))
    expected = live_batch(review, 0).curves("fibronectin").of_section(review.place(0)[:2], page.threshold)[0][-1] * 1e-6
    assert page.numbers.item(page.numbers.rowCount() - 1, 0).text() == f"{expected:.4f}"
    dock.who.setText("Ann")
    page.save.click()
    (entry,) = read_hand_thresholds(study.root)
    assert (entry.marker, entry.value, entry.who) == ("fibronectin", page.threshold, "Ann") and entry.value > before
    assert "Ann" in page.source.text() and page.back.isEnabled() and dock.bar.apply.text() != "Apply"
    page.value.setValue(before)
    assert page.threshold == before
    page.back.click()
    assert read_hand_thresholds(study.root)[-1].value is None and page.threshold == before
    dock.step(1)
    page.look()
    assert page.marker.currentText() == "fibronectin"


@pytest.mark.gui
def test_an_outline_is_saved_as_it_is_drawn_and_undone_after_a_restart(study: Study, window, monkeypatch: pytest.MonkeyPatch) -> None:
    from sevhisto_napari.review import ReviewDock

    dock = ReviewDock(window, study.root)
    window.window.add_dock_widget(dock)
    page = dock.lesion
    review = open_review(study.root)
    i = next(k for k in range(len(review.queue)) if review.record(k).masks["core"].any())
    dock.show_section(i)
    record = review.record(i)
    page.do("reshape")  # takes over what the program drew
    assert next(o.name for o in page.drawn.outlines()) == "lesion" and page.editing.features == ()
    moved = [d + 1 for d in page.drawn.layer.data]
    page.drawn.layer.data = moved
    assert page.editing.outlines and not page.unsaved and page.buttons["undo"].isEnabled()
    page.do("area")
    page.drawn.layer.add_polygons([square(record, half=6).polygons[0]])
    page.do("subtract")
    page.drawn.layer.add_polygons([square(record, half=3).polygons[0]])
    assert [o.name for o in page.editing.outlines][-2:] == ["exclude: tissue_damaged", "not lesion"]

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        page.do("add")
        page.drawn.layer.add_polygons([square(record, half=9).polygons[0]])
        assert page.unsaved and "No space left" in dock.message.text() and len(page.drawn.outlines()) > len(page.editing.outlines)
        dock.step(1)
        assert dock.queue.table.currentRow() == i and "not saved" in dock.message.text()
    page.do("save")
    assert not page.unsaved and len(page.drawn.outlines()) == len(page.editing.outlines)
    n = len(page.editing.outlines)
    again = ReviewDock(window, study.root)
    window.window.add_dock_widget(again)
    again.show_section(i)
    assert len(again.lesion.drawn.outlines()) == n
    for left in range(n - 1, n - 4, -1):
        again.lesion.do("undo")
        assert len(again.lesion.drawn.outlines()) == len(again.lesion.editing.outlines) == left
    again.lesion.do("redo")
    assert len(again.lesion.editing.outlines) == n - 2
    (path,) = (study.root / "corrections").glob("*.geojson")
    assert len(json.loads(path.read_text("utf-8"))["features"]) == n - 2


@pytest.mark.gui
def test_a_study_or_a_record_dropped_on_the_window_opens_its_review(study: Study, window) -> None:
    from sevhisto_napari import study_reader
    from sevhisto_napari.review import ReviewDock

    review = open_review(study.root)
    window.open(str(study.root), plugin="sevhisto")
    docks = [w.inner_widget() if hasattr(w, "inner_widget") else w for w in window.window.dock_widgets.values()]
    (dock,) = [d for d in docks if isinstance(d, ReviewDock)]
    assert dock.queue.table.rowCount() == len(review.queue) and "core" in window.layers
    window.open(str(review.record_path(4)), plugin="sevhisto")
    assert dock.queue.table.currentRow() == 4
    lone = study.root.parent / review.record_path(4).name
    lone.write_bytes(review.record_path(4).read_bytes())
    names = [kwargs["name"] for _, kwargs, _ in study_reader.read_record(str(lone))]
    assert {"tissue", "core", *review.record(4).markers} <= set(names)
    assert study_reader.napari_get_reader(str(study.root / "study.toml")) is None
    assert study_reader.napari_get_reader(str(study.root / "slides")) is None


@pytest.mark.gui
def test_bad_input_is_told_in_the_window(study: Study, fresh: Study, window) -> None:
    from sevhisto_napari.review import ReviewDock

    dock = ReviewDock(window)
    window.window.add_dock_widget(dock)
    assert "Open the folder" in dock.message.text() and not dock.tabs.isEnabled() and not dock.bar.apply.isEnabled()
    dock.step(1)
    dock.accept_section()
    dock.bar.start()
    dock.open(fresh.root)
    assert "run" in dock.message.text() and not dock.tabs.isEnabled()
    review = open_review(study.root)
    review.record_path(0).write_bytes(b"damaged")
    review.record_path(0).with_suffix(".tally").unlink()
    dock.open(study.root)
    assert "damaged or missing" in dock.message.text() and not [x for x in window.layers if x.metadata.get("sevhisto")]
    dock.step(1)
    assert "core" in window.layers
    dock.thresholds.look()
    wait_until(lambda: dock.thresholds.ready)
    assert "1 records" in dock.message.text()
    study.edit("[study]", "[study]\ninvented_later = 3")
    dock.reload()
    assert "invented_later" in dock.message.text() and dock.queue.table.currentRow() == 1
    dock.accept_section()
    assert "invented_later" in dock.message.text() and not read_accepted(study.root)
